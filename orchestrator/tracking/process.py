"""The process that writes MLflow: messages arrive as JSON lines on its standard input, and are
taken as many at a time as have come.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.tracking.levelling import ERRORS, LIVE_EVERY, Tracker

if TYPE_CHECKING:
    from orchestrator.tracking.writer import Message

AT_ONCE = 200  # messages that are worked on together


def batches(stream: Iterable[str], patience: float) -> Iterator[list[Message]]:
    """The messages that have come meanwhile, in their order; an empty list where none came for
    `patience` seconds. Ends with the stream.
    """
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in itertools.chain(stream, [""]):  # an empty line, which no message is, ends it
            lines.put(line)

    # A thread reads, so that this one can stop waiting and look at what is under way.
    threading.Thread(target=read, daemon=True).start()
    while True:
        batch: list[str] = []
        with contextlib.suppress(queue.Empty):
            batch.append(lines.get(timeout=patience))
            while len(batch) < AT_ONCE and batch[-1]:
                batch.append(lines.get_nowait())
        yield [json.loads(line) for line in batch if line]
        if batch and not batch[-1]:
            return


def handle(tracker: Tracker, messages: Sequence[Message]) -> None:
    """Write what a batch of messages tells of."""
    for message in messages:
        if "started" in message:
            tracker.follow(message["started"])
    tracker.write([message["finished"] for message in messages if "finished" in message])
    for message in messages:
        if "failed" in message:
            tracker.write_failure(message["failed"])
        elif "summary" in message:
            tracker.close(message["summary"])
    tracker.write_live()


def main() -> int:
    """Read the manifest and then messages from standard input, a JSON line each; print one JSON
    line at the end.
    """
    report: dict[str, Any] = {"written": 0, "error": ""}
    try:
        tracker = Tracker(json.loads(sys.stdin.readline()))
        for messages in batches(sys.stdin, LIVE_EVERY / 2):
            handle(tracker, messages)
            report["written"] = tracker.written
    except ERRORS as error:
        first_line = next(iter(str(error).splitlines()), "")
        report["error"] = f"{type(error).__name__}: {first_line}"
    print(json.dumps(report))
    return 1 if report["error"] else 0


if __name__ == "__main__":
    # Who stops a job of Ray's stops every process of it. The driver ends this one, by closing its
    # input, when all is written.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(main())
