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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.tracking.manifest import Manifest

# How long an absent server may keep the writer: MLflow's own patience is minutes a request.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

Message = Mapping[str, Any]
"""`{"started": KEY}`, `{"finished": KEY}` and `{"failed": KEY}` tell of a trial, `{"summary": ...}`
closes the sweep's own run (see `Tracker.close`).
"""


class Writer:
    """Starts the process; `send` never waits for MLflow and never raises. `finish` waits and says
    what went wrong, if anything.
    """

    def __init__(self, manifest: Manifest, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with open(log, "ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.tracking.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**PATIENCE, **os.environ},  # what the user has set goes before it
                start_new_session=True,  # Ctrl-C is for the driver; what is done still gets written
            )
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
        assert self._process.stdout is not None
        output = self._process.stdout.read()
        status = self._process.wait()
        self._process.stdout.close()
        self._sender.join()
        try:
            report = json.loads(output.splitlines()[-1])
        except (ValueError, IndexError):
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
