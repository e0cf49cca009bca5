"""The process that writes MLflow, as the driver sees it: it works off the training path, and may
fail without harm to the training.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from orchestrator.tracking.manifest import Manifest, Message
from orchestrator.tracking.precedence import come_last

Opened = Callable[[str], None]


class Writer:
    """Starts the process; `send` never waits for MLflow and never raises. `finish` waits and says
    what went wrong, if anything. `opened` is called in a thread of its own, with the address at
    which a server shows the sweep, which `page` is from then on. `finished` has the keys of the
    finished trials that were told of.
    """

    def __init__(self, manifest: Manifest, log: Path, opened: Opened = lambda page: None) -> None:
        self.page, self.finished = "", set[str]()
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        # The report comes by a pipe of its own. What MLflow prints goes to a file: a pipe that
        # nobody reads would stop the process as soon as it is full.
        reader, report = os.pipe()
        with open(log, "ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.tracking.process", str(report)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(report,),
                start_new_session=True,  # Ctrl-C is for the driver; what is done still gets written
            )
        come_last(self._process.pid)
        os.close(report)
        self._answer: dict[str, Any] = {}
        self._listener = threading.Thread(
            target=self._listen, args=(os.fdopen(reader), opened), daemon=True
        )
        self._listener.start()
        self._messages: queue.SimpleQueue[Message | Manifest | None] = queue.SimpleQueue()
        # A pipe that is full blocks whoever writes to it: never the training.
        self._sender = threading.Thread(target=self._pass_on, daemon=True)
        self._sender.start()
        self._messages.put(manifest)

    def send(self, message: Message) -> None:
        """Hand over a message; it is written when the process gets to it."""
        if "finished" in message:
            self.finished.add(message["finished"])
        self._messages.put(message)

    def finish(self, last: Message | None) -> tuple[int, str]:
        """Wait until all messages are written, the last one too; the number of runs written and why
        writing stopped early, or an empty string.
        """
        if last is not None:
            self.send(last)
        self._messages.put(None)
        self._listener.join()  # until the process ends
        status = self._process.wait()
        self._sender.join()
        if not self._answer:
            return 0, f"the writer process ended with status {status}; see {self.log}"
        return int(self._answer["written"]), str(self._answer["error"])

    def _listen(self, pipe: TextIO, opened: Opened) -> None:
        """Take in what the process says, a JSON line each."""
        # One that is killed may leave half a line.
        with pipe, contextlib.suppress(ValueError):
            for line in pipe:
                told = json.loads(line)
                if "page" in told:
                    self.page = told["page"]
                    with contextlib.suppress(OSError):  # where it is shown nobody may be any more
                        opened(self.page)
                else:
                    self._answer = told

    def _pass_on(self) -> None:
        """Write messages to the process, a JSON line each, until there is a None."""
        stdin = self._process.stdin
        assert stdin is not None
        # A broken pipe means that the process gave up; `finish` says why.
        with contextlib.suppress(BrokenPipeError, ValueError):
            while (message := self._messages.get()) is not None:
                stdin.write(json.dumps(message).encode() + b"\n")
                stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            stdin.close()


class WriterHere:
    """Takes messages as `Writer` does, and writes what they tell of when it is finished, in this
    process: for tests, and for whoever counts what MLflow is asked.
    """

    last_tries = 1.0  # seconds for which an MLflow that is away is asked again

    def __init__(self, manifest: Manifest, log: Path, opened: Opened = lambda page: None) -> None:
        self.page, self.finished = "", set[str]()
        self._lines: list[Message | Manifest] = [manifest]
        self._opened = opened

    def send(self, message: Message) -> None:
        if "finished" in message:
            self.finished.add(message["finished"])
        self._lines.append(message)

    def finish(self, last: Message | None) -> tuple[int, str]:
        # Late: brings MLflow.
        from orchestrator.tracking.process import report_on

        lines = [*self._lines, *([] if last is None else [last])]
        told = (json.dumps(line) for line in lines)
        report = report_on(told, last_tries=self.last_tries, opened=self._open)
        return report.written, report.error

    def _open(self, page: str) -> None:
        self.page = page
        if page:
            self._opened(page)
