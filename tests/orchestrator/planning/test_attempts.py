"""What the queue decides upon what executors report: tried again, given up, no more work for a
machine, the rest of a method last, or the end of the run.
"""

from __future__ import annotations

import pytest
from sample_methods import Count, Named

from orchestrator import Sweep, make_plan, product, union
from orchestrator.planning.queue import Queue
from orchestrator.planning.tries import ALIKE, NODE_TRIES, PROCESS_TRIES, WORKER_TRIES, Tries
from orchestrator.training.attempts import (
    Broken,
    Cramped,
    Finished,
    Gone,
    Unfit,
    Worker,
    from_json,
    to_json,
)
from orchestrator.training.outcome import Outcome

CRAMPED = Cramped(Outcome("a", "failed", 0.001, "OutOfMemoryError"))
ONE, TWO = Worker("node one", "one, process 1"), Worker("node two", "two, process 2")


def queue_of(store, cells, nodes=("node one", "node two")):
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=len(cells)), store)
    return Queue(plan).shaped(lambda trial: None, lambda: nodes)


def broken(key, reason="ZeroDivisionError: division by zero", worker=ONE):
    return Broken(Outcome(key, "failed", 0.001, reason), worker)


def done(key, seconds=0.1, worker=ONE):
    return Finished(Outcome(key, "done", seconds), worker)


@pytest.mark.parametrize(
    "attempt",
    [
        done("a"),
        broken("a"),
        CRAMPED,
        Unfit("a", "no", True, ONE),
        Unfit("a", "no", False, ONE, is_data=True),
        Gone("a", "out of memory"),
    ],
)
def test_an_attempt_travels_as_json(attempt):
    assert from_json(to_json(attempt)) == attempt


def test_an_unfit_machine_costs_no_trial_and_gets_no_more(store):
    queue = queue_of(store, product(Count.grid(), seed=range(3)))
    keys = [queue.take().key for _ in range(3)]
    for key in keys:
        assert queue.heard(Unfit(key, "it does not see the store", True, ONE)) is None
    assert (queue.ended, queue.running, list(queue.unfit)) == ({}, set(), ["node one"])
    assert not queue.stopped
    again = {queue.take().key for _ in range(3)}
    assert again == set(keys)
    assert [queue.heard(done(key, worker=TWO)).kind for key in keys] == ["done"] * 3


def test_where_no_fit_machine_is_left_the_run_ends_and_says_why(store):
    queue = queue_of(store, product(Count.grid(), seed=range(3)))
    running = queue.take().key
    for worker in (ONE, TWO):
        queue.heard(Unfit(queue.take().key, f"the disk of {worker.name} is full", True, worker))
    assert queue.stopped == "the disk of two, process 2 is full"
    assert queue.take() is None
    assert not queue.is_finished
    queue.heard(done(running))
    assert queue.is_finished
    assert list(queue.ended) == [running]


def test_what_stops_a_process_is_tried_in_another_before_the_trial_is_blamed(store):
    queue = queue_of(store, product(Count.grid(), seed=range(2)), nodes=["node one"])
    key = queue.take().key
    for number in range(1, PROCESS_TRIES + 1):
        worker = Worker("node one", f"one, process {number}")
        ended = queue.heard(Unfit(key, "CUDA error: device-side assert", False, worker))
        assert (ended is not None) == (number == PROCESS_TRIES)
        queue.take()
    assert (ended.kind, ended.reason) == ("failed", "CUDA error: device-side assert")
    assert queue.unfit == {}


def stopping(key, number, node, is_data=False):
    worker = Worker(f"node {node}", f"{node}, process {number}")
    return Unfit(key, "CUDA error: device-side assert", False, worker, is_data)


@pytest.mark.parametrize("is_data", [False, True])
def test_a_machine_on_which_a_trial_stops_processes_or_finds_no_data_costs_no_trial(store, is_data):
    """A GPU that breaks, a set that lies on the other machines only."""
    queue = queue_of(store, product(Count.grid(), seed=range(2)))
    key = queue.take().key
    for number in range(1 if is_data else PROCESS_TRIES):
        assert queue.unfit == {}
        assert queue.heard(stopping(key, number, "one", is_data)) is None
        assert queue.take().key == key
    assert list(queue.unfit) == ["node one"]
    assert queue.heard(done(key, worker=TWO)).kind == "done"
    assert list(queue.unfit) == ["node one"]


