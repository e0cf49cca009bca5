"""Random processes of a running sweep killed at random moments: driver, worker, the process
that works with Ray, raylet, head service, MLflow's writer, tracking server.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from disturbed import sweeps
from disturbed.calls import make_database
from disturbed.children import in_child, must
from disturbed.ledger import Case, Ledger
from disturbed.verdicts import defects_of_results, defects_of_runs, results_of, runs_in_mlflow

VICTIMS = ("driver", "worker", "pool", "raylet", "head service", "writer", "server")
A_NIGHT = 5  # kills of one sweep
LONGEST_RUN, MOST_RUNS = 600.0, 12  # seconds of one command; commands until all is done
PATIENCE = 60.0  # seconds for a victim to appear
# Seconds after which nothing that a run started may be left. Agents of a raylet that was killed
# tell the head service of it, and give one that is dead, too, 60 s to answer before they end.
LEFT_AFTER = 150.0


class Server:
    """`mlflow server` on a free port; started again after it was killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command += ["--artifacts-destination", f"{self.folder}/artifacts"]
        variables = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "log.txt", "ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=variables
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.address}/health", timeout=2),
            ):
                return
            time.sleep(0.5)
        raise RuntimeError(f"the tracking server does not start; see {self.folder}/log.txt")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def run_part(folder: Path, ledger: Ledger, num_cases: int, number: int) -> None:
    """So many kills, several a sweep; after them the same command runs until all is done."""
    text = sweeps.LONG.replace("EPOCHS", "3")
    file = sweeps.write(folder / "sweep", "disturbed_night", text)
    expected = _undisturbed(file, folder)
    num_killed, night = 0, 0
    # In each night somebody is killed; else there would be no end.
    while num_killed < num_cases and night < num_cases:
        name = f"night {night}"
        if name not in ledger:
            ledger.add(_one_night(file, folder, expected, name, random.Random(f"{number} {night}")))
        num_killed += ledger[name].count
        night += 1


def _undisturbed(file: Path, folder: Path) -> dict[str, Any]:
    """What a run leaves that nobody disturbs: results, MLflow's runs, and the seconds it took."""
    whole, log = folder / "whole", folder / "log.txt"
    shutil.rmtree(whole, ignore_errors=True)
    server = _new_server(whole)
    try:
        began = time.monotonic()
        status = _command(file, whole, server, log).wait(LONGEST_RUN)
        assert status == 0, f"an undisturbed run ended with {status}; see {log}"
        seconds = time.monotonic() - began
        return {"seconds": seconds, **_left(file, whole, server, log)}
    finally:
        server.kill()


def _new_server(home: Path) -> Server:
    server = Server(home / "server")
    in_child(lambda: make_database(home / "server" / "server.db"), home / "server" / "log.txt")
    server.start()
    return server


def _left(file: Path, home: Path, server: Server, log: Path) -> dict[str, Any]:
    results = in_child(lambda: results_of(file, home), log)
    runs = in_child(lambda: runs_in_mlflow(server.address, file.stem), log)
    return {"results": must(results), "runs": must(runs)}


def _command(file: Path, home: Path, server: Server, log: Path) -> subprocess.Popen[bytes]:
    """`spolia run` with a private Ray, two slots, and a checkpoint each epoch."""
    program = [sys.executable, "-m", "orchestrator.cli", "run", str(file), "--home", str(home)]
    program += ["--slots", "2", "--tracking", server.address, "--checkpoint-every", "0"]
    variables = {**os.environ, "RAY_worker_niceness": "0", "COLUMNS": "80"}
    with open(log, "ab") as output:
        return subprocess.Popen(
            program, stdout=output, stderr=output, start_new_session=True, env=variables
        )


