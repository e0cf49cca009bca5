"""What writes MLflow: messages arrive as JSON lines, and are taken as many at a time as have come.

`report_on` does it in the process that calls it. Runs start this module as a process of its own
(see `orchestrator.tracking.writer`), which reads its standard input.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.tracking.helpers import Helpers
from orchestrator.tracking.levelling import LIVE_EVERY, Tracker
from orchestrator.tracking.patience import ERRORS, LAST_TRIES, Patience, first_line, settings
from orchestrator.tracking.precedence import come_as_others

if TYPE_CHECKING:
    from orchestrator.tracking.manifest import Message

# Messages that are worked on together: few while more may come, since what is worth helping
# processes shows at the end only; then many, so that these do not wait for each other.
AT_ONCE, AT_ONCE_AT_THE_END = 20, 2000
# Trials that end faster than MLflow takes their runs wait for it at the end, whatever we do. While
# so many wait, most of the time is the trials': writing keeps a disk busy that they need, too.
CROWD, SHARE = 100, 0.1


class Report(NamedTuple):
    """How many runs were written, and why writing stopped early or left some out, or an empty
    string.
    """

    written: int = 0
    error: str = ""


class Inbox:
    """The lines of a stream: a thread reads them, so that nobody who writes them ever waits."""

    def __init__(self, stream: Iterable[str]) -> None:
        self.has_ended = threading.Event()
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stream = stream
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line)
        self.has_ended.set()
        self._lines.put("")  # no message is empty

    def first(self) -> str:
        """The first line; an empty one where the stream has none."""
        return self._lines.get()

    @property
    def _at_once(self) -> int:
        return AT_ONCE_AT_THE_END if self.has_ended.is_set() else AT_ONCE

    def batches(self, patience: float) -> Iterator[list[Message]]:
        """The messages that have come meanwhile, in their order; an empty list where none came for
        `patience` seconds. Ends with the stream.
        """
        while True:
            batch: list[str] = []
            with contextlib.suppress(queue.Empty):
                batch.append(self._lines.get(timeout=patience))
                while len(batch) < self._at_once and batch[-1]:
                    batch.append(self._lines.get_nowait())
            began = time.monotonic()
            yield [json.loads(line) for line in batch if line]
            if batch and not batch[-1]:
                return
            if self._lines.qsize() >= CROWD:
                self.has_ended.wait((time.monotonic() - began) * (1 / SHARE - 1))


def report_on(
    stream: Iterable[str],
    last_tries: float = LAST_TRIES,
    *,
    with_helpers: bool = False,
    opened: Callable[[str], None] = lambda page: None,
) -> Report:
    """Write what a stream of JSON lines tells of, the first of which is a manifest and the others
    messages of a `Writer`. While it lasts an MLflow that is away is waited for; at its end for
    `last_tries` seconds. `with_helpers` starts processes where many runs wait. `opened` is told
    where a server shows the sweep, as soon as it is known there.
    """
    inbox = Inbox(stream)
    first = inbox.first()
    if not first:
        return Report()
    manifest = json.loads(first)
    helpers = Helpers(manifest, inbox.has_ended)
    tracker = None
    error = ""
    with settings(), contextlib.closing(helpers):
        try:
            patience = Patience(inbox.has_ended, last_tries)
            tracker = Tracker(manifest, patience, helpers if with_helpers else None)
            opened(tracker.page)
            is_closed = False
            for messages in inbox.batches(LIVE_EVERY / 2):
                is_closed = handle(tracker, messages) or is_closed
            if not is_closed:
                tracker.abandon()
        except ERRORS as one:
            error = f"{type(one).__name__}: {first_line(one)}"
    if tracker is None:
        return Report(0, error)
    return Report(len(tracker.written), error or _refused(tracker.refused))


def handle(tracker: Tracker, messages: Sequence[Message]) -> bool:
    """Write what a batch of messages tells of; whether it closes the sweep."""
    for message in messages:
        if "started" in message:
            tracker.follow(message["started"])
    tracker.write([message["finished"] for message in messages if "finished" in message])
    tracker.write_settings()
    is_closed = False
    for message in messages:
        if "failed" in message:
            tracker.write_failure(message["failed"])
        elif "summary" in message:
            tracker.close(message["summary"])
            is_closed = True
    tracker.write_live()
    return is_closed


def _refused(refused: Mapping[str, str]) -> str:
    if not refused:
        return ""
    return f"MLflow refused runs of {len(refused)} trials, as in: {next(iter(refused.values()))}"


def _until_the_end(stream: Iterable[str]) -> Iterator[str]:
    """The lines of a stream, with whose end the trials have ended, too."""
    yield from stream
    come_as_others()


def main() -> int:
    """Report on standard input; write JSON lines to the file descriptor that the command line
    names: the page of the sweep, as soon as there is one, and at the end the report.
    """
    logging.basicConfig(format="%(asctime)s %(message)s")
    with os.fdopen(int(sys.argv[1]), "w", buffering=1) as answer:

        def tell(told: Mapping[str, Any]) -> None:
            # Whoever asked may be gone.
            with contextlib.suppress(BrokenPipeError):
                answer.write(json.dumps(told) + "\n")

        def opened(page: str) -> None:
            if page:
                tell({"page": page})

        report = report_on(_until_the_end(sys.stdin), with_helpers=True, opened=opened)
        tell(report._asdict())
    return 1 if report.error else 0


if __name__ == "__main__":
    # Who stops a job of Ray's stops every process of it. The driver ends this one, by closing its
    # input, when all is written.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(main())
