"""MLflow's pages on a home: a server for as long as somebody looks, and links that open what
answers the question.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestrator.errors import InputError, TrackingError, nearest
from orchestrator.tracking import views
from orchestrator.tracking.moved_homes import is_elsewhere

PATIENCE = 120.0  # seconds until a server has to answer
PORTS = range(20_000, 30_000)  # below those that a kernel hands out: from 32,768 on Linux
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
    command += ["--port", str(port), "--workers", "1"]
    # It would start further processes for jobs of evaluation, which nobody here asks for.
    variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    # Not on the command line, which everybody on this machine can read: a password may be in it.
    database = {"MLFLOW_BACKEND_STORE_URI": tracking}
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**variables, **os.environ, **database},
            start_new_session=True,  # Ctrl-C is for us; we end it
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, process, log)
        yield address
    finally:
        _end(process)


def _free_port() -> int:
    """A port that nobody listens on. Not one that the kernel chooses, which it would hand out to
    the next who asks for any, seconds before MLflow's server takes it.
    """
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise TrackingError(f"no port from {PORTS.start} to {PORTS.stop} is free for MLflow's server")


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    # Not through a proxy, which would look for the port on another machine.
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            directly.open(f"{address}/health", timeout=2) as answer,
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


def link(address: str, sweeps: Sequence[str], tracking: str | None = None) -> str:
    """Where MLflow's pages at an address show sweeps: one its settings, several the comparison of
    theirs, none all of them. `tracking` is the database behind them, where that is at hand. Raises
    InputError for a sweep that is not tracked there, TrackingError where nobody answers.
    """
    address = address.rstrip("/")
    if not sweeps:
        return f"{address}/#/experiments?workflowType=machine_learning"
    from orchestrator.tracking.patience import ERRORS, first_line, settings

    try:
        with settings():
            return _link(address, sweeps, tracking or address)
    except ERRORS as error:
        if isinstance(error, InputError):
            raise
        raise TrackingError(f"MLflow at {address} does not answer: {first_line(error)}") from error


def _link(address: str, sweeps: Sequence[str], tracking: str) -> str:
    from mlflow import MlflowClient

    client = MlflowClient(tracking)
    # By name: a server may have more of them than it lists at once.
    found = {name: client.get_experiment_by_name(name) for name in sweeps}
    missing = [name for name, one in found.items() if not _is_there(one)]
    if missing:
        known = [one.name for one in client.search_experiments()]
        raise InputError(
            "MLflow has nothing of these sweeps; `spolia track SWEEP` writes what the store has:",
            [f"{name}: {nearest(name, known)}" for name in missing],
        )
    if len(found) > 1:
        return comparison(address, [one.experiment_id for one in found.values()])
    (experiment,) = found.values()
    has_views = f"{views.TAG}{views.SETTINGS}" in experiment.tags
    is_known = has_views and views.is_known(version_at(tracking))
    return page_of(address, experiment.experiment_id, has_views=is_known)


def _is_there(experiment: Any) -> bool:
    return experiment is not None and experiment.lifecycle_stage == "active"


def page_of(address: str, experiment: str, *, has_views: bool) -> str:
    """Where a server shows an experiment: our view, or the plain list of an MLflow whose views are
    not known to us.
    """
    address = address.rstrip("/")
    if has_views:
        return views.link(address, experiment)
    return f"{address}/#/experiments/{experiment}/runs?workflowType=machine_learning"


def version_at(tracking: str) -> str:
    """The version of MLflow that people look with: a server's, or the one installed here. Empty
    where a server does not say.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.tracking._tracking_service.utils import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    if not is_served(tracking):
        return str(mlflow.__version__)
    try:
        answer = http_request(get_default_host_creds(tracking), "/version", "GET", max_retries=0)
    except (MlflowException, OSError):
        return ""
    return str(answer.text)


def moved(tracking: str, artifacts: str | None) -> list[str]:
    """Names of the sweeps whose files MLflow looks for in another home, from which this one was
    moved or copied.
    """
    if artifacts is None:
        return []
    from mlflow import MlflowClient

    found = MlflowClient(tracking).search_experiments()
    ours = [one for one in found if "spolia.question" in one.tags]
    return [one.name for one in ours if is_elsewhere(one.artifact_location, artifacts, tracking)]


def comparison(address: str, experiments: Sequence[str]) -> str:
    """The settings of several experiments in one list, and in the same charts."""
    listed = quote(json.dumps(list(experiments), separators=(",", ":")))
    return (
        f"{address}/#/compare-experiments/s?experiments={listed}&searchFilter={quote(_ROLE)}"
        "&workflowType=machine_learning&compareRunsMode=CHART"
    )
