"""The ledger of lots, without any process: what goes back to the queue, and what ends a run."""

from __future__ import annotations

import pytest
from listeners import Heard
from sample_methods import Count, Named

from orchestrator import ExecutorError, Store, StoreError, Sweep, make_plan, product, union
from orchestrator.executors.executor import check_that_it_ended
from orchestrator.executors.lots import Lots
from orchestrator.executors.placement import Node, Nodes, Placement, at_once, with_more_memory
from orchestrator.planning.queue import Queue
from orchestrator.training.attempts import Cramped, Finished, Unfit, Worker
from orchestrator.training.execute import execute
from orchestrator.training.outcome import Outcome

ONE_CPU = Placement(cpus=1.0, gpus=0.0)
HERE = Worker("a", "here, process 1")


@pytest.fixture
def ledger(store):
    """`ledger(seeds)`: (lots, queue, listener); after the first, trials are known to be short."""

    def make(seeds, slots=1):
        cells = product(Count.grid(), seed=range(seeds))
        queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=seeds), store))
        heard = Heard()
        return Lots(queue, heard, store, slots, dict.fromkeys(queue.trials, ONE_CPU)), queue, heard

    return make


def done(*keys):
    return [Finished(Outcome(key, "done", 0.001), HERE) for key in keys]


def after_the_first(lots):
    """The lot that comes once the first trial was short."""
    first = lots.take(None)
    lots.heard(first, done(*first.keys))
    return lots.take(ONE_CPU)


def test_lots_are_taken_until_all_is_heard_of(ledger):
    lots, queue, heard = ledger(5)
    lot = after_the_first(lots)
    assert (len(lot.keys), lot.placement, lot.unfit) == (4, ONE_CPU, ())
    assert lots.take(ONE_CPU) is None
    assert not lots.is_finished()
    lots.heard(lot, done(*lot.keys))
    assert lots.is_finished()
    assert [outcome.kind for outcome in heard.ends] == ["done"] * 5
    check_that_it_ended(queue)


def test_what_is_heard_of_twice_counts_once(ledger):
    lots, _, heard = ledger(2)
    lot = lots.take(None)
    lots.heard(lot, done(*lot.keys))
    lots.gone(lot, "late", is_node=False)
    lots.heard(lot, done(*lot.keys))
    assert len(heard.ends) == 1


def test_each_trial_of_a_lost_lot_comes_again_by_itself_unless_its_machine_went(ledger):
    for is_node, size in ((False, 1), (True, 4)):
        lots, _, _ = ledger(5)
        lots.gone(after_the_first(lots), "killed", is_node)
        assert len(lots.take(ONE_CPU).keys) == size


def test_what_a_lost_worker_had_committed_is_not_run_again(ledger, store):
    lots, queue, heard = ledger(5)
    lot = after_the_first(lots)
    execute(queue.trials[lot.keys[0]], store)
    lots.gone(lot, "killed", is_node=False)
    assert [outcome.key for outcome in heard.ends[1:]] == [lot.keys[0]]
    assert queue.num_waiting == 3


def test_a_store_that_does_not_answer_when_a_worker_goes_away_ends_no_run(ledger, monkeypatch):
    def away(self, key):
        raise StoreError("no answer")

    lots, queue, heard = ledger(2)
    monkeypatch.setattr(Store, "find", away)
    lots.gone(lots.take(None), "killed", is_node=False)
    assert (queue.num_waiting, heard.ends) == (2, [])


def test_a_trial_whose_worker_goes_away_three_times_is_lost_with_the_reason(ledger):
    lots, _, heard = ledger(1)
    for _ in range(3):
        lots.gone(lots.take(None), "out of memory", is_node=False)
    (lost,) = heard.ends
    assert (lost.kind, lost.reason) == ("lost", "its worker went away 3 times: out of memory")
    assert lots.is_finished()


def test_an_unfit_node_is_named_once_and_lots_keep_away_from_it(ledger):
    lots, queue, heard = ledger(5)
    lot = after_the_first(lots)
    unfit = Unfit(lot.keys[1], "no store", True, Worker("node-of-it", "there, process 2"))
    lots.heard(lot, [*done(lot.keys[0]), unfit], nodes=["node-of-it", "another"])
    assert heard.notes == ["no more work goes to there (node node-of-): no store"]
    # The trials behind it were never begun, and are as good as new.
    again = lots.take(ONE_CPU)
    assert (set(again.keys), again.unfit) == (set(lot.keys[1:]), ("node-of-it",))
    assert len(heard.ends) == 2
    assert not queue.stopped


def test_a_machine_that_was_suspected_is_said_to_be_fit_after_all(ledger):
    lots, queue, heard = ledger(1)
    lot = lots.take(None)
    for node in ("one", "two"):
        missing = Unfit(lot.keys[0], "there is no birds", False, Worker(node, node), is_data=True)
        lots.heard(lot, [missing], nodes=["one", "two"])
        lot = lots.take(None)
    assert heard.notes == [
        "no more work goes to one (node one): there is no birds",
        "it is the trial, and not the machine that it failed on before: there is no birds",
    ]
    assert ([one.kind for one in heard.ends], queue.unfit) == (["failed"], {})


