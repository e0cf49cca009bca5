"""The guard of the fast tier notices what it says, and the documents say what it does."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tiers
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def watch():
    made = tiers.Watch()
    made.begin(on=True)
    return made


def test_a_test_that_does_nothing_of_it_is_fast(watch):
    assert watch.verdict() is None


@pytest.mark.process
@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda folder: subprocess.run(["true"], check=True), "it starts a process"),
        (lambda folder: sqlite3.connect(folder / "x.db").close(), "it opens a database"),
    ],
)
def test_what_python_does_outside_of_itself_is_heard(watch, tmp_path, act, told):
    sys.addaudithook(watch.audit)
    act(tmp_path)
    assert watch.verdict().startswith(told)
    watch.begin(on=False)  # a hook stays for as long as the process


def test_steps_of_any_optimiser_are_counted():
    before = tiers.WATCH.steps
    weight = torch.nn.Parameter(torch.zeros(1))
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        kind([weight], lr=0.1).step()
    assert tiers.WATCH.steps == before + 2


def test_too_many_steps_and_heavy_imports_are_told(watch, monkeypatch):
    watch.steps = tiers.MOST_STEPS
    assert watch.verdict() is None
    watch.steps += 1
    assert "more than 300" in watch.verdict()
    watch.begin(on=True)
    watch.loaded = set(sys.modules) - {"ray"}
    with monkeypatch.context() as patched:  # this test is fast, so it ends before its own verdict
        patched.setitem(sys.modules, "ray", None)
        assert watch.verdict() == "it imports ray"


def test_every_marker_is_registered_and_in_the_guide():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
    registered = {marker.partition(":")[0] for marker in settings["ini_options"]["markers"]}
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    assert registered == tiers.FULL | tiers.LONG
    assert {m for m in registered if f"`{m}`" not in guide} == set()
    assert f"more than {tiers.MOST_STEPS} steps" in guide


def test_every_tier_has_a_target():
    text = (ROOT / "Makefile").read_text()
    assert re.findall(r"^test\S*: TIER := (\w+)$", text, re.M) == list(tiers.TIERS)
