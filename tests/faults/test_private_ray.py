"""A sweep by the real command on a private Ray, which dies under it and is interrupted: each Ray
that it starts takes seconds, so one run shows what else a private Ray has to do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest
from lab import LAB

from orchestrator import Store

pytestmark = [pytest.mark.ray, pytest.mark.faults]


@pytest.fixture
def started(sweep_file, tmp_path):
    """`spolia run` of forty trials of that method, as a process: it, its store, and a folder in
    which each trial that begins leaves a note.
    """
    (tmp_path / "lab_beside.py").write_text(LAB)
    notes, home = tmp_path / "notes", tmp_path / "home"
    notes.mkdir()
    beside = f"Beside.grid(folder={str(notes)!r}), network=network_spec(Small), tasks=digits"
    before = "from lab_beside import *\nfrom orchestrator import network_spec\n"
    file = sweep_file(f"product({beside}, seed=range(40))", 40, before=before)
    program = [sys.executable, "-m", "orchestrator.cli", "run", str(file), "--home", str(home)]
    program += ["--tracking", "none", "--slots", "1"]
    process = subprocess.Popen(
        program,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        cwd="/",
    )
    yield process, Store(home / "store"), notes
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def finished_by(process, store, count):
    """Keys of what is done once it is so much."""
    deadline = time.monotonic() + 400
    while len(done := set(store.finished())) < count and time.monotonic() < deadline:
        if process.poll() is not None:
            break
        time.sleep(0.1)
    return done


@pytest.mark.parametrize(
    ("victim", "what", "number"),
    [
        # For SIGTERM Ray has a handler of its own, which aborts.
        ("raylet/raylet", "its raylet died", signal.SIGTERM),
        pytest.param("gcs_server", "its head service died", signal.SIGINT, marks=pytest.mark.long),
    ],
)
def test_a_private_ray_is_started_again_and_an_interrupted_run_keeps_what_is_done(
    started, spolia, tmp_path, victim, what, number
):
    process, store, notes = started
    before = finished_by(process, store, 3)
    assert process.poll() is None, process.communicate()[0]
    children = psutil.Process(process.pid).children(recursive=True)
    (one,) = [child for child in children if victim in program_of(child)]
    one.kill()
    # The one that ran when Ray died, and one more by a worker of the next Ray.
    after = finished_by(process, store, len(before) + 3)
    with contextlib.suppress(ProcessLookupError):  # it should live, and its status tells
        os.killpg(process.pid, number)  # as a terminal does with Ctrl-C: to the whole group
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    check_what_was_told(out, what, tmp_path / "home")
    done = set(store.finished())
    assert before < after <= done
    assert len(done) < 40
    # Nothing is lost, and what was done is not done again: only what ran when Ray died.
    begun = Counter(note.name.partition("-")[0] for note in notes.iterdir())
    assert sum(begun.values()) - len(begun) <= 1
    assert {store.find(key)["metrics"][0]["value"] for key in done} == {10.0}
    code, shown, _ = spolia("status", tmp_path / "asked.py", "--home", tmp_path / "home")
    sys.modules.pop("lab_beside")
    assert (code, f"{len(done)} of 40 cells done, {40 - len(done)} open" in shown) == (1, True)


def program_of(child):
    with contextlib.suppress(psutil.NoSuchProcess):  # some end meanwhile
        return "".join(child.cmdline()[:1])
    return ""


def check_what_was_told(out, what, home):
    said = f"Ray is gone ({what}) and is started again. What Ray says of it is in {home}/ray.log"
    assert (out.count("Ray is gone"), said in out) == (1, True), out
    interrupted = "Interrupted. What is done is kept; the same command goes on from here."
    assert interrupted in " ".join(out.split())
    assert "/tables/asked/metrics.parquet" in out
    # Its own words, tracebacks and dumps of its state are there and nowhere else.
    assert what in (home / "ray.log").read_text()
    assert not [word for word in ("Traceback", "(raylet)", "[state-dump]") if word in out], out
