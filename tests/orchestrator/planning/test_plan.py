"""Plans: sharing, order, what is done, and every reason why cells cannot run."""

from __future__ import annotations

import pytest
from sample_methods import After, AfterAnything, Circular, Count, Endless, Faulty, Unfit

from methods.compatible_features import CompatibleFeatures
from methods.fine_tune import FineTune
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import (
    DataError,
    ExecutorError,
    PlanError,
    Sweep,
    Task,
    Trial,
    digits,
    make_plan,
    product,
    resolve,
    union,
)
from orchestrator.planning.explain import state_in_words
from orchestrator.planning.queue import Queue
from orchestrator.store.code import Code
from orchestrator.training.execute import execute
from orchestrator.training.outcome import Outcome


def planned(cells, store, expect=None):
    return make_plan("asked", Sweep(question="?", cells=cells, expect=expect or len(cells)), store)


def test_a_shared_need_is_one_trial(store):
    plan = planned(
        product(union(Count.grid(depth=1, number=2), Count.grid(depth=0, number=[2, 3])), seed=0),
        store,
    )
    assert (len(plan.cells), len(plan.trials)) == (3, 3)  # the need of the first cell is the second


def test_cells_that_are_the_same_trial_are_one(store):
    cells = product(
        CompatibleFeatures.grid(split=["stem", "pool"]),
        network=resnet8(),
        tasks=digits.classes(0, 1),
        seed=0,
    )
    plan = planned(cells, store)
    assert (len(plan.cells), len(plan.trials)) == (2, 1)


def test_sharing_factors_count_cells_and_users(store):
    a, b = digits.classes(0, 1, 2).named("a"), digits.classes(0, 1, 3).named("b")
    cells = product(
        Recombine.grid(of=CompatibleFeatures.grid(split=["stem", "pool"])),
        network=resnet8(),
        tasks=(a, b),
        seed=range(2),
    )
    plan = planned(cells, store)
    needs = [t for key, t in plan.trials.items() if key not in plan.cell_keys]
    assert (len(plan.cells), len(plan.trials), len(needs)) == (4, 6, 2)
    assert [plan.users[t.key] for t in needs] == [2, 2]
    assert plan.unshared() == 8


def test_needs_come_before_what_needs_them(store):
    plan = planned(product(Count.grid(depth=3, fan=2), seed=0), store)
    place = {key: i for i, key in enumerate(plan.trials)}
    assert all(
        place[need.key] < place[key]
        for key, trial in plan.trials.items()
        for need in trial.needs.values()
    )


def test_what_is_done_is_not_to_be_run_again_and_its_needs_neither(store):
    cells = product(Count.grid(depth=1), seed=range(2))
    plan = planned(cells, store)
    for trial in plan.todo:
        assert execute(trial, store).kind == "done"
    again = planned(cells, store)
    assert again.is_complete
    assert again.todo == []
    more = planned(product(Count.grid(depth=1), seed=range(3)), store)
    assert {t.seed for t in more.todo} == {2}


def test_a_trial_is_open_then_done_or_failed_and_stale_once_its_code_differs(store, monkeypatch):
    cells = union(
        product(Count.grid(), seed=0),
        product(Faulty.grid(), network=resnet8(), tasks=digits.images(limit=50), seed=0),
    )
    plan = planned(cells, store)
    keys = [cell.trial.key for cell in plan.cells]
    assert [plan.standing_or_stale(key) for key in keys] == ["open", "open"]
    for trial in plan.todo:
        execute(trial, store)
    plan = planned(cells, store)
    assert [plan.standing_or_stale(key) for key in keys] == ["done", "failed"]
    assert state_in_words(plan, plan.trials[keys[0]]) == "done: its result is in the store"
    other = Code({"sample_methods": "0" * 16})
    monkeypatch.setattr("orchestrator.planning.history.code_of", lambda trial: other)
    plan = planned(cells, store)
    assert [plan.standing_or_stale(key) for key in keys] == ["stale", "failed"]
    state = state_in_words(plan, plan.trials[keys[0]])
    assert state.startswith("done, but stale: made with other code: ")
    assert state.endswith(" more")  # all of its modules differ, three are named


def test_a_cycle_is_an_error_that_names_its_methods(store):
    with pytest.raises(PlanError, match="needs itself: circular -> circular -> circular"):
        planned(product(Circular.grid(), seed=0), store)


def test_an_endless_chain_is_an_error(store):
    with pytest.raises(PlanError, match="endless needs a chain of more than 5,000"):
        planned(product(Endless.grid(), seed=0), store)


def test_an_unfit_need_is_an_error_that_names_who_needs_it(store):
    with pytest.raises(PlanError, match=r"fine_tune takes at least 1 task.*needed by unfit"):
        planned(product(Unfit.grid(), network=resnet8(), tasks=digits, seed=0), store)


