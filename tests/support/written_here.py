"""MLflow written in the process of a test, by the very code of the process that writes it: that
takes seconds to start, and most tests ask what is written, not by whom.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest


class WriterHere:
    """Takes messages as `Writer` does, and writes what they tell of when it is finished."""

    def __init__(self, manifest: Any, log: Path) -> None:
        self._lines = [manifest]

    def send(self, message: Any) -> None:
        self._lines.append(message)

    def finish(self, last: Any) -> tuple[int, str]:
        from orchestrator.tracking import process  # imports MLflow

        lines = [*self._lines, *([] if last is None else [last])]
        stream = io.StringIO("".join(json.dumps(line) + "\n" for line in lines))
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
            patch.setattr(sys, "stdin", stream)
            process.main()
        report = json.loads(printed.getvalue().splitlines()[-1])
        return int(report["written"]), str(report["error"])


@pytest.fixture
def written_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started that writes MLflow."""
    from orchestrator.session import following

    monkeypatch.setattr(following, "Writer", WriterHere)
