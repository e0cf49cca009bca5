"""The driver's side of Ray, with pools that are none of Ray's."""

from __future__ import annotations

import contextlib
import json

import pytest
from listeners import Heard
from sample_methods import Count

from orchestrator import ExecutorError, Store, Sweep, Trial, make_plan, product
from orchestrator.executors.lots import Lots
from orchestrator.executors.placement import Node, Nodes, Placement
from orchestrator.executors.pool import PoolEnded
from orchestrator.executors.ray import driver, process
from orchestrator.executors.site import Site
from orchestrator.planning.queue import Queue
from orchestrator.training.attempts import Finished, Unfit, Worker
from orchestrator.training.execute import execute

HERE = Nodes((Node("here", 2.0, 0.0),))


class Pretended:
    """A pool that runs so many lots, and then ends with another one out."""

    def __init__(self, lives, there):
        self._lives, self._there = lives, there

    def nodes(self):
        return self._there

    def greetings(self, store, probe, classes, variables):
        return [driver.greet(store, probe, classes, {})]

    def drain(self, lots, assignment, slots):
        for _ in range(next(self._lives)):
            if (lot := lots.take(None)) is None:
                return
            trials = [json.loads(assignment.trials[key]) for key in lot.keys]
            outcomes = [execute(Trial.from_json(t), Store(assignment.store)) for t in trials]
            lots.heard(lot, [Finished(outcome) for outcome in outcomes])
        lots.take(None)
        raise PoolEnded("its raylet died")


@pytest.fixture
def run(store, tmp_path, monkeypatch):
    """`run(lives, seeds)`: (queue, listener, error) of trials on pools that live so long."""

    def start(lives, seeds=4, there=HERE, **said):
        pools = iter(lives)
        monkeypatch.setattr(
            driver, "_pool", lambda *_: contextlib.nullcontext(Pretended(pools, there))
        )
        cells = product(Count.grid(), seed=range(seeds))
        queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=seeds), store))
        heard, error = Heard(), None
        try:
            driver.RayTune().run(queue, store, Site(tmp_path / "scratch", **said), heard)
        except ExecutorError as raised:
            error = str(raised)
        return queue, heard, error

    return start


def test_a_private_ray_that_dies_is_started_again_and_nothing_runs_twice(run, tmp_path):
    queue, heard, error = run([1, 0, 0, 9])
    assert error is None
    assert sorted(outcome.key for outcome in heard.ends) == sorted(queue.trials)
    said = "Ray is gone (its raylet died) and is started again. What Ray says of it is in "
    assert heard.notes == [f"{said}{tmp_path}/ray.log"] * 3


def test_it_is_started_again_three_times_and_then_the_run_ends_with_the_reason(run, tmp_path):
    queue, heard, error = run([1, 0, 0, 0])
    assert (len(heard.notes), len(heard.ends), len(queue.running)) == (3, 1, 0)
    assert error == (
        "Ray is gone for the 4th time in this run (its raylet died), so it ends here; 3 trials "
        f"have not run. What Ray says of it is in {tmp_path}/ray.log. What is done is kept; the "
        "same command goes on from here"
    )


def test_a_cluster_is_not_started_again(run):
    _, heard, error = run([1], address="auto")
    assert heard.notes == []
    assert error.startswith("the Ray cluster at auto is gone (its raylet died), so it ends here; 3")


def test_a_ray_that_dies_when_all_is_done_costs_nothing(run):
    _, heard, error = run([4])
    assert (error, heard.notes, len(heard.ends)) == (None, [], 4)


def test_a_run_that_ends_early_leaves_tables_and_says_why(
    spolia, sweep_file, tmp_path, monkeypatch
):
    pools = iter([1, 0, 0, 0])
    monkeypatch.setattr(driver, "_pool", lambda *_: contextlib.nullcontext(Pretended(pools, HERE)))
    file = sweep_file("product(Count.grid(), seed=range(4))", 4)
    code, out, err = spolia("run", file, "--home", tmp_path / "home", "--tracking", "none")
    assert code == 1
    assert "error: Ray is gone for the 4th time in this run (its raylet died)" in err
    assert "metrics.parquet" in out


