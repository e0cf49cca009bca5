"""Made-up results of a whole sweep, on which its claims are decided."""

from __future__ import annotations

import itertools
import random

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
    """A result with a number for every metric, by every label that a claim names."""
    metrics = []
    for metric in trial.method.metrics:
        values = [_named(label, claims) for label in metric.by]
        for chosen in itertools.product(*values):
            labels = dict(zip(metric.by, chosen, strict=True))
            metrics.append({"name": metric.name, "labels": labels, "value": drawn.random()})
    record = {"key": trial.key, "outcome": "done", "metrics": metrics, "matrices": [], "needs": {}}
    return Result(store, record)


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
