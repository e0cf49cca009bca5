"""The guard of the fast tier notices what it says, and the documents say what it does."""

from __future__ import annotations

import itertools
import os
import random
import re
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy
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


def test_to_read_the_tests_is_not_to_import_what_few_of_them_want():
    assert tiers.WATCH.read == set()


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


SAMPLE = """
import pytest
def test_plain(): pass
@pytest.mark.long
def test_with_a_marker(): pass
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        ((), 1),  # what `make test` runs
        (("--tier", "all"), 2),
        (("::test_with_a_marker",), 1),  # a test that is named, whatever its tier
    ],
)
def test_without_a_tier_the_full_one_runs_and_what_is_named(tmp_path, arguments, passed):
    file = tmp_path / "test_sample.py"
    file.write_text(SAMPLE)
    named = [f"{file}{a}" if a.startswith("::") else a for a in arguments]
    if named == list(arguments):
        named.append(str(file))
    program = [sys.executable, "-m", "pytest", "-q", "-p", "tiers", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*program, "--rootdir", str(tmp_path), "-W", "ignore", *named],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests/support")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{passed} passed" in ran.stdout


def test_a_shuffled_order_follows_from_its_seed_and_keeps_groups_together():
    groups = {f"a.py::test_{i}": "a.py" for i in range(4)}
    groups |= {f"{file}.py::test_ray_{i}": "ray" for file in "bc" for i in range(4)}
    groups |= {f"b.py::test_{i}": None for i in range(20)}

    def order(seed):
        return sorted(groups, key=lambda name: tiers.shuffled_place(seed, name, groups[name]))

    assert order("1") == order("1") != order("2") != list(groups)
    for seed in map(str, range(10)):
        runs = [key for key, _ in itertools.groupby(order(seed), lambda name: groups[name])]
        assert runs.count("a.py") == runs.count("ray") == 1
        ray = [name[0] for name in order(seed) if groups[name] == "ray"]
        assert len(list(itertools.groupby(ray))) == 2  # the files of a group, one after another
    places = {tuple(n for n in order(str(seed)) if groups[n] == "a.py") for seed in range(10)}
    assert len(places) > 5  # within a group, too, the order is random


def _drawn():
    return random.random(), numpy.random.random(), torch.rand(1).item()


@pytest.mark.parametrize("turn", [1, 2])
def test_what_a_test_draws_is_the_same_whatever_was_drawn_before(turn):
    # Of generators with the seeds of `conftest.py`: the other turn may run in another process.
    first = (
        random.Random(0).random(),
        numpy.random.RandomState(0).random_sample(),
        torch.rand(1, generator=torch.Generator().manual_seed(67280421310721)).item(),
    )
    assert _drawn() == first
    assert all(now != then for now, then in zip(_drawn(), first, strict=True))


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
