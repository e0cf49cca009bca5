"""The process that writes MLflow: orders arrive as JSON lines on its standard input, and are taken
as many at a time as have come.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrator.tracking.levelling import ERRORS, LIVE_EVERY, Tracker

AT_ONCE = 200


def arriving(stream: Iterable[str], patience: float) -> Iterator[list[Mapping[str, Any]]]:
    """The orders that have come meanwhile, in their order; an empty list where none came for
    `patience` seconds. Ends with the stream.
    """
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in itertools.chain(stream, [""]):
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()
    while True:
        many: list[str] = []
        with contextlib.suppress(queue.Empty):
            many.append(lines.get(timeout=patience))
            while len(many) < AT_ONCE and many[-1]:
                many.append(lines.get_nowait())
        yield [json.loads(line) for line in many if line]
        if many and not many[-1]:
            return


def main() -> int:
    """Read the sheet and then orders from standard input, a JSON line each; print one JSON line at
    the end.
    """
    report: dict[str, Any] = {"written": 0, "error": ""}
    try:
        tracker = Tracker(json.loads(sys.stdin.readline()))
        for orders in arriving(sys.stdin, LIVE_EVERY / 2):
            for order in orders:
                if "started" in order:
                    tracker.follow(order["started"])
            tracker.write([order["key"] for order in orders if "key" in order])
            for order in orders:
                if "failed" in order:
                    tracker.write_failure(order["failed"])
                elif "artifacts" in order:
                    tracker.close(order)
            tracker.write_live()
            report["written"] = tracker.written
    except ERRORS as error:
        report["error"] = (
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        )
    print(json.dumps(report))
    return 1 if report["error"] else 0


if __name__ == "__main__":
    sys.exit(main())
