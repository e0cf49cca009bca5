"""One contract for every executor, on the real thing."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sample_methods import After, AfterAnything, Count, Faulty, Greedy, KillsItsWorker

from methods.networks import resnet8
from orchestrator import InputError, Sweep, digits, make_plan, product, union
from orchestrator.executors.by_name import NAMES, executor
from orchestrator.executors.site import Site
from orchestrator.planning.queue import Queue
from orchestrator.testing import fingerprint

TASK = digits.classes(0, 1, 2).images(limit=60)


class Heard:
    """A listener that writes everything down."""

    def __init__(self):
        self.starts, self.ends = [], []

    def started(self, trial):
        self.starts.append(trial.key)

    def ended(self, outcome):
        self.ends.append(outcome)

    def noted(self, text):
        pass


@pytest.fixture(params=[pytest.param(n, marks=pytest.mark.ray) if n == "ray" else n for n in NAMES])
def drain(request, store, tmp_path):
    """Runs cells to the end with one executor: (plan before, queue, listener)."""
    if request.param == "ray":
        request.getfixturevalue("local_ray")

    def run(cells, checkpoint_every=60.0):
        plan = make_plan("asked", Sweep(question="?", cells=cells, expect=len(cells)), store)
        queue, heard = Queue(plan), Heard()
        executor(request.param).run(
            queue, store, Site(tmp_path / "scratch", 2, checkpoint_every), heard
        )
        return plan, queue, heard

    return run


def test_every_trial_runs_once_after_its_needs(drain, store, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    plan, queue, heard = drain(
        product(Count.grid(depth=2, fan=2, folder=str(folder)), seed=range(2))
    )
    assert queue.is_finished
    names = [f.name.rsplit("-", 2)[0] for f in folder.iterdir()]
    assert Counter(names) == Counter(dict.fromkeys(names, 1))
    assert len(names) == len(plan.trials) == 12
    assert sorted(heard.starts) == sorted(o.key for o in heard.ends) == sorted(plan.trials)
    ended = [o.key for o in heard.ends]
    assert all(
        ended.index(n.key) < ended.index(k)
        for k, t in plan.trials.items()
        for n in t.needs.values()
    )
    assert [store.find(cell.trial.key)["metrics"][0]["value"] for cell in plan.cells] == [
        12.0,
        12.0,
    ]  # 1 + (1 + 1 + 2) + (2 + 2 + 3)


def test_an_exception_is_an_outcome_tried_once_and_blocks_only_what_needs_it(
    drain, store, tmp_path
):
    folder = tmp_path / "notes"
    folder.mkdir()
    bad = Faulty.grid(how="raise", folder=str(folder))
    on_digits = {"network": resnet8(width=4), "tasks": TASK, "seed": 0}
    _, queue, heard = drain(
        union(
            product(bad, **on_digits),
            product(After.grid(how="raise"), **on_digits),
            product(Count.grid(), seed=range(3)),
        )
    )
    kinds = Counter(o.kind for o in heard.ends)
    assert kinds == {"failed": 2, "done": 3}
    assert len(list(folder.iterdir())) == 1
    (failed, _) = [o for o in heard.ends if o.kind == "failed"]
    assert failed.reason == "ZeroDivisionError: something in epoch 2"
    assert "second_epoch" in failed.traceback
    assert store.failure(failed.key)["reason"] == failed.reason
    assert len(queue.blocked) == 1
    assert "'before'" in next(iter(queue.blocked.values()))


def test_outcomes_that_are_results_are_kept_with_their_reason(drain, store):
    on_digits = {"network": resnet8(width=4), "tasks": TASK, "seed": 0}
    plan, queue, heard = drain(
        product(
            union(Faulty.grid(how=["nan", "infeasible"]), AfterAnything.grid(how="nan")),
            **on_digits,
        )
    )
    records = [store.find(cell.trial.key) for cell in plan.cells]
    assert [(r["outcome"], r["reason"]) for r in records] == [
        ("diverged", "loss is not finite in epoch 1 of 3 of stage 'train'"),
        ("infeasible", "it cannot be"),
        ("done", ""),
    ]
    assert not queue.blocked
    assert all(o.is_result for o in heard.ends)


def test_an_undeclared_metric_fails_with_the_nearest_name(drain):
    _, _, heard = drain(
        product(Faulty.grid(how="undeclared"), network=resnet8(width=4), tasks=TASK, seed=0)
    )
    assert (
        "faulty declares no metric 'acuracy'. Valid: 'total'. Declare it in the class"
        in heard.ends[0].reason
    )


def test_a_failed_trial_is_tried_again_by_the_next_run(drain):
    cells = product(Faulty.grid(how="raise"), network=resnet8(width=4), tasks=TASK, seed=0)
    drain(cells)
    plan, _, heard = drain(cells)
    assert [o.kind for o in heard.ends] == ["failed"]
    assert list(plan.failures.values()) == ["ZeroDivisionError: something in epoch 2"]


def test_a_trial_that_asks_for_more_than_there_is_gets_what_there_is(drain, store):
    plan, queue, _ = drain(product(Greedy.grid(), seed=0))
    assert queue.is_finished
    assert (
        store.find(plan.cells[0].trial.key)["metrics"][0]["value"] == 64.0
    )  # threads are the trial's own affair: its bits depend on them


def test_a_finished_sweep_runs_nothing(drain):
    drain(product(Count.grid(), seed=range(2)))
    _, _, heard = drain(product(Count.grid(), seed=range(2)))
    assert heard.starts == []


@pytest.mark.ray
def test_all_executors_give_the_same_bits(local_ray, tmp_path):
    from methods.compatible_features import CompatibleFeatures
    from orchestrator import Store

    found = []
    for name in NAMES:
        place = Store(tmp_path / name)
        tasks = (TASK.named("a"), digits.classes(1, 2, 3).images(limit=60).named("b"))
        cells = product(
            CompatibleFeatures.grid(ingredients=("rotation", "common"), epochs=1),
            network=resnet8(width=4),
            tasks=tasks,
            seed=0,
        )
        plan = make_plan("asked", Sweep(question="?", cells=cells, expect=1), place)
        executor(name).run(Queue(plan), place, Site(tmp_path / f"scratch-{name}", 2), Heard())
        found.append(fingerprint(place.find(plan.cells[0].trial.key)))
    assert found[0] == found[1]


@pytest.mark.ray
@pytest.mark.faults
@pytest.mark.parametrize(("times", "kind", "tries"), [(1, "done", 2), (99, "lost", 3)])
def test_ray_retries_a_lost_worker_and_then_says_so(local_ray, store, tmp_path, times, kind, tries):
    folder = tmp_path / "notes"
    folder.mkdir()
    cells = union(
        product(KillsItsWorker.grid(folder=str(folder), times=times, nap=2.0), seed=0),
        product(Count.grid(), seed=range(2)),
    )
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=3), store)
    queue, heard = Queue(plan), Heard()
    executor("ray").run(queue, store, Site(tmp_path / "scratch", 2), heard)
    assert {o.key: o.kind for o in heard.ends}[plan.cells[0].trial.key] == kind
    assert Counter(o.kind for o in heard.ends)["done"] == (3 if kind == "done" else 2)
    assert len(list(folder.iterdir())) == tries
    if kind == "lost":
        (lost,) = [o for o in heard.ends if o.kind == kind]
        assert lost.reason.startswith("its worker went away 3 times: ")
        assert store.log(lost.key) == "about to go\n"


@pytest.mark.ray
@pytest.mark.faults
def test_a_gpu_that_stops_working_ends_the_process_and_not_the_others(local_ray, store, tmp_path):
    """As torch tells it; the trial is tried in a second process before it is blamed."""
    folder = tmp_path / "notes"
    folder.mkdir()
    cells = union(
        product(Faulty.grid(how="gpu", folder=str(folder)), network=resnet8(), tasks=TASK, seed=0),
        product(Count.grid(folder=str(folder)), seed=range(4)),
    )
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=5), store)
    queue, heard = Queue(plan), Heard()
    executor("ray").run(queue, store, Site(tmp_path / "scratch", 1), heard)
    assert Counter(o.kind for o in heard.ends) == {"done": 4, "failed": 1}
    (failed,) = [o for o in heard.ends if o.kind == "failed"]
    assert failed.reason == "AcceleratorError: CUDA error: device-side assert triggered"
    assert queue.unfit == {}
    assert sum(f.name.startswith("faulty-gpu") for f in folder.iterdir()) == 2


@pytest.mark.ray
def test_ray_keeps_its_workers_warm(local_ray, store, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    cells = product(Count.grid(folder=str(folder), number=[float(i) for i in range(10)]), seed=0)
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=10), store)
    executor("ray").run(Queue(plan), store, Site(tmp_path / "scratch", 2), Heard())
    processes = {f.name.rsplit("-", 1)[1] for f in folder.iterdir()}
    assert len(processes) <= 3
    assert str(os.getpid()) not in processes


@pytest.mark.ray
def test_two_slots_run_two_trials_at_once(local_ray, store, tmp_path):
    """Seen from inside: naps that overlap, by the workers' own clocks."""
    folder = tmp_path / "notes"
    folder.mkdir()
    cells = product(Count.grid(folder=str(folder), nap=2.0), seed=range(4))
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=4), store)
    queue, heard = Queue(plan), Heard()
    executor("ray").run(queue, store, Site(tmp_path / "scratch", 2), heard)
    begun = sorted(int(f.name.split("-")[-2]) for f in folder.iterdir())
    assert min(later - earlier for earlier, later in itertools.pairwise(begun)) < 2e9


def test_an_unknown_executor_is_named():
    with pytest.raises(InputError, match=r"no executor is called 'rai'. Did you mean 'ray'\?"):
        executor("rai")


def test_nothing_is_left_behind_in_scratch(drain, tmp_path):
    drain(product(Count.grid(), seed=range(2)), checkpoint_every=0)
    assert list(Path(tmp_path / "scratch").glob("*")) == []


@pytest.mark.ray
@pytest.mark.slow
def test_ray_works_where_the_interpreters_path_holds_a_space(sweep_file, tmp_path):
    """Ray gives the path to a shell unquoted; without our quoting no worker would start and the run
    would hang.
    """
    folder = tmp_path / "a b"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    here = next(p for p in sys.path if p.endswith("site-packages"))
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "everything.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    file = sweep_file("product(Count.grid(), seed=range(2))", 2)
    program = [
        str(folder / "bin/python"),
        "-m",
        "orchestrator.cli",
        "run",
        str(file),
        "--home",
        str(tmp_path / "home"),
        "--tracking",
        "none",
    ]
    ran = subprocess.run(program, capture_output=True, text=True, timeout=180, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 of 2 done" in ran.stdout
