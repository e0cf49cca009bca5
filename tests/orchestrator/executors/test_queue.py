"""Lots: short trials are handed out together, long ones and unknown ones alone, and every slot gets
its share.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from sample_methods import After, AfterAnything, Count, Faulty

from methods.networks import resnet8
from orchestrator import Sweep, digits, make_plan, product, union
from orchestrator.planning.queue import LARGEST_LOT, Queue
from orchestrator.planning.remainder import Left
from orchestrator.training.outcome import Outcome


def queue_of(store, seeds, **settings):
    return Queue(
        make_plan(
            "asked",
            Sweep(
                question="?", cells=product(Count.grid(**settings), seed=range(seeds)), expect=seeds
            ),
            store,
        )
    )


def ended(queue, trial, seconds):
    queue.finish(Outcome(trial.key, "done", seconds))


def test_of_trials_nobody_has_timed_each_is_handed_out_alone(store):
    queue = queue_of(store, 20)
    assert [len(queue.take_lot(2)) for _ in range(3)] == [1, 1, 1]


def test_short_trials_go_together_within_their_slots_share(store):
    queue = queue_of(store, 101)
    ended(queue, queue.take_lot(2)[0], 0.001)
    sizes = []
    while lot := (queue.take_lot(2) if queue.num_waiting else []):
        sizes.append(len(lot))
    assert sum(sizes) == 100
    assert sizes[0] == 50
    assert sizes[-1] == 1
    assert max(sizes) <= LARGEST_LOT


def test_a_lot_lasts_about_a_second(store):
    queue = queue_of(store, 101)
    ended(queue, queue.take_lot(2)[0], 0.3)
    assert len(queue.take_lot(2)) == 4
    queue = queue_of(store, 101)
    ended(queue, queue.take_lot(2)[0], 30.0)
    assert len(queue.take_lot(2)) == 1


def test_what_is_put_back_comes_again_alone(store):
    queue = queue_of(store, 9)
    ended(queue, queue.take_lot(1)[0], 0.001)
    lot = queue.take_lot(1)
    assert len(lot) == 8
    for trial in lot:
        queue.put_back(trial.key)
    assert len(queue.take_lot(1)) == 1


def test_a_freed_worker_gets_a_trial_of_its_own_shape_first(store):
    queue = queue_of(store, 6).shaped(lambda trial: trial.seed % 2)
    assert [queue.take(prefer=1).seed for _ in range(4)] == [1, 3, 5, 0]


def counted(queue):
    """What is left of a queue, counted trial by trial."""
    left = [t for k, t in queue.trials.items() if k not in queue.ended and k not in queue.blocked]
    waits = Counter()
    for trial in left:
        needed = {need.key: need.method.name for need in trial.needs.values()}
        open_needs = {n for k, n in needed.items() if k in queue.trials and k not in queue.ended}
        waits.update((trial.method.name, name) for name in open_needs)
    return len(left), waits, Counter(outcome.kind for outcome in queue.ended.values())


def test_what_is_left_is_what_counting_all_trials_gives_however_they_end(store):
    faulty = ["done", "raise", "diverge"]
    grid = union(Faulty.grid(how=faulty), After.grid(how=faulty), AfterAnything.grid(how=faulty))
    cells = product(
        grid, network=resnet8(width=4), tasks=digits.classes(0, 1).images(limit=40), seed=range(2)
    )
    queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=18), store))
    kinds = ["done", "failed", "diverged"]
    while (trial := queue.take()) is not None:
        queue.finish(Outcome(trial.key, kinds[len(queue.ended) % 3], 1.0))
        number, waits, ended = counted(queue)
        assert queue.left.number == number
        assert +queue.left.waits == waits
        assert queue.num_ended == ended
    assert queue.blocked
    assert not +queue.left.waits


def test_what_a_plan_expects_of_open_trials_is_kept_as_they_end(store):
    plan = queue_of(store, 4).plan
    queue = Queue(replace(plan, seconds=dict.fromkeys(plan.trials, 2.5)))
    assert queue.left.all() == Left(10.0)
    queue.finish(Outcome(queue.take().key, "failed", 1.0))
    assert queue.left.all() == Left(7.5)


def planned(store):
    """Three settings with three seeds each, which all need another trial."""
    cells = product(Count.grid(number=[1, 2, 3], depth=1), seed=range(3))
    return make_plan("asked", Sweep(question="?", cells=cells, expect=9), store)


def seeds_in_order(queue):
    seeds = []
    while (trial := queue.take()) is not None:
        seeds.append(trial.seed)
        ended(queue, trial, 1.0)
    return seeds


def test_one_seed_of_every_setting_goes_first_where_that_is_asked_for(store):
    plan = planned(store)
    # With what it needs: six trials of each seed.
    assert seeds_in_order(Queue(plan, seeds_first=True)) == [0] * 6 + [1] * 6 + [2] * 6
    assert seeds_in_order(Queue(plan)) != [0] * 6 + [1] * 6 + [2] * 6


def test_no_free_worker_begins_with_the_next_seeds_because_they_fit_it(store):
    def is_last(trial):
        return trial.seed == 2

    queue = Queue(planned(store), seeds_first=True).shaped(is_last)
    assert queue.take(True).seed == 0
    assert Queue(planned(store)).shaped(is_last).take(True).seed == 2


def test_a_setting_that_lacks_its_later_seeds_only_waits_for_the_first_of_others(store):
    plan = planned(store)
    first = next(cell.trial for cell in plan.cells if cell.trial.seed == 0)
    outcomes = {key: "done" for key in (first.key, *(n.key for n in first.needs.values()))}
    queue = Queue(replace(plan, outcomes=outcomes), seeds_first=True)
    assert seeds_in_order(queue) == [0] * 4 + [1] * 6 + [2] * 6
