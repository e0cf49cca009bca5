"""Killed for real, at a random moment, and run again: the same bits as never killed."""

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

CELLS = {
    "fine_tune": "product(FineTune.grid(epochs=12, batch=16), network=resnet8(width=8), tasks=(A, B), seed=0)",
    "compatible_features": "product(CompatibleFeatures.grid(ingredients=('rotation', 'common'), epochs=6, batch=16), network=resnet8(width=8), tasks=(A, B), seed=0)",  # noqa: E501
    "recombine": "product(Recombine.grid(of=CompatibleFeatures.grid(ingredients=('common',), epochs=6, batch=16)), network=resnet8(width=8), tasks=(A, B), seed=0)",  # noqa: E501
}
BEFORE = "A = digits.classes(0, 1, 2, 3).images(0, of=2).named('a')\nB = digits.classes(0, 1, 4, 5).images(1, of=2).named('b')\n"


def command(file, home):
    program = [sys.executable, "-m", "orchestrator.cli", "run", str(file), "--home", str(home)]
    return [*program, "--executor", "inline", "--tracking", "none", "--checkpoint-every", "0"]


def bits(file, home):
    name, sweep = load_sweep(file)
    store = Store(home / "store")
    plan = make_plan(name, sweep, store)
    return {key: fingerprint(store.find(key)) for key in plan.trials}


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("method", CELLS)
def test_a_trial_killed_at_a_random_moment_ends_with_the_same_bits(method, sweep_file, tmp_path):
    file = sweep_file(CELLS[method], before=BEFORE)
    began = time.monotonic()
    subprocess.run(command(file, tmp_path / "whole"), check=True, capture_output=True)
    whole = time.monotonic() - began
    kills = 0
    for attempt in range(3):
        home = tmp_path / f"killed{attempt}"
        moment = (
            random.SystemRandom().uniform(0.35, 0.95) * whole
        )  # past the imports, where there is something to kill
        process = subprocess.Popen(
            command(file, home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if attempt == 0:  # once for certain where there is a checkpoint to go on from
            while process.poll() is None and not list((home / "scratch").glob("*/*.pt")):
                time.sleep(0.005)
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        subprocess.run(command(file, home), check=True, capture_output=True)
        assert bits(file, home) == bits(file, tmp_path / "whole"), (
            f"killed after {moment:.2f} of {whole:.2f} s"
        )
        assert not list((home / "scratch").glob("*/*.pt"))
    assert kills > 0


@pytest.mark.faults
@pytest.mark.slow
def test_a_measurement_killed_while_it_commits_ends_with_the_same_bits(sweep_file, tmp_path):
    """`recombine` has no fit: its dangerous moment is between its blobs and its record."""
    file = sweep_file(CELLS["recombine"], before=BEFORE)
    subprocess.run(command(file, tmp_path / "whole"), check=True, capture_output=True)
    whole = bits(file, tmp_path / "whole")
    key = next(k for k, found in whole.items() if found["matrices"])
    landed = 0
    for attempt in range(5):
        home = tmp_path / f"killed{attempt}"
        shutil.copytree(tmp_path / "whole", home)
        record = home / f"store/results/{key[:2]}/{key}/result.json"
        record.unlink()
        for matrix in whole[key]["matrices"]:
            (home / f"store/blobs/{matrix['blob'][:2]}/{matrix['blob']}").unlink(missing_ok=True)
        first = (
            home
            / f"store/blobs/{whole[key]['matrices'][0]['blob'][:2]}/{whole[key]['matrices'][0]['blob']}"
        )
        process = subprocess.Popen(
            command(file, home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while process.poll() is None and not first.exists():
            time.sleep(0.0005)
        with contextlib.suppress(ProcessLookupError):  # it was faster
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        landed += not record.exists()
        subprocess.run(command(file, home), check=True, capture_output=True)
        assert bits(file, home) == whole
        if landed:
            break
    assert landed, "no kill came before the record"
