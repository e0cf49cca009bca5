"""A sweep on several nodes: shared trainings run once, a node dies, nodes that would compute
something else are refused.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from listeners import Heard
from sample_methods import Count, Waits

from orchestrator import ExecutorError, Store, Sweep, make_plan, product, union
from orchestrator.executors.by_name import executor
from orchestrator.executors.site import Site
from orchestrator.planning.queue import Queue

pytestmark = [pytest.mark.ray, pytest.mark.cluster]
SAMPLES = Path(__file__).resolve().parents[1] / "samples"
ROOT = SAMPLES.parents[1]


def drain(sweep, store, tmp_path, slots=3):
    plan, heard = make_plan("asked", sweep, store), Heard()
    queue = Queue(plan)
    executor("ray").run(queue, store, Site(tmp_path / "scratch", slots), heard)
    return plan, queue, heard


def executed(folder):
    """How often each training was executed, counted by the workers."""
    return Counter(f.name.rsplit("-", 2)[0] for f in folder.iterdir())


def test_of_many_trials_with_shared_needs_each_is_executed_once(two_nodes, store, tmp_path):
    two_nodes()
    check_that_each_is_executed_once(store, tmp_path, seeds=5)


@pytest.mark.long
def test_of_more_trials_on_three_nodes_each_is_executed_once(raylets, store, tmp_path):
    raylets(3)
    check_that_each_is_executed_once(store, tmp_path, seeds=23)


def check_that_each_is_executed_once(store, tmp_path, seeds):
    folder = tmp_path / "notes"
    folder.mkdir()
    # 1 + 3 + 5 distinct trials a seed, 13 without sharing
    cells = product(Count.grid(depth=2, fan=3, folder=str(folder)), seed=range(seeds))
    plan, queue, heard = drain(Sweep(question="?", cells=cells, expect=seeds), store, tmp_path)
    assert queue.is_finished
    assert {o.kind for o in heard.ends} == {"done"}
    assert len(plan.trials) == len(heard.ends) == 9 * seeds
    counts = executed(folder)
    assert set(counts.values()) == {1}
    assert sum(counts.values()) == 9 * seeds
    assert plan.unshared() == 13 * seeds


@pytest.mark.faults
def test_a_node_that_dies_takes_no_trial_with_it(two_nodes, store, tmp_path):
    cluster, victim = two_nodes()
    folder = tmp_path / "notes"
    folder.mkdir()
    sweep = Sweep(
        question="?",
        cells=product(Count.grid(folder=str(folder), nap=1.0), seed=range(8)),
        expect=8,
    )
    killed = threading.Event()

    def kill():
        while len(list(folder.iterdir())) < 3:  # one each, and one a second time
            time.sleep(0.1)
        cluster.remove_node(victim, allow_graceful=False)
        killed.set()

    threading.Thread(target=kill, daemon=True).start()
    _, queue, heard = drain(sweep, store, tmp_path)
    assert killed.is_set()
    assert queue.is_finished
    assert Counter(o.kind for o in heard.ends) == {"done": 8}
    assert make_plan("asked", sweep, store).is_complete
    # What the dead node had begun was begun again elsewhere.
    assert sum(executed(folder).values()) >= 8


@pytest.mark.faults
def test_a_node_that_joins_late_with_other_code_costs_no_trial(
    raylets, store, tmp_path, monkeypatch
):
    other, folder = tmp_path / "other", tmp_path / "notes"
    shutil.copytree(SAMPLES, other)
    with open(other / "sample_methods.py", "a") as file:
        file.write("\nANOTHER_VERSION = True\n")
    folder.mkdir()
    monkeypatch.chdir(tmp_path)  # Ray's workers look into the driver's folder first
    cluster, _ = raylets(1)
    path = os.pathsep.join([str(other), os.environ["PYTHONPATH"]])
    # Both nodes have one to wait with, until the late one has had its say: else the other could be
    # through with everything before the late one is asked.
    go = tmp_path / "go"
    cells = union(
        product(Waits.grid(file=str(go)), seed=range(2)),
        product(Count.grid(folder=str(folder)), seed=range(2)),
    )
    heard, late = Heard(), []

    def started(trial):
        if trial.method.name == "waits" and not late:
            late.append(cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": path}))

    def noted(text):
        heard.notes.append(text)
        go.touch()

    heard.started, heard.noted = started, noted
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=4), store)
    queue = Queue(plan)
    executor("ray").run(queue, store, Site(tmp_path / "scratch", 2), heard)
    assert Counter(o.kind for o in heard.ends) == {"done": 4}
    assert set(executed(folder).values()) == {1}
    (why,) = queue.unfit.values()
    assert "has other code than the driver: sample_methods" in why
    assert [note[:21] for note in heard.notes] == ["no more work goes to "]


def test_what_no_node_can_hold_is_an_error_before_anything_starts(two_nodes, store, tmp_path):
    two_nodes()
    cells = product(Count.grid(), seed=0)
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=1), store)
    site = Site(tmp_path / "scratch", 2, cpus={"default": 2})
    heard = Heard()
    with pytest.raises(
        ExecutorError,
        match=r"\[cpus\] default = 2, for count: no node that could run it has as many; "
        r"the largest is \S+ \(1 CPU\)",
    ):
        executor("ray").run(Queue(plan), store, site, heard)
    assert heard.ends == []


def test_auto_without_a_cluster_is_an_error_at_once(no_ray):
    from orchestrator.executors.ray.cluster import join

    with pytest.raises(ExecutorError, match="no Ray cluster answers at 'auto'"):
        join("auto")


def test_a_store_that_another_node_does_not_see_is_refused_before_work_starts(
    raylets, tmp_path, monkeypatch
):
    """A path that means another folder on the other node: /proc/self/cwd, with nodes started in
    different places.
    """
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    monkeypatch.chdir(there)
    raylets(2)
    monkeypatch.chdir(here)
    store = Store("/proc/self/cwd/store")
    store.prepare()
    sweep = Sweep(question="?", cells=product(Count.grid(), seed=range(2)), expect=2)
    with pytest.raises(
        ExecutorError, match=r"the cluster cannot start work:(.|\n)*does not see the driver's store"
    ):
        drain(sweep, store, tmp_path)
    assert list(store.finished()) == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ("sample_methods.py", "sample_methods"),
        pytest.param(
            "orchestrator/training/fit.py", "orchestrator.training.fit", marks=pytest.mark.long
        ),
    ],
    ids=["method", "engine"],
)
def test_a_node_with_other_code_is_refused_before_work_starts(
    raylets, store, tmp_path, monkeypatch, changed, named
):
    other = tmp_path / "other"
    shutil.copytree(SAMPLES, other)
    shutil.copytree(ROOT / "orchestrator", other / "orchestrator")
    with open(other / changed, "a") as file:
        file.write("\nANOTHER_VERSION = True\n")
    monkeypatch.chdir(tmp_path)  # Ray's workers look into the driver's folder first
    raylets(2, environment={"PYTHONPATH": os.pathsep.join([str(other), os.environ["PYTHONPATH"]])})
    sweep = Sweep(question="?", cells=product(Count.grid(), seed=range(2)), expect=2)
    with pytest.raises(
        ExecutorError,
        match=rf"has other code of {named} \(from (.|\n)*install the same version on every node",
    ):
        drain(sweep, store, tmp_path)
    assert list(store.finished()) == []


def test_a_cluster_is_joined_by_its_address_and_looked_at_by_the_doctor(
    two_nodes, spolia, sweep_file, tmp_path
):
    cluster, _ = two_nodes(join=False)
    file = sweep_file("product(Count.grid(), seed=range(2))", 2)
    common = ("--home", tmp_path / "home", "--tracking", "none")
    code, out, err = spolia("run", file, *common, "--address", cluster.address)
    assert (code, "2 of 2 done" in out) == (0, True), err
    code, out, _ = spolia("doctor", *common, "--address", cluster.address)
    assert code == 0, out
    assert out.count("sees the store") == 2
