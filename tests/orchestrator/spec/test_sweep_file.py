"""What reading a sweep file leaves behind."""

from __future__ import annotations

import sys

import pytest

from orchestrator import SweepError, load_sweep

SWEEP = """
import {module}
from methods.fine_tune import FineTune
from orchestrator import Sweep, digits, product

sweep = Sweep(question="Is it?", cells=product(FineTune.grid(), tasks=digits, seed=0), expect=1)
"""


def test_modules_that_a_sweep_imports_are_compiled_once_and_the_sweep_leaves_nothing(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    (tmp_path / "asked_beside.py").write_text("")
    file = tmp_path / "asked.py"
    file.write_text(SWEEP.format(module="asked_beside"))
    load_sweep(file)
    compiled = [one.name.partition(".")[0] for one in tmp_path.glob("__pycache__/*")]
    assert compiled == ["asked_beside"]


def test_a_sweep_file_has_its_own_future_imports_only(tmp_path):
    file = tmp_path / "asked.py"
    # Annotations would not be evaluated under the future import of the module that reads the file.
    file.write_text("def asks(x: 1 / 0): ...\n")
    with pytest.raises(SweepError, match="line 1: ZeroDivisionError"):
        load_sweep(file)
