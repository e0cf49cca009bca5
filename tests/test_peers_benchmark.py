"""The job that `benchmarks/peers/` gives to Spolia and to its peers is one and the same."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from orchestrator import load_sweep, make_plan

PEERS = Path(__file__).resolve().parents[1] / "benchmarks/peers"


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(PEERS))
    monkeypatch.setenv("SPOLIA_PACKAGES", "pairs")
    known = set(sys.modules)
    yield PEERS
    for name in {"pairs", "science"} - known:
        sys.modules.pop(name, None)


def test_spolias_sweep_has_the_twelve_settings_and_three_seeds_and_shares_trainings(peers, store):
    name, sweep = load_sweep(peers / "with_spolia.py")
    plan = make_plan(name, sweep, store)
    methods = [trial.method.name for trial in plan.trials.values()]
    assert len(plan.cells) == 36
    # Only the third recipe depends on the split: 2 and 4 trainings a seed instead of 12.
    assert (methods.count("recombine"), methods.count("pair")) == (36, 18)


def test_both_trainings_see_as_many_images_and_cut_at_the_same_places(peers):
    from science import SPLITS, images, stages

    (a, _), (b, _), (test, _) = images()
    assert (len(a), len(b), len(test)) == (600, 600, 597)
    assert [*SPLITS, "classifier"] == list(stages())


def test_lines_are_counted_without_blanks_comments_and_docstrings(peers):
    spec = importlib.util.spec_from_file_location("compare_peers", peers / "compare.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop(spec.name)
    head = '"""What.\n\nMore.\n"""\n\nx = 1  # one\n# two\n'
    text = head + 'def f():\n    """Says."""\n    return (\n        1\n    )\n'
    assert module.code_lines(text) == 5
