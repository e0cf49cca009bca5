"""Killed for real and run again: the same bits as never killed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from orchestrator import Store, load_sweep, make_plan
from orchestrator.testing import fingerprint

pytestmark = [pytest.mark.faults, pytest.mark.slow]
BOTH = "network=resnet8(width=4), tasks=(A, B), seed=0"
TRAINED = "CompatibleFeatures.grid(ingredients={ingredients}, epochs=6, batch=16)"
CELLS = {
    "fine_tune": f"product(FineTune.grid(epochs=12, batch=16), {BOTH})",
    "compatible_features": (
        f"product({TRAINED.format(ingredients=('rotation', 'common'))}, {BOTH})"
    ),
    "recombine": (f"product(Recombine.grid(of={TRAINED.format(ingredients=('common',))}), {BOTH})"),
}
BEFORE = (
    "A = digits.classes(0, 1, 2, 3).images(0, of=2, limit=96).named('a')\n"
    "B = digits.classes(0, 1, 4, 5).images(1, of=2, limit=96).named('b')\n"
)
QUICK = ("--executor", "inline", "--tracking", "none", "--checkpoint-every", "0")


def started(file, home):
    """The command in a process of its own, with nothing said."""
    program = [sys.executable, "-m", "orchestrator.cli", "run", str(file), "--home", str(home)]
    return subprocess.Popen(
        [*program, *QUICK],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def killed(process):
    """Kill it where it still runs; says whether it did."""
    running = process.poll() is None
    with contextlib.suppress(ProcessLookupError):  # it was faster
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return running


def bits(file, home):
    name, sweep = load_sweep(file)
    store = Store(home / "store")
    plan = make_plan(name, sweep, store)
    return {key: fingerprint(store.find(key)) for key in plan.trials}


@pytest.fixture
def ends_as_never_killed(spolia, tmp_path):
    """Runs the command in a home that a killed process left, and compares with a whole run."""

    def check(file, home, moment):
        whole = tmp_path / "whole"
        if not whole.exists():
            assert spolia("run", file, "--home", whole, *QUICK)[0] == 0
        assert spolia("run", file, "--home", home, *QUICK)[0] == 0
        assert bits(file, home) == bits(file, whole), f"killed {moment}"
        assert not list((home / "scratch").glob("*/*.pt"))

    return check


def killed_at_the_first_checkpoint(file, home):
    """Kill the command once it has left one; says whether it still ran then."""
    process = started(file, home)
    while process.poll() is None and not list((home / "scratch").glob("*/*.pt")):
        time.sleep(0.005)
    return killed(process)


# What is lost with a process is the same for every method; for all of them the contract raises an
# exception instead.
METHODS = [
    "fine_tune",
    *(pytest.param(m, marks=pytest.mark.long) for m in CELLS if m != "fine_tune"),
]


@pytest.mark.parametrize("method", METHODS)
def test_a_trial_killed_while_it_trains_ends_with_the_same_bits(
    method, sweep_file, tmp_path, ends_as_never_killed
):
    """The kill is sure to find a trial that trains, with a checkpoint to go on from."""
    file = sweep_file(CELLS[method], before=BEFORE)
    for attempt in range(10):  # where we are not given a core in time, the trial has ended
        home = tmp_path / f"killed{attempt}"
        if killed_at_the_first_checkpoint(file, home):
            break
    else:
        pytest.fail("each trial had ended before it was killed")
    ends_as_never_killed(file, home, "at the first checkpoint")


@pytest.mark.long
@pytest.mark.parametrize("method", CELLS)
def test_a_trial_killed_at_many_random_moments_ends_with_the_same_bits(
    method, sweep_file, tmp_path, ends_as_never_killed
):
    file = sweep_file(CELLS[method], before=BEFORE)
    began = time.monotonic()
    started(file, tmp_path / "timed").wait()
    whole = time.monotonic() - began
    kills = 0
    for attempt in range(20):
        home = tmp_path / f"killed{attempt}"
        wait = random.SystemRandom().uniform(0.2, 1.0) * whole
        process = started(file, home)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait)
        kills += killed(process)
        ends_as_never_killed(file, home, f"after {wait:.3f} of {whole:.3f} s")
    assert kills > 0


def test_a_measurement_killed_while_it_commits_ends_with_the_same_bits(
    sweep_file, tmp_path, spolia
):
    """`recombine` has no fit: its dangerous moment is between its blobs and its record."""
    file = sweep_file(CELLS["recombine"], before=BEFORE)
    assert spolia("run", file, "--home", tmp_path / "whole", *QUICK)[0] == 0
    whole = bits(file, tmp_path / "whole")
    key = next(k for k, found in whole.items() if found["matrices"])
    blobs = [f"store/blobs/{m['blob'][:2]}/{m['blob']}" for m in whole[key]["matrices"]]
    landed = False
    for attempt in range(10):
        home = tmp_path / f"killed{attempt}"
        shutil.copytree(tmp_path / "whole", home)
        record = home / f"store/results/{key[:2]}/{key}/result.json"
        record.unlink()
        for blob in blobs:
            (home / blob).unlink(missing_ok=True)
        process = started(file, home)
        while process.poll() is None and not (home / blobs[0]).exists():
            time.sleep(0.0005)
        killed(process)
        landed = landed or not record.exists()
        assert spolia("run", file, "--home", home, *QUICK)[0] == 0
        assert bits(file, home) == whole
        if landed:
            break
    assert landed, "no kill came before the record"
