"""Sweeps whose results a test gives, so that what claims make of them is known beforehand."""

from __future__ import annotations

from sample_methods import Graded, Noisy

from orchestrator import Method, Metric, Results, Run, Sweep, axis, make_plan
from orchestrator.parts.result import Result
from orchestrator.spec.claim import verdicts
from orchestrator.training.execute import execute


class Drawn(Method):
    """Its results are given by the test."""

    name = "drawn"
    uses = frozenset({"seed"})
    metrics = (Metric("score", by=("task",)),)

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


def given(store, cells, claims, score, outcome=lambda cell: "done"):
    """Verdicts on a sweep whose cells have the scores that a function gives: a number, a mapping by
    task, or None for a cell that is still open.
    """
    sweep = Sweep(question="?", cells=cells, expect=len(cells), claims=claims)
    plan = make_plan("asked", sweep, store)
    results = Results(plan, store)
    for cell in plan.cells:
        value = score(cell)
        if value is None:
            continue
        by_task = value if isinstance(value, dict) else {"": value}
        metrics = [
            {"name": "score", "value": v, "labels": {"task": t} if t else {}}
            for t, v in by_task.items()
        ]
        record = {"key": cell.trial.key, "outcome": outcome(cell), "metrics": metrics}
        results.by_key[cell.trial.key] = Result(store, record | {"matrices": [], "needs": {}})
    return verdicts(plan.claims, results)


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
