"""Small versions of `benchmarks/faults.py`: nothing lost, doubled, left running, told wrongly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.process, pytest.mark.mlflow]
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "faults.py"


def counted(folder, *parts, num_cases, seed):
    """The benchmark's exit status, and its last lines."""
    options = ["--cases", num_cases, "--seed", seed, "--folder", folder]
    options += [word for part in parts for word in ("--part", part)]
    ended = subprocess.run(
        [sys.executable, str(BENCHMARK), *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, (ended.stdout + ended.stderr)[-3000:]


@pytest.mark.long
def test_a_disturbed_sweep_ends_like_an_undisturbed_one(tmp_path):
    # One process for all parts: most of its time goes into its imports.
    status, output = counted(tmp_path, "calls", "sweeps", "stores", num_cases=5, seed=1)
    assert (status, "0 lost, 0 doubled" in output) == (0, True), output


@pytest.mark.long
@pytest.mark.parametrize(
    ("part", "num_cases"), [("calls", 200), ("kills", 10), ("sweeps", 300), ("stores", 60)]
)
def test_many_disturbed_sweeps_do(tmp_path, part, num_cases):
    status, output = counted(tmp_path, part, num_cases=num_cases, seed=2)
    assert (status, "0 lost, 0 doubled" in output) == (0, True), output
