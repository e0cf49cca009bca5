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
from pathlib import Path

from orchestrator.tracking.manifest import Manifest, Message


class Writer:
    """Starts the process; `send` never waits for MLflow and never raises. `finish` waits and says
    what went wrong, if anything.
    """

    def __init__(self, manifest: Manifest, log: Path) -> None:
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
        os.close(report)
        self._report = os.fdopen(reader)
        self._messages: queue.SimpleQueue[Message | Manifest | None] = queue.SimpleQueue()
        # A pipe that is full blocks whoever writes to it: never the training.
        self._sender = threading.Thread(target=self._pass_on, daemon=True)
        self._sender.start()
        self._messages.put(manifest)

    def send(self, message: Message) -> None:
        """Hand over a message; it is written when the process gets to it."""
        self._messages.put(message)

    def finish(self, last: Message | None) -> tuple[int, str]:
        """Wait until all messages are written, the last one too; the number of runs written and why
        writing stopped early, or an empty string.
        """
        if last is not None:
            self.send(last)
        self._messages.put(None)
        with self._report as pipe:
            answer = pipe.read()  # there is one when the process ends
        status = self._process.wait()
        self._sender.join()
        try:
            report = json.loads(answer)
        except ValueError:
            return 0, f"the writer process ended with status {status}; see {self.log}"
        return int(report["written"]), str(report["error"])

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

    def __init__(self, manifest: Manifest, log: Path) -> None:
        self._lines: list[Message | Manifest] = [manifest]

    def send(self, message: Message) -> None:
        self._lines.append(message)

    def finish(self, last: Message | None) -> tuple[int, str]:
        # Late: brings MLflow.
        from orchestrator.tracking.process import report_on

        lines = [*self._lines, *([] if last is None else [last])]
        report = report_on((json.dumps(line) for line in lines), last_tries=self.last_tries)
        return report.written, report.error
