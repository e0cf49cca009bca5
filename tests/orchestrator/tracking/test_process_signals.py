"""The process that writes MLflow, and signals that are meant for its driver."""

from __future__ import annotations

import io
import os
import runpy
import signal
import sys

import pytest

pytestmark = pytest.mark.mlflow


def test_what_stops_a_job_of_rays_does_not_stop_the_writing(monkeypatch):
    """Ray sends SIGTERM to every process of a job; the driver ends this one when all is written."""
    from orchestrator.tracking import process  # imports MLflow

    _, report = os.pipe()
    monkeypatch.setattr(sys, "stdin", io.StringIO("half a manifest"))
    monkeypatch.setattr(sys, "argv", ["process", str(report)])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit):
            runpy.run_path(process.__file__, run_name="__main__")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
