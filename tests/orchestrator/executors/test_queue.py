"""Lots: short trials are handed out together, long ones and unknown ones alone, and every slot gets
its share.
"""

from __future__ import annotations

from sample_methods import Count

from orchestrator import Sweep, make_plan, product
from orchestrator.planning.queue import LARGEST_LOT, Queue
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
