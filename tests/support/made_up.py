"""Made-up results of a whole sweep, on which its claims are decided."""

from __future__ import annotations

import itertools
import random

from methods.network_transplanting.transplanted_tasks import TransplantedTasks, pair
from orchestrator import Results
from orchestrator.parts.result import Result
from orchestrator.spec.claim import several, verdicts

# How a verdict says that what a claim compares does not match.
TROUBLES = (
    "have no",
    "covers settings",
    "uneven",
    "averaged over a",
    "on one side",
    "is so",
    "that is meant",
    "no cell has",
)


def check_claims(sweep, plan, store):
    """Every claim of a sweep is decided from several pairs once all cells are done."""
    assert sweep.claims
    results = Results(plan, store)
    drawn = random.Random(0)
    for cell in results.plan.cells:
        results.by_key[cell.trial.key] = _drawn(cell.trial, sweep.claims, store, drawn)
    for verdict in verdicts(sweep.claims, results):
        for trouble in TROUBLES:
            assert trouble not in verdict.evidence, verdict.claim
        assert verdict.n > 1, verdict.claim


def _drawn(trial, claims, store, drawn):
    """A result with a number for every metric, by every label that it would have."""
    metrics = []
    for metric in trial.method.metrics:
        for labels in _labels(metric, trial, claims):
            metrics.append({"name": metric.name, "labels": labels, "value": drawn.random()})
    record = {"key": trial.key, "outcome": "done", "metrics": metrics, "matrices": [], "needs": {}}
    return Result(store, record)


def _labels(metric, trial, claims):
    """What a trial logs a metric by. Of categories it has its own guests; of other labels it is not
    known here which a method logs, so they have the values that claims name, or any one.
    """
    guests = trial.tasks[2:]  # behind the background and the host
    if "category" in metric.by and isinstance(trial.method, TransplantedTasks):
        return [pair(task) for task in guests]
    values = [
        [task.name for task in guests] if label == "category" else _named(label, claims)
        for label in metric.by
    ]
    return [dict(zip(metric.by, chosen, strict=True)) for chosen in itertools.product(*values)]


def _named(label, claims):
    """The values of a label that claims name, or any one."""
    named = {
        str(one)
        for claim in claims
        for labels in claim.named
        for name, value in labels.items()
        if name == label
        for one in several(value)
    }
    return sorted(named) or ["one"]