@pytest.mark.parametrize(
    ("there", "said", "expected"),
    [
        (HERE, {"slots": 5}, 2),
        (HERE, {}, 2),
        (Nodes((Node("a", 8.0, 0.0), Node("b", 4.0, 0.0))), {"address": "auto"}, 12),
        (Nodes((Node("a", 8.0, 0.0),)), {"address": "auto", "slots": 3}, 3),
        # A cluster that starts its nodes when they are asked for
        (Nodes((Node("head", 0.0, 0.0), Node("fast", 4.0, 1.0, up=0))), {"slots": 16}, 16),
    ],
)
def test_it_is_known_how_many_run_at_once(run, there, said, expected):
    said = {"address": "auto", **said} if len(there.known) > 1 else said
    queue, _, error = run([9], there=there, **said)
    assert (error, queue.at_once) == (None, expected)


def test_rays_log_begins_anew_where_it_is_long(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "LARGEST_LOG", 10)
    log = tmp_path / "home" / "ray.log"
    assert process._begun(log) == log
    log.write_text("short")
    assert process._begun(log).read_text() == "short"
    for words in ("the longer one", "another long one"):
        log.write_text(words)
        process._begun(log)
        assert not log.exists()
        assert log.with_name("ray.log.1").read_text() == words


@pytest.mark.process  # imports Ray
def test_where_the_only_gpu_is_unfit_nodes_without_one_are_no_others(monkeypatch, store):
    """What wants a GPU would wait for ever."""
    from orchestrator.executors.ray import nodes

    there = {"with": {"CPU": 8.0, "GPU": 1.0}, "without": {"CPU": 8.0}, "head": {}}
    said = [
        {"NodeID": name, "NodeManagerHostname": name, "Resources": resources}
        for name, resources in there.items()
    ]
    monkeypatch.setattr(nodes, "alive", lambda: said)
    on_gpu = Placement(cpus=1.0, gpus=0.5)
    assert nodes.ids(on_gpu) == ["with"]
    assert nodes.ids(Placement(cpus=1.0, gpus=0.0)) == ["with", "without"]
    sweep = Sweep(question="?", cells=product(Count.grid(), seed=range(2)), expect=2)
    queue = Queue(make_plan("asked", sweep, store))
    lots = Lots(queue, Heard(), store, 1, dict.fromkeys(queue.trials, on_gpu))
    lot = lots.take(None)
    unfit = Unfit(lot.keys[0], "its GPU cannot compute", True, Worker("with", "with, process 1"))
    lots.heard(lot, [unfit], nodes.ids(lot.placement))
    assert queue.stopped == "its GPU cannot compute"


def machine(cpus, gpus, up=1):
    return Node("one", float(cpus), float(gpus), up)


@pytest.mark.parametrize(
    ("nodes", "device", "may_grow"),
    [
        ([machine(0, 0)], "auto", True),  # a head that starts workers when they are asked for
        ([machine(8, 0)], "auto", False),
        ([machine(8, 0)], "gpu", True),  # GPUs come when they are asked for
        ([machine(8, 1)], "gpu", False),  # what none of them holds is told before the start
        ([machine(8, 0), machine(8, 4, up=0)], "gpu", False),  # a kind that the cluster starts
        ([machine(0, 0), machine(8, 4, up=0)], "auto", False),
    ],
)
def test_a_cluster_is_taken_at_its_word_where_it_has_what_is_asked_for(
    tmp_path, nodes, device, may_grow
):
    site = Site(tmp_path / "scratch", address="auto", device=device)
    assert driver._usable(Nodes(nodes), site).may_grow is may_grow
