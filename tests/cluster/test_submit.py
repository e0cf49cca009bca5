"""A sweep handed in at a real head, with a package of its author's: followed, left, followed again,
stopped; its results are read from outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
from ports import free_ports

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.process]
BIN = Path(sys.executable).parent

FILES = {
    "spolia.toml": 'store = "{root}/shared/store"\nhead = "{head}"\ntracking = "none"\nslots = 1\n',
    "sweeps/afar_lab/__init__.py": "",
    "sweeps/afar_lab/adding.py": "def added(a, b):\n    return a + b\n",
    "sweeps/afar_lab/.git/config": "",
    "sweeps/afar_method.py": '''"""Adds. Departs from the paper: there is none."""
import time
from pathlib import Path
from afar_lab.adding import added
from orchestrator import Method, Metric, Run, axis


class AddsAfar(Method):
    name = "adds_afar"
    uses = frozenset({{"seed"}})
    metrics = (Metric("total", headline=True),)
    number: float = axis(1.0)

    def train(self, run: Run) -> None:
        Path("{root}/begun").touch()
        while not Path("{root}/go").exists():
            time.sleep(0.1)
        run.log(total=added(self.number, run.seed))
''',
    # The name of a module that everything imports, and that a sweep file hides nowhere.
    "sweeps/calendar.py": '''"""Do numbers add up?"""
from afar_method import AddsAfar
from orchestrator import Sweep, product

sweep = Sweep(question=__doc__, cells=product(AddsAfar.grid(number=[1.0, 2.0]), seed=0), expect=2)
''',
}


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """The address of a head of its own, with two CPUs, whose users have their home elsewhere."""
    if " " in sys.executable:
        # "bash: line 1: /home/a: No such file", and with --block the whole head ends with it.
        pytest.skip("`ray start --head` has a shell run its client server by Python's bare path")
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # paths of sockets must be short
    home = tmp_path_factory.mktemp("head")
    port, dashboard, client, listen, grpc = free_ports(5)
    environment = {**os.environ, "HOME": str(home), "RAY_TMPDIR": folder}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "PATH": f"{BIN}:{os.environ['PATH']}"}
    environment |= {"RAY_raylet_start_wait_time_s": "300"}  # beside tests that compute
    environment.pop("PYTHONPATH")  # a cluster has not what lies beside a sweep here
    command = [BIN / "ray", "start", "--head", "--block", "--num-cpus=2", f"--temp-dir={folder}"]
    command += [f"--port={port}", f"--dashboard-port={dashboard}"]
    command += [f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={listen}"]
    command += [f"--dashboard-agent-grpc-port={grpc}", "--object-store-memory=100000000"]
    address = f"http://127.0.0.1:{dashboard}"
    with open(home / "ray.log", "wb") as log:
        started = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    until(lambda: answers(address) or started.poll() is not None)
    assert started.poll() is None, (home / "ray.log").read_text()
    yield address
    # With --block, Ray ends all that it has started on SIGTERM.
    started.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.wait(60)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    shutil.rmtree(folder, ignore_errors=True)


def answers(address):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return "ray_version" in json.load(opener.open(f"{address}/api/version", timeout=5))
    except (OSError, ValueError):
        return False


def until(true, seconds=300):
    """Wait for something to become true; a generous limit."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)


class Command:
    """A command of spolia in another process, with what it has printed so far."""

    def __init__(self, words, folder, prints):
        self._out, self._err = prints.with_suffix(".out"), prints.with_suffix(".err")
        environment = {**os.environ, "COLUMNS": "80", "no_proxy": "127.0.0.1"}
        with open(self._out, "w") as out, open(self._err, "w") as err:
            self.process = subprocess.Popen(
                [BIN / "spolia", *words], cwd=folder, env=environment, stdout=out, stderr=err
            )

    @property
    def out(self):
        return self._out.read_text()

    @property
    def err(self):
        return self._err.read_text()

    def until(self, words):
        """Wait until it has printed this."""
        until(lambda: words in self.out or self.process.poll() is not None)
        assert words in self.out, self.err

    def ended(self):
        """Its exit status."""
        return self.process.wait(300)


@pytest.fixture
def laptop(head, tmp_path):
    """`laptop(*command)`: a command of spolia in a folder of somebody's."""
    root = tmp_path / "study"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(root=root, head=head))
    started = []

    def call(*words):
        started.append(Command(words, root, tmp_path / f"command-{len(started)}"))
        return started[-1]

    call.root = root
    yield call
    for one in started:
        one.process.kill()
        one.process.wait()


def test_a_sweep_is_handed_in_left_followed_again_and_read_from_outside(laptop):
    first = laptop("submit", "sweeps/calendar.py")
    first.until("to run  2")
    until((laptop.root / "begun").exists)
    told = (
        r"(\S+) is handed in at \S+: calendar\.py, afar_lab, afar_method\.py \(4 files, 1 kB\)\.\n"
    )
    (job,) = re.findall(told, first.err)
    first.process.send_signal(signal.SIGINT)
    assert first.ended() == 130
    assert f"submit --follow {job}. Stop it: spolia submit --stop {job}.\n" in first.err
    second = laptop("submit", "sweeps/calendar.py")
    second.until("to run  2")
    assert f"{job} is just this and runs since" in second.err
    (laptop.root / "go").touch()
    assert second.ended() == 0, second.err
    assert "calendar: 2 of 2 cells done" in second.out
    assert second.out.startswith("calendar  Do numbers add up?\n")
    # Edited here, a method is the same one that has run there, and its results are stale.
    (laptop.root / "sweeps/afar_lab/adding.py").write_text("def added(a, b):\n    return b + a\n")
    results = laptop("results", "sweeps/calendar.py")
    again = laptop("submit", "sweeps/calendar.py")
    assert results.ended() == 0
    rows = [line.split() for line in results.out.splitlines()]
    assert rows[:3] == [["number", "total", "n"], ["1", "1.000", "1"], ["2", "2.000*", "1"]]
    assert again.ended() == 2
    assert "2 results are stale" in again.err


@pytest.mark.long
def test_a_job_whose_command_was_killed_is_followed_by_its_name_and_stopped_in_order(laptop):
    first = laptop("submit", "sweeps/calendar.py")
    first.until("to run  2")
    until((laptop.root / "begun").exists)
    (job,) = re.findall(r"(\S+) is handed in", first.err)
    first.process.kill()  # as if its machine were gone
    running = laptop("submit", "--follow", job)
    running.until("to run  2")
    stopped = laptop("submit", "--stop", job)
    assert stopped.ended() == 0
    assert stopped.err == f"{job} has ended (stopped). What is done is kept.\n"
    assert running.ended() == 130
    assert "Interrupted. What is done is kept" in running.out
