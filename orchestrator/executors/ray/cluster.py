"""A Ray to work on: a private one on this machine, or a cluster that this process joins."""

from __future__ import annotations

import logging
import shlex
import sys
import time

import ray
from ray.exceptions import RayError

from orchestrator.errors import ExecutorError
from orchestrator.executors.ray.address import HINT

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
            f"a local Ray cannot be started: {error}. The executor 'inline' works without it"
        ) from error


def join(address: str) -> None:
    """Join a cluster as its driver. Raises ExecutorError where nobody answers."""
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
            f"no Ray cluster answers at {address!r}: {first_line} {HINT}"
        ) from error


def runtime_env() -> dict[str, str] | None:
    """Ray hands the interpreter's path to a shell as it is: with a space in it no worker would ever
    start, and Tune would wait for ever.
    """
    quoted = shlex.quote(sys.executable)
    return {"py_executable": quoted} if quoted != sys.executable else None


def wait_for_workers(seconds: float) -> None:
    """Wait until the workers of this process have ended by themselves, for so long at most."""
    deadline = time.monotonic() + seconds
    while ray.is_initialized() and _workers() and time.monotonic() < deadline:
        time.sleep(0.2)


def _workers() -> bool:
    """Whether an actor that this process started is alive."""
    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    return bool(ray._private.state.actors(job_id=job, actor_state_name="ALIVE"))


def leave() -> None:
    """End a private Ray, or leave the cluster."""
    ray.shutdown()


def logs() -> str:
    """The folder of this machine in which each process of Ray keeps a log."""
    return str(ray._private.worker._global_node.get_logs_dir_path())


def what_died() -> str:
    """What of the Ray that we are connected to has died, so that nothing can run any more, or an
    empty string. Ray itself says it late or not at all: a driver whose head service is gone works
    on for a minute and is then ended, one whose raylet is gone only sees all else fail.
    """
    node = ray._private.worker._global_node
    if node is None:
        return ""
    if node.all_processes:
        names = [VITAL[kind] for kind, _ in node.dead_processes() if kind in VITAL]
        return f"{' and '.join(names)} died" if names else ""
    # The processes of a cluster are not ours to look at: its head knows.
    try:
        dead = {one["NodeID"] for one in ray.nodes() if not one["Alive"]}
        is_cut_off = ray.get_runtime_context().get_node_id() in dead
    except (RayError, RuntimeError, ConnectionError):
        return ""
    return "the raylet of this machine died" if is_cut_off else ""
