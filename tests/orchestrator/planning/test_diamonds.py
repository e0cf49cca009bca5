"""Needs that many trials share are looked at once each, however many paths lead to them."""

from __future__ import annotations

from collections import Counter

import pytest

from orchestrator import Method, PlanError, Sweep, Trial, axis, local_run, make_plan, product
from orchestrator.planning.queue import Queue
from orchestrator.training.outcome import Outcome

CALLS: Counter[str] = Counter()


class Diamond(Method):
    """Trial number n needs all that come before it: 2 ** n paths."""

    name = "diamond"
    uses = frozenset({"seed"})

    number: int = axis(0)
    bad: bool = axis(False)

    def check(self, trial):
        CALLS["check"] += 1
        if self.bad and not self.number:
            yield "the first is bad"

    def needs(self, trial):
        CALLS["needs"] += 1
        before = (self.replace(number=i) for i in range(self.number))
        return {f"n{m.number}": trial.replace(method=m) for m in before}

    def train(self, run):
        CALLS["train"] += 1


@pytest.fixture(autouse=True)
def counted():
    CALLS.clear()


def planned(store, seeds=1, **settings):
    cells = product(Diamond.grid(**settings), seed=range(seeds))
    return make_plan("asked", Sweep(question="?", cells=cells, expect=len(cells)), store)


def test_two_hundred_trials_that_each_need_all_before_are_planned_in_two_hundred_steps(store):
    plan = planned(store, number=199)
    assert len(plan.trials) == 200
    assert CALLS == {"needs": 200, "check": 200}
    assert list(plan.trials)[-1] == plan.cells[0].trial.key
    assert len(plan.todo) == 200


def test_cells_share_what_they_need(store):
    plan = planned(store, seeds=2, number=[10, 11, 12])
    assert len(plan.trials) == 2 * 13
    # The cells themselves are trials beside the needs that equal them.
    assert CALLS["needs"] <= 2 * 13 + 6


def test_what_is_wrong_below_is_told_once_a_cell(store):
    with pytest.raises(PlanError, match=r"the first is bad \(needed by diamond\) \(2 of 2 cells\)"):
        planned(store, seeds=2, number=60, bad=True)
    assert CALLS["check"] <= 2 * 61


def test_in_a_notebook_each_need_is_run_once(tmp_path):
    local_run(Trial(method=Diamond(number=40), seed=0), store=tmp_path)
    assert CALLS["train"] == 40


def test_what_is_behind_a_failure_is_blocked_however_deep(store):
    """In a loop, and with one reason for all of it instead of one a step longer each."""
    plan = planned(store, number=60)
    queue = Queue(plan)
    first = queue.take()
    queue.finish(Outcome(first.key, "failed", reason="no"))
    assert len(queue.blocked) == 60
    assert max(map(len, queue.blocked.values())) < 200
