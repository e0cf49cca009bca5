"""A Ray to work on: a private one on this machine, or a cluster that this process joins."""

from __future__ import annotations

import logging
import shlex
import socket
import sys

import ray
from ray.exceptions import RayError

from orchestrator.errors import ExecutorError

CONNECT_WITHIN = 5.0  # seconds for a cluster's address to accept a connection
CLUSTER_HINT = (
    "Is the cluster up (`ray status` on its head), is this machine part of it, "
    "and does RAY_AUTH_MODE agree?"
)
# Without either of them a Ray is of no use, and nothing brings it back.
VITAL = {"raylet": "its raylet", "gcs_server": "its head service"}


def start_local(cpus: float) -> None:
    """A private Ray on this machine. Raises ExecutorError where it cannot be started."""
    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=runtime_env(),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ExecutorError(
            f"a local Ray cannot be started: {error}. --executor inline works without it"
        ) from error


def join(address: str) -> None:
    """Join a cluster as its driver. Raises ExecutorError where nobody answers."""
    if "://" in address:
        raise ExecutorError(
            f"{address}: the driver must run on the cluster; `spolia submit` has it run there "
            "(docs/running-on-a-cluster.md)"
        )
    if address != "auto":
        _check_that_it_answers(address)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=runtime_env(),
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        first_line = str(error).splitlines()[0]
        raise ExecutorError(
            f"no Ray cluster answers at {address!r}: {first_line} {CLUSTER_HINT}"
        ) from error


def _check_that_it_answers(address: str) -> None:
    """A socket fails within seconds where Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_WITHIN).close()
    except (OSError, ValueError) as error:
        raise ExecutorError(
            f"no Ray cluster answers at {address!r} ({error}). {CLUSTER_HINT} "
            "An address is 'auto' or HOST:PORT"
        ) from error


def runtime_env() -> dict[str, str] | None:
    """Ray hands the interpreter's path to a shell as it is: with a space in it no worker would ever
    start, and Tune would wait for ever.
    """
    quoted = shlex.quote(sys.executable)
    return {"py_executable": quoted} if quoted != sys.executable else None


def leave() -> None:
    """End a private Ray, or leave the cluster."""
    ray.shutdown()


def what_died() -> str:
    """What of the Ray that we are connected to has died, so that nothing can run any more, or an
    empty string. Ray itself says it late or not at all: a driver whose head service is gone works
    on for a minute and is then ended, one whose raylet is gone waits for ever.
    """
    node = ray._private.worker._global_node
    if node is None:
        return ""
    # Of a cluster, whose processes others have started, there are none here.
    names = [VITAL[kind] for kind, _ in node.dead_processes() if kind in VITAL]
    return f"{' and '.join(names)} died" if names else ""