def _one_night(
    file: Path, folder: Path, expected: dict[str, Any], name: str, draw: random.Random
) -> Case:
    """A sweep with `A_NIGHT` kills, run until all is done."""
    home, log = folder / "home", folder / "log.txt"
    shutil.rmtree(home, ignore_errors=True)
    server = _new_server(home)
    statuses: list[str] = []
    killed: list[str] = []
    defects: list[str] = []
    before: dict[str, Any] = {}
    try:
        for _ in range(MOST_RUNS):
            process = _command(file, home, server, log)
            while len(killed) < A_NIGHT and process.poll() is None:
                pause = draw.uniform(0, 2 / A_NIGHT) * expected["seconds"]
                if _waited(process, pause):
                    killed += _kill(process, server, draw.choice(VICTIMS))
            status = _status_of(process)
            statuses.append(status)
            defects += _left_behind(process)
            if server.process is None:
                server.start()
            if status == "hung":
                defects.append("the command hung")
            found = in_child(lambda: results_of(file, home), log).value or {}
            _, doubled, _ = defects_of_results(expected["results"], before, found)
            if doubled:
                defects.append(f"{doubled} trained again")
            before = found
            if status == "0":
                is_whole = found.keys() == expected["results"].keys()
                defects += [] if is_whole else ["it ended with status 0 and was not complete"]
                break
        left = _left(file, home, server, log)
    finally:
        server.kill()
    lost, doubled, wrong = defects_of_results(expected["results"], before, left["results"])
    lost_runs, doubled_runs, running, wrong_runs = defects_of_runs(
        _without_times(expected["runs"]), _without_times(left["runs"])
    )
    detail = f"killed: {', '.join(killed)}; statuses: {', '.join(statuses)}"
    defects += wrong + wrong_runs
    after = f"{'status 0' if statuses[-1] == '0' else 'never done'} at last"
    lost, doubled = lost + lost_runs, doubled + doubled_runs
    return Case("kills", name, after, detail, lost, doubled, running, defects, len(killed))


def _without_times(runs: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Runs without what a clock gave: two runs of a sweep agree in all else."""
    return {
        identity: [
            {
                "name": run["name"],
                "status": run["status"],
                "params": run["params"],
                "values": {
                    name: _values(points)
                    for name, points in run["metrics"].items()
                    if not _is_measured(name)
                },
            }
            for run in several
        ]
        for identity, several in runs.items()
    }


def _values(points: Any) -> Any:
    """Points without when they were written. A setting has a number only, its last state."""
    if isinstance(points, float):
        return points
    return [(step, value) for step, _, value in points]


def _is_measured(name: str) -> bool:
    """Whether a metric in MLflow tells of the machine, not of the trial."""
    return any(word in name for word in ("cost.", "second", "peak", "_per_", "system/"))


def _waited(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait; whether the process still runs then."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.poll() is None


def _kill(process: subprocess.Popen[bytes], server: Server, victim: str) -> list[str]:
    """Kill one process of a run, at once where it is there; says whom, or nobody where none came
    in time.
    """
    if victim == "server":
        server.kill()
        time.sleep(1.0)
        server.start()
        return [victim]
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        found = _processes(process, victim)
        if found:
            with contextlib.suppress(psutil.NoSuchProcess):
                found[len(found) // 2].kill()
                return [victim]
        time.sleep(0.1)
    return []


# By what their command lines hold; Ray renames its workers while they run something of ours.
_SIGNS = {
    "worker": ("LotRunner", "ray::"),
    "pool": ("orchestrator.executors.ray.served",),
    "raylet": ("raylet/raylet",),
    "head service": ("gcs_server",),
    "writer": ("orchestrator.tracking.process",),
}


def _processes(process: subprocess.Popen[bytes], victim: str) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        driver = psutil.Process(process.pid)
        if victim == "driver":
            return [driver]
        return [child for child in driver.children(recursive=True) if _is(child, victim)]
    return []


def _is(process: psutil.Process, victim: str) -> bool:
    with contextlib.suppress(psutil.Error):
        line = " ".join(process.cmdline())
        return any(sign in line for sign in _SIGNS[victim]) and "ray::IDLE" not in line
    return False


def _status_of(process: subprocess.Popen[bytes]) -> str:
    try:
        return str(process.wait(LONGEST_RUN))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "hung"


def _left_behind(process: subprocess.Popen[bytes]) -> list[str]:
    """Who of the run's session is still there some time after it ended. They are ended now."""
    deadline = time.monotonic() + LEFT_AFTER
    while time.monotonic() < deadline:
        left = _of_session(process.pid)
        if not left:
            return []
        time.sleep(0.5)
    names = sorted({_name(one) for one in left})
    for one in left:
        with contextlib.suppress(psutil.Error):
            one.kill()
    return [f"left behind after {LEFT_AFTER:g} s: {', '.join(names)}"]


def _of_session(session: int) -> Sequence[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())[:60]
    return "gone"
