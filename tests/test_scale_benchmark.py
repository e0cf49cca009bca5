"""`benchmarks/scale.py` small: every part runs and says what it found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCALE = Path(__file__).parents[1] / "benchmarks" / "scale.py"


@pytest.mark.long
@pytest.mark.process
def test_its_parts_run_small_and_end_with_figures():
    sizes = ["--parts", "trials,progress,listing", "--trials", "120", "--results", "600"]
    command = [sys.executable, str(SCALE), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert not done.stderr
    # Rates of so few trials say nothing.
    figures = [line.partition(":")[0] for line in done.stdout.splitlines() if "(bar " in line]
    assert figures == ["RATE", "MEMORY", "PROGRESS", "LISTING"]
    assert "600 results listed" in done.stdout