def test_without_a_fit_node_it_ends_and_says_why(ledger):
    lots, queue, heard = ledger(3)
    lot = lots.take(None)
    lots.heard(lot, [Unfit(lot.keys[0], "no store", True, HERE)], nodes=["a"])
    assert lots.take(None) is None
    assert lots.is_finished()
    assert heard.ends == []
    with pytest.raises(ExecutorError, match="no machine is left that could go on: no store"):
        check_that_it_ended(queue)


def test_what_is_out_when_the_pool_ends_goes_back_and_uses_up_no_try(ledger):
    lots, queue, heard = ledger(4, slots=2)
    for _ in range(9):
        taken = [lots.take(None), lots.take(None)]
        assert queue.num_waiting == 2
        lots.give_back("Ray is gone")
        assert (queue.num_waiting, len(queue.running)) == (4, 0)
        # Nobody is there any more who could be heard of.
        lots.heard(taken[0], done(*taken[0].keys))
    assert heard.ends == []


QUARTER = Placement(cpus=1.0, gpus=0.25)


def cramped(key):
    return Cramped(Outcome(key, "failed", 0.5, "OutOfMemoryError: CUDA out of memory"), HERE)


@pytest.fixture
def on_a_gpu(store):
    """`on_a_gpu(cells)`: (lots, queue, listener); each trial has a quarter of one GPU."""

    def make(cells, gpus=1.0):
        plan = make_plan("asked", Sweep(question="?", cells=cells, expect=len(cells)), store)
        queue, heard = Queue(plan), Heard()
        nodes = Nodes((Node("one", cpus=8.0, gpus=gpus),))
        shares = dict.fromkeys(queue.trials, QUARTER)
        lots = Lots(queue, heard, store, 4, shares, lambda has: with_more_memory(has, nodes))
        return lots, queue, heard

    return make


def test_what_ran_out_of_gpu_memory_is_tried_again_with_a_larger_share_up_to_a_whole(on_a_gpu):
    lots, _, heard = on_a_gpu(product(Count.grid(), seed=range(1)))
    shares = []
    while (lot := lots.take(None)) is not None:
        shares.append(lot.placement.gpus)
        lots.heard(lot, [cramped(*lot.keys)])
    assert shares == [0.25, 0.5, 1.0]
    (failed,) = heard.ends
    assert (failed.kind, failed.reason) == ("failed", "OutOfMemoryError: CUDA out of memory")
    assert lots.is_finished()
    assert heard.notes == [
        "count ran out of GPU memory with 1 CPU and 0.25 GPUs a trial, and has 1 CPU and 0.5 GPUs "
        "from here on ([gpus] count = 0.5 in spolia.toml spares the tries)",
        "count ran out of GPU memory with 1 CPU and 0.5 GPUs a trial, and has 1 CPU and 1 GPU from "
        "here on ([gpus] count = 1 in spolia.toml spares the tries)",
    ]


def test_all_of_a_workload_get_the_larger_share_and_others_keep_theirs(on_a_gpu):
    cells = union(product(Count.grid(), seed=range(4)), product(Named.grid(), seed=range(1)))
    lots, queue, heard = on_a_gpu(cells)
    methods = {trial.key: trial.method.name for trial in queue.trials.values()}
    first, second = lots.take(None), lots.take(None)
    # Two run out at once: what the first has led to is enough for the second, too.
    for lot in (first, second):
        lots.heard(lot, [cramped(*lot.keys)])
    taken = [lots.take(None) for _ in range(5)]
    shares = {methods[lot.keys[0]]: set() for lot in taken}
    for lot in taken:
        shares[methods[lot.keys[0]]].add(lot.placement.gpus)
    assert shares == {"count": {0.5}, "named": {0.25}}
    assert (len(heard.notes), heard.ends) == (1, [])


def test_the_time_left_knows_that_fewer_run_at_once_with_larger_shares(on_a_gpu):
    lots, queue, _ = on_a_gpu(product(Count.grid(), seed=range(8)))
    node = Nodes((Node("one", cpus=8.0, gpus=1.0),))
    lots.fit_into(lambda placements: at_once(placements, node, 8))
    assert queue.at_once == 4
    lots.heard(lot := lots.take(None), [cramped(*lot.keys)])
    assert queue.at_once == 2


def test_a_larger_share_of_a_gpu_changes_nothing_else_of_what_is_set_aside(store):
    """A method may ask for CPUs by its settings, and for a GPU or none."""
    cells = product(Count.grid(), seed=range(3))
    queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=3), store))
    each = (QUARTER, Placement(cpus=4.0, gpus=0.25), ONE_CPU)
    node = Nodes((Node("one", cpus=8.0, gpus=1.0),))
    shares = dict(zip(queue.trials, each, strict=True))
    lots = Lots(queue, Heard(), store, 4, shares, lambda has: with_more_memory(has, node))
    first = lots.take(QUARTER)
    assert first.placement == QUARTER
    lots.heard(first, [cramped(*first.keys)])
    after = {lots.take(None).placement for _ in range(3)}
    assert after == {Placement(1.0, 0.5), Placement(4.0, 0.5), ONE_CPU}


def test_no_share_is_larger_than_any_node_has(on_a_gpu):
    lots, _, heard = on_a_gpu(product(Count.grid(), seed=range(1)), gpus=0.25)
    lots.heard(lot := lots.take(None), [cramped(*lot.keys)])
    assert [outcome.kind for outcome in heard.ends] == ["failed"]