def test_every_reason_is_told_with_its_count(store):
    cells = union(
        product(
            CompatibleFeatures.grid(ingredients=("rotation",), split=["stem", "stage9"]),
            network=resnet8(),
            tasks=digits,
            seed=range(3),
        ),
        product(
            CompatibleFeatures.grid(ingredients=("common",)),
            network=resnet8(),
            tasks=(digits.classes(0, 1), digits.classes(2, 3)),
            seed=0,
        ),
        product(FineTune.grid(), network=resnet8(), tasks=digits.classes(0, "eleven"), seed=0),
    )
    with pytest.raises(PlanError) as caught:
        planned(cells, store)
    text = str(caught.value)
    assert "resnet8 has no split point 'stage9'. Did you mean 'stage" in text
    assert "(3 of 8 cells)" in text
    assert "at least two classes that all tasks share" in text
    assert "digits has no class 'eleven'" in text


def test_an_unknown_data_set_is_named(store):
    with pytest.raises(DataError, match="no data set is called 'digit'"):
        resolve(
            Trial(method=FineTune(), network=resnet8(), tasks=(Task(data="digit"),), seed=0), store
        )


def test_planning_reads_images_once_and_then_the_stores_record(store, monkeypatch):
    planned(product(FineTune.grid(), network=resnet8(), tasks=digits, seed=0), store)
    monkeypatch.setattr(
        "orchestrator.data.sources.load", lambda name: pytest.fail("planning read the images")
    )
    planned(product(FineTune.grid(), network=resnet8(), tasks=digits, seed=0), store)


def test_a_default_that_changed_without_a_revision_does_not_pass_as_the_same(store, monkeypatch):
    cells = product(Count.grid(), seed=0)
    execute(planned(cells, store).todo[0], store)
    monkeypatch.setattr("orchestrator.spec.settings._DEFAULTS", {})
    monkeypatch.setattr(Count.__dataclass_fields__["number"], "default", 7.0)
    monkeypatch.setattr(
        Count.__init__, "__kwdefaults__", {**Count.__init__.__kwdefaults__, "number": 7.0}
    )
    with pytest.raises(
        PlanError, match=r"count.number: .*made with 1.0, the same key now means 7.0.*revision"
    ):
        planned(cells, store)


# ---------------------------------------------------------------------- the queue


def finish(queue, trial, kind="done"):
    queue.finish(Outcome(trial.key, kind))


def test_the_queue_hands_out_what_is_ready_longest_path_first(store):
    cells = union(product(Count.grid(), seed=0), product(Count.grid(depth=2, number=5.0), seed=0))
    queue = Queue(planned(cells, store))
    taken = []
    while (trial := queue.take()) is not None:
        taken.append((trial.method.depth, trial.method.number))
        finish(queue, trial)
    assert taken == [(0, 5.0), (1, 5.0), (0, 1.0), (2, 5.0)]
    assert queue.is_finished


def test_a_trial_waits_for_all_its_needs(store):
    queue = Queue(planned(product(Count.grid(depth=1, fan=2), seed=0), store))
    one, two = queue.take(), queue.take()
    assert queue.take() is None
    finish(queue, one)
    assert queue.take() is None
    finish(queue, two)
    assert queue.take().method.depth == 1


@pytest.mark.parametrize(
    ("method", "kind", "runs"),
    [
        (After, "failed", False),
        (After, "diverged", False),
        (After, "lost", False),
        (AfterAnything, "diverged", True),
        (AfterAnything, "failed", False),
    ],
)
def test_only_what_needs_a_trial_that_is_not_done_is_blocked(store, method, kind, runs):
    cells = union(
        product(method.grid(), network=resnet8(), tasks=digits, seed=0),
        product(Count.grid(), seed=0),
    )
    queue = Queue(planned(cells, store))
    ran = []
    while (trial := queue.take()) is not None:
        ran.append(trial.method.name)
        finish(queue, trial, kind if trial.method.name == "faulty" else "done")
    assert ("count" in ran, method.name in ran) == (True, runs)
    assert queue.is_finished
    assert bool(queue.blocked) != runs


def test_blocking_goes_all_the_way_up(store):
    queue = Queue(planned(product(Count.grid(depth=3), seed=0), store))
    finish(queue, queue.take(), "failed")
    assert len(queue.blocked) == 3
    assert queue.is_finished


def test_waiting_for_ever_is_an_error(store):
    queue = Queue(planned(product(Count.grid(depth=1), seed=0), store))
    queue.running.discard(queue.take().key)
    with pytest.raises(
        ExecutorError, match="nothing runs and nothing is ready, yet 2 trials are left"
    ):
        queue.take()
