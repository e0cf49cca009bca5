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
from orchestrator.tracking.write_ahead import put_back

if TYPE_CHECKING:
    from orchestrator.tracking.manifest import Manifest, Message

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
    """The lines of a stream: a thread reads them, so that nobody who writes them ever waits.
    `trials_ended` is called there as soon as no trial runs any more: by a message that says so, or
    by the stream's end.
    """

    def __init__(self, stream: Iterable[str], trials_ended: Callable[[], None]) -> None:
        self.has_ended, self.trials_have_ended = threading.Event(), threading.Event()
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()  # None: the end
        self._stream, self._trials_ended = stream, trials_ended
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            try:
                message = json.loads(line)
            except ValueError:  # a driver that was killed may leave half a line, its last
                break
            if "trials_ended" in message:
                self._note_end_of_trials()
            else:
                self._messages.put(message)
        self._note_end_of_trials()
        self.has_ended.set()
        self._messages.put(None)

    def _note_end_of_trials(self) -> None:
        if not self.trials_have_ended.is_set():
            self.trials_have_ended.set()
            self._trials_ended()

    def first(self) -> Manifest | None:
        """The first line; None where the stream has none."""
        found: Manifest | None = self._messages.get()
        return found

    @property
    def _at_once(self) -> int:
        return AT_ONCE_AT_THE_END if self.trials_have_ended.is_set() else AT_ONCE

    def batches(self, patience: float) -> Iterator[list[Message]]:
        """The messages that have come meanwhile, in their order; an empty list where none came for
        `patience` seconds. Ends with the stream.
        """
        while True:
            batch: list[Message | None] = []
            with contextlib.suppress(queue.Empty):
                batch.append(self._messages.get(timeout=patience))
                while len(batch) < self._at_once and batch[-1] is not None:
                    batch.append(self._messages.get_nowait())
            began = time.monotonic()
            yield [message for message in batch if message is not None]
            if batch and batch[-1] is None:
                return
            if self._messages.qsize() >= CROWD:
                self.trials_have_ended.wait((time.monotonic() - began) * (1 / SHARE - 1))


def report_on(
    stream: Iterable[str],
    last_tries: float = LAST_TRIES,
    *,
    with_helpers: bool = False,
    opened: Callable[[str], None] = lambda page: None,
    trials_ended: Callable[[], None] = lambda: None,
) -> Report:
    """Write what a stream of JSON lines tells of, the first of which is a manifest and the others
    messages of a `Writer`. While it lasts an MLflow that is away is waited for; at its end for
    `last_tries` seconds. `with_helpers` starts processes where many runs wait. `opened` is told
    where a server shows the sweep, as soon as it is known there; `trials_ended` is called in a
    thread of its own when no trial runs any more.
    """
    inbox = Inbox(stream, trials_ended)
    manifest = inbox.first()
    if manifest is None:
        return Report()
    if with_helpers:
        put_back(manifest["tracking"])
    helpers = Helpers(manifest, inbox.trials_have_ended)
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

        report = report_on(sys.stdin, with_helpers=True, opened=opened, trials_ended=come_as_others)
        tell(report._asdict())
    return 1 if report.error else 0


if __name__ == "__main__":
    # Who stops a job of Ray's stops every process of it. The driver ends this one, by closing its
    # input, when all is written.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(main())
