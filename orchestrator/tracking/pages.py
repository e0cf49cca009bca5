"""MLflow's pages on a home: a server for as long as somebody looks, and links that open what
answers the question.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from orchestrator.errors import InputError, TrackingError, nearest
from orchestrator.tracking import views
from orchestrator.tracking.moved_homes import is_elsewhere

PATIENCE = 120.0  # seconds until a server has to answer
_ROLE = "tags.`spolia.role` = 'setting'"


def is_served(tracking: str) -> bool:
    """Whether an address of MLflow's has pages already."""
    return tracking.startswith("http")


@contextlib.contextmanager
def serving(tracking: str, log: Path) -> Iterator[str]:
    """The address of MLflow's pages on a database, until the block ends. Raises TrackingError where
    MLflow's server does not come up.
    """
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri", tracking]
    # It would start further processes for jobs of evaluation, which nobody here asks for.
    variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**variables, **os.environ},
            start_new_session=True,  # Ctrl-C is for us; we end it
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, process, log)
        yield address
    finally:
        _end(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{address}/health", timeout=2) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise TrackingError(f"MLflow's server does not answer; {log} says why")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def link(address: str, sweeps: Sequence[str]) -> str:
    """Where MLflow's pages show sweeps: one its settings, several the comparison of theirs, none
    all of them. Raises InputError for a sweep that is not tracked there.
    """
    if not sweeps:
        return f"{address}/#/experiments?workflowType=machine_learning"
    from mlflow import MlflowClient

    client = MlflowClient(address)
    found = {one.name: one for one in client.search_experiments()}
    missing = [name for name in sweeps if name not in found]
    if missing:
        raise InputError(
            "MLflow has nothing of these sweeps; `spolia track SWEEP` writes what the store has:",
            [f"{name}: {nearest(name, found)}" for name in missing],
        )
    if len(sweeps) > 1:
        return comparison(address, [found[name].experiment_id for name in sweeps])
    experiment = found[sweeps[0]]
    if f"{views.TAG}{views.SETTINGS}" in experiment.tags:
        return views.link(address, experiment.experiment_id)
    # This MLflow's views are not known to us.
    return f"{address}/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"


def moved(address: str, tracking: str, artifacts: str | None) -> list[str]:
    """Names of the sweeps whose files MLflow looks for in another home, from which this one was
    moved or copied.
    """
    if artifacts is None:
        return []
    from mlflow import MlflowClient

    found = MlflowClient(address).search_experiments()
    ours = [one for one in found if "spolia.question" in one.tags]
    return [one.name for one in ours if is_elsewhere(one.artifact_location, artifacts, tracking)]


def comparison(address: str, experiments: Sequence[str]) -> str:
    """The settings of several experiments in one list, and in the same charts."""
    listed = quote(json.dumps(list(experiments), separators=(",", ":")))
    return (
        f"{address}/#/compare-experiments/s?experiments={listed}&searchFilter={quote(_ROLE)}"
        "&workflowType=machine_learning&compareRunsMode=CHART"
    )
