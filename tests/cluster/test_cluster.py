"""A sweep on several nodes: shared trainings run once, a node dies, nodes that would compute
something else are refused.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from listeners import Heard
from sample_methods import Count, Together, Waits

from orchestrator import ExecutorError, Store, Sweep, make_plan, product, union
from orchestrator.executors.by_name import executor
from orchestrator.executors.site import Site
from orchestrator.planning.queue import Queue

pytestmark = [pytest.mark.ray, pytest.mark.cluster]
SAMPLES = Path(__file__).resolve().parents[1] / "samples"
ROOT = SAMPLES.parents[1]


def drain(sweep, store, tmp_path, slots=2):
    plan, heard = make_plan("asked", sweep, store), Heard()
    queue = Queue(plan)
    executor("ray").run(queue, store, Site(tmp_path / "scratch", slots), heard)
    return plan, queue, heard


def executed(folder):
    """How often each training was executed, counted by the workers."""
    return Counter(f.name.rsplit("-", 2)[0] for f in folder.iterdir())


def is_alive(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.faults
def test_shared_needs_are_executed_once_and_a_node_that_dies_takes_no_trial_with_it(
    raylets, store, tmp_path, monkeypatch
):
    # A machine that goes away uses up no tries of workers.
    monkeypatch.setattr("orchestrator.planning.tries.WORKER_TRIES", 1)
    cluster, (victim,) = raylets(2)
    shared, go = tmp_path / "shared", tmp_path / "go"
    waiting = [tmp_path / "one", tmp_path / "other"]  # not of one lot, which one worker would get
    for folder in (shared, *waiting):
        folder.mkdir()
    # 1 + 3 + 5 distinct trials a seed, 13 without sharing; and two that have no end yet
    chains = product(Together.grid(depth=2, fan=3, folder=str(shared)), seed=range(2))
    endless = product(Waits.grid(file=str(go), folder=[str(one) for one in waiting]), seed=[0])
    sweep = Sweep(question="?", cells=union(chains, endless), expect=4)

    def kill():
        while not all(any(one.iterdir()) for one in waiting):  # on each node one
            time.sleep(0.1)
        workers = [int(note.name.rpartition("-")[2]) for one in waiting for note in one.iterdir()]
        cluster.remove_node(victim, allow_graceful=False)
        while all(map(is_alive, workers)):  # a worker outlives its node for a moment
            time.sleep(0.1)
        go.touch()

    threading.Thread(target=kill, daemon=True).start()
    plan, queue, heard = drain(sweep, store, tmp_path)
    assert (len(plan.trials), plan.unshared()) == (2 * 9 + 2, 2 * 13 + 2)
    # By both nodes at once, and still each once
    assert len({note.name.rpartition("-")[2] for note in shared.iterdir()}) >= 2
    counts = executed(shared)
    assert (set(counts.values()), sum(counts.values())) == ({1}, 2 * 9)
    assert queue.is_finished
    assert Counter(o.kind for o in heard.ends) == {"done": 20}
    assert make_plan("asked", sweep, store).is_complete
    # What the dead node had begun was begun again elsewhere, and nothing else.
    assert sorted(len(list(one.iterdir())) for one in waiting) == [1, 2]


@pytest.mark.long
def test_of_more_trials_on_three_nodes_each_is_executed_once(raylets, store, tmp_path):
    raylets(3)
    folder = tmp_path / "notes"
    folder.mkdir()
    cells = product(Count.grid(depth=2, fan=3, folder=str(folder)), seed=range(23))
    sweep = Sweep(question="?", cells=cells, expect=23)
    _, queue, heard = drain(sweep, store, tmp_path, slots=3)
    assert queue.is_finished
    assert Counter(o.kind for o in heard.ends) == {"done": 207}
    counts = executed(folder)
    assert (set(counts.values()), sum(counts.values())) == ({1}, 207)


@pytest.mark.faults
def test_a_node_with_other_code_costs_no_trial_where_it_joins_late_and_is_refused_later(
    raylets, store, tmp_path, monkeypatch
):
    """The next run is refused before work starts: for that, and for a store that the node does not
    see. It is at a path that means another folder there, /proc/self/cwd, with nodes started in
    different places.
    """
    other, there, folder = tmp_path / "other", tmp_path / "there", tmp_path / "notes"
    shutil.copytree(SAMPLES, other)
    with open(other / "sample_methods.py", "a") as file:
        file.write("\nANOTHER_VERSION = True\n")
    for made in (there, folder):
        made.mkdir()
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
            with contextlib.chdir(there):
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
    check_that_it_is_refused(tmp_path)


def check_that_it_is_refused(tmp_path):
    store = Store("/proc/self/cwd/elsewhere")
    store.prepare()
    sweep = Sweep(question="?", cells=product(Count.grid(), seed=range(2)), expect=2)
    with pytest.raises(ExecutorError, match=r"the cluster cannot start work:") as error:
        drain(sweep, store, tmp_path)
    _, *problems = str(error.value).splitlines()
    assert len(problems) == 2, problems
    assert "does not see the driver's store at " in problems[0]
    assert "has other code of sample_methods (from " in problems[1]
    assert problems[1].endswith("install the same version on every node")
    assert list(store.finished()) == []


def test_auto_without_a_cluster_is_an_error_at_once(no_ray):
    from orchestrator.executors.ray.cluster import join

    with pytest.raises(ExecutorError, match="no Ray cluster answers at 'auto'"):
        join("auto")


@pytest.mark.long
def test_a_node_with_another_engine_is_refused_before_work_starts(
    raylets, store, tmp_path, monkeypatch
):
    other = tmp_path / "other"
    shutil.copytree(SAMPLES, other)
    shutil.copytree(ROOT / "orchestrator", other / "orchestrator")
    with open(other / "orchestrator/training/fit.py", "a") as file:
        file.write("\nANOTHER_VERSION = True\n")
    monkeypatch.chdir(tmp_path)  # Ray's workers look into the driver's folder first
    raylets(2, environment={"PYTHONPATH": os.pathsep.join([str(other), os.environ["PYTHONPATH"]])})
    sweep = Sweep(question="?", cells=product(Count.grid(), seed=range(2)), expect=2)
    with pytest.raises(
        ExecutorError,
        match=r"has other code of orchestrator.training.fit \(from (.|\n)*install the same version "
        "on every node",
    ):
        drain(sweep, store, tmp_path)
    assert list(store.finished()) == []
