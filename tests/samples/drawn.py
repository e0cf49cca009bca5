"""Sweeps whose results a test gives, so that what claims make of them is known beforehand."""

from __future__ import annotations

import math

from sample_methods import Graded, Noisy

from orchestrator import Method, Metric, Results, Run, Sweep, axis, make_plan
from orchestrator.parts.result import Result
from orchestrator.spec.claim import verdicts
from orchestrator.training.execute import execute


class Drawn(Method):
    """Its results are given by the test."""

    name = "drawn"
    uses = frozenset({"seed"})
    metrics = (Metric("score", by=("task",), headline=True), Metric("quality"))

    level: float = axis(0.0)
    rate: float = axis(0.0)
    base: Method = axis(Noisy())
    relative: bool | None = axis(None)

    def train(self, run: Run) -> None:
        raise AssertionError("its results are given by the test")


class DrawnOnTasks(Drawn):
    """The same, on tasks."""

    name = "drawn_on_tasks"
    uses = frozenset({"seed", "tasks"})


class DrawnOfTargets(DrawnOnTasks):
    """The same, with a score on the first task, too, which it does not learn."""

    name = "drawn_of_targets"
    metrics = (Metric("score", by=("task",), headline=True, of_targets=True), Metric("quality"))


class DrawnOfCategories(DrawnOnTasks):
    """The same, with tasks under a label that the method calls otherwise."""

    name = "drawn_of_categories"
    metrics = (Metric("score", by=("category",), headline=True), Metric("quality"))


class DrawnAlike(Drawn):
    """The same, where the rate makes no difference."""

    name = "drawn_alike"

    def canonical(self):
        return self.replace(rate=0.0)


class DrawnOnce(Drawn):
    """The same, whatever the seed."""

    name = "drawn_once"
    uses = frozenset()


class Peaked(Graded):
    """Best at one rate, by its score and by its quality."""

    name = "peaked"
    best: float = axis(1.0)
    shuffled: bool = axis(True)

    def train(self, run: Run) -> None:
        for part in ("a", "b"):
            run.log(score=float(self.rate == self.best) + (run.seed or 0), by={"part": part})
        run.log(quality=-abs(self.rate - self.best))


def given(store, cells, claims, score, outcome=lambda cell: "done", quality=None):
    """Verdicts on a sweep whose cells have the scores that a function gives: a number, a mapping by
    task (or what its method logs by), or None for a cell that is still open. NaN is what a run
    leaves that logs NaN.
    """
    results = drawn_results(store, cells, score, outcome, quality, claims)
    return verdicts(results.plan.claims, results)


def drawn_results(
    store, cells, score, outcome=lambda cell: "done", quality=None, claims=()
) -> Results:
    """The results themselves; see `given`. `quality` is a metric without labels."""
    sweep = Sweep(question="?", cells=cells, expect=len(cells), claims=claims)
    plan = make_plan("asked", sweep, store)
    results = Results(plan, store)
    for cell in plan.cells:
        value = score(cell)
        if value is None:
            continue
        by_label = value if isinstance(value, dict) else {"": value}
        (label,) = cell.trial.method.metrics[0].by or ("task",)
        metrics = [_entry("score", v, {label: one} if one else {}) for one, v in by_label.items()]
        if quality is not None:
            metrics.append(_entry("quality", quality(cell), {}))
        record = {"key": cell.trial.key, "outcome": outcome(cell), "metrics": metrics}
        record |= {"matrices": [], "needs": {}, "curves": [], "provenance": {"device": "cpu"}}
        results.by_key[cell.trial.key] = Result(store, record)
        plan.outcomes[cell.trial.key] = outcome(cell)
    return results


def _entry(name, value, labels):
    return {"name": name, "value": value if math.isfinite(value) else None, "labels": labels}


def executed(store, cells, *claims, where=lambda trial: True):
    """Verdicts on a sweep whose trials have been executed where they can be, and where a condition
    says so.
    """
    sweep = Sweep(question="?", cells=cells, expect=len(cells), claims=claims)
    for trial in make_plan("asked", sweep, store).todo:
        needs = [store.find(need.key) for need in trial.needs.values()]
        if where(trial) and all(need and need["outcome"] == "done" for need in needs):
            execute(trial, store)
    plan = make_plan("asked", sweep, store)
    return verdicts(plan.claims, Results(plan, store))
