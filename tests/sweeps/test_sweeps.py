"""Every sweep file of the project can be planned as it stands."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from orchestrator import Results, load_sweep, make_plan
from orchestrator.parts.result import Result
from orchestrator.spec.claim import several, verdicts

FILES = sorted((Path(__file__).parents[2] / "sweeps").glob("*.py"))
WITH_CLAIMS = [file for file in FILES if "claims=" in file.read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_sweep_file_plans(file, store, request):
    name, sweep = load_sweep(file)
    if any(task.data != "digits" for p in sweep.cells.points for task in p.values.get("tasks", ())):
        request.getfixturevalue("shared_data")
    plan = make_plan(name, sweep, store)
    assert len(plan.cells) == sweep.expect
    assert plan.question
    assert not plan.is_complete


def test_the_sweep_of_the_readme_plans_as_printed(store, tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (tmp_path / "readme.py").write_text(readme.split("```python\n")[1].split("```")[0])
    name, sweep = load_sweep(tmp_path / "readme.py")
    assert len(make_plan(name, sweep, store).cells) == sweep.expect == 36


@pytest.mark.slow
@pytest.mark.parametrize("file", WITH_CLAIMS, ids=lambda f: f.stem)
def test_the_claims_of_a_sweep_compare_like_with_like(file, store, request):
    """Once all cells are done, no claim is left undecided because its sides do not match."""
    name, sweep = load_sweep(file)
    assert sweep.claims
    if any(task.data != "digits" for p in sweep.cells.points for task in p.values.get("tasks", ())):
        request.getfixturevalue("shared_data")
    results = Results(make_plan(name, sweep, store), store)
    drawn = random.Random(0)
    for cell in results.plan.cells:
        results.by_key[cell.trial.key] = _drawn(cell.trial, sweep.claims, store, drawn)
    for verdict in verdicts(sweep.claims, results):
        for trouble in (
            "have no",
            "covers settings",
            "uneven",
            "averaged over a",
            "on one side",
            "is so",
        ):
            assert trouble not in verdict.evidence, verdict.claim
        assert verdict.n > 1, verdict.claim


def _drawn(trial, claims, store, drawn):
    """A result with a number for every metric, by every label that a claim names."""
    metrics = []
    for metric in trial.method.metrics:
        named = {
            str(one)
            for claim in claims
            for labels in claim.named
            for name, value in labels.items()
            if metric.by == (name,)
            for one in several(value)
        }
        for value in sorted(named) or ["one"]:
            labels = dict.fromkeys(metric.by, value)
            metrics.append({"name": metric.name, "labels": labels, "value": drawn.random()})
            if not metric.by:
                break
    record = {"key": trial.key, "outcome": "done", "metrics": metrics, "matrices": [], "needs": {}}
    return Result(store, record)


@pytest.mark.slow
def test_masks_and_packed_networks_are_compared_over_the_targets(store, shared_data):
    """PackNet measures the base, too, which masks leave as it is."""
    name, sweep = load_sweep(next(file for file in FILES if file.stem == "piggyback_orders"))
    results = Results(make_plan(name, sweep, store), store)
    for cell in results.plan.cells:
        packs = cell.trial.method.name == "packnet"
        tasks = cell.trial.tasks if packs else cell.trial.tasks[1:]
        metrics = [
            {"name": "accuracy", "labels": {"task": task.name}, "value": 0.8 + 0.1 * packs}
            for task in tasks
        ]
        record = {"outcome": "done", "metrics": metrics, "matrices": [], "needs": {}}
        results.by_key[cell.trial.key] = Result(store, record | {"key": cell.trial.key})
    (claim,) = [
        claim
        for claim in sweep.claims
        if claim.metric == "accuracy" and type(claim).__name__ == "Higher"
    ]
    verdict = claim.decide(results)
    assert (verdict.verdict, verdict.n) == ("not reproduced", 5)
    assert verdict.evidence == "difference -0.100 ±0.000; averaged over tasks (4), task (4)"