def test_a_trial_that_fails_on_two_machines_is_at_fault_and_both_get_work_again(store):
    queue = queue_of(store, product(Count.grid(), seed=range(2)))
    key = queue.take().key
    for number in range(PROCESS_TRIES):
        queue.heard(stopping(key, number, "one"))
        queue.take()
    ended = queue.heard(stopping(key, 9, "two"))
    assert (ended.kind, ended.reason) == ("failed", "CUDA error: device-side assert")
    assert (queue.unfit, queue.stopped) == ({}, "")


@pytest.mark.parametrize(("is_node", "tries"), [(False, WORKER_TRIES), (True, NODE_TRIES)])
def test_machines_that_are_taken_back_use_up_no_tries_of_workers(store, is_node, tries):
    queue = queue_of(store, product(Count.grid(), seed=0))
    heard = []
    while queue.num_waiting:
        heard.append(queue.heard(Gone(queue.take().key, "it is gone", is_node)))
    assert len(heard) == tries
    assert heard[:-1] == [None] * (tries - 1)
    what = "machine" if is_node else "worker"
    assert (heard[-1].kind, heard[-1].reason) == (
        "lost",
        f"its {what} went away {tries} times: it is gone",
    )


def test_a_trial_with_which_several_machines_went_away_is_tried_by_itself(store, monkeypatch):
    queue, were_alone = queue_of(store, product(Count.grid(), seed=0)), []
    put_back = queue.put_back

    def noted(key, alone):
        were_alone.append(alone)
        put_back(key, alone=alone)

    monkeypatch.setattr(queue, "put_back", noted)
    for _ in range(WORKER_TRIES + 1):
        queue.heard(Gone(queue.take().key, "it is gone", is_node=True))
    assert were_alone == [False] * (WORKER_TRIES - 1) + [True, True]


def test_failures_make_no_trial_short(store):
    queue = queue_of(store, product(Count.grid(), seed=range(50)))
    queue.heard(done(queue.take().key, 3600.0))
    for _ in range(3):
        queue.heard(broken(queue.take().key))
    assert len(queue.take_lot(2)) == 1


def test_the_longest_of_a_kind_says_how_long_it_takes(store):
    queue = queue_of(store, product(Count.grid(), seed=range(50)))
    for seconds in (0.001, 3.0, 0.001):
        queue.heard(done(queue.take().key, seconds))
    assert len(queue.take_lot(2)) == 1


# ---------------------------------------------------------------------- methods that break


def two_methods(store, num_seeds=20):
    cells = union(
        product(Named.grid(called="faulty"), seed=range(num_seeds)),
        product(Count.grid(), seed=range(num_seeds)),
    )
    return queue_of(store, cells)


def drained(queue, workers=(ONE, TWO)):
    """The names of the methods in the order in which their trials are handed out, where all of
    `named` break alike.
    """
    order = []
    while (trial := queue.take()) is not None:
        order.append(trial.method.name)
        worker = workers[len(order) % len(workers)]
        reason = f"RuntimeError: label {len(order)} is out of range"
        is_faulty = trial.method.name == "named"
        queue.heard(broken(trial.key, reason, worker) if is_faulty else done(trial.key))
    return order


def test_the_rest_of_a_method_that_breaks_alike_waits_until_all_else_is_done(store):
    queue = two_methods(store)
    order = drained(queue)
    assert order == ["named"] * ALIKE + ["count"] * 20 + ["named"] * (20 - ALIKE)
    assert list(queue.held_back) == ["named"]
    assert queue.is_finished


def test_a_method_that_finds_no_gpu_memory_anywhere_waits_as_well(store):
    queue = two_methods(store)
    words = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 {}. GPU 0 has 79.10 GiB"
    for number in range(ALIKE):
        trial = queue.take()
        reason = words.format("GiB" if number % 2 else "MiB")
        worker = (ONE, TWO)[number % 2]
        assert queue.heard(Cramped(Outcome(trial.key, "failed", 1.0, reason), worker)) is not None
    assert list(queue.held_back) == ["named"]


def test_one_worker_alone_proves_nothing_of_a_method(store):
    queue = two_methods(store)
    assert drained(queue, workers=(ONE,))[:20] == ["named"] * 20
    assert queue.held_back == {}


def test_how_many_failures_are_enough_can_be_set(store):
    plan = two_methods(store).plan
    queue = Queue(plan, Tries(alike=2)).shaped(lambda trial: None, lambda: ("node one",))
    assert drained(queue)[:3] == ["named", "named", "count"]


def test_different_errors_are_not_alike(store):
    queue = two_methods(store, 10)
    for number in range(10):
        worker = (ONE, TWO)[number % 2]
        queue.heard(broken(queue.take().key, f"KeyError: {'abcdefghij'[number]!r}", worker))
    assert queue.held_back == {}
