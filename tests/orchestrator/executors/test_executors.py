"""One contract for every executor, on the real thing."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter

import pytest
from sample_methods import After, AfterAnything, Count, Faulty, Greedy, KillsItsWorker

from methods.networks import resnet8
from orchestrator import ExecutorError, InputError, Store, Sweep, digits, make_plan, product, union
from orchestrator.executors.by_name import NAMES, executor
from orchestrator.executors.site import Site
from orchestrator.planning.queue import Queue
from orchestrator.testing import fingerprint

TASK = digits.classes(0, 1, 2).images(limit=60)


class Heard:
    """A listener that writes everything down."""

    def __init__(self):
        self.starts, self.ends = [], []

    def preparing(self, what):
        pass

    def started(self, trial):
        self.starts.append(trial.key)

    def ended(self, outcome):
        self.ends.append(outcome)

    def noted(self, text):
        pass


def drained(name, cells, store, scratch, checkpoint_every=60.0, slots=2):
    """Cells run to the end with one executor: (plan before, queue, listener)."""
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=len(cells)), store)
    queue, heard = Queue(plan), Heard()
    executor(name).run(queue, store, Site(scratch, slots, checkpoint_every), heard)
    return plan, queue, heard


def trained():
    """A cell with trainings in it, one of which needs others."""
    from methods.compatible_features import CompatibleFeatures

    tasks = (TASK.named("a"), digits.classes(1, 2, 3).images(limit=60).named("b"))
    return product(
        CompatibleFeatures.grid(ingredients=("rotation", "common"), epochs=1),
        network=resnet8(width=4),
        tasks=tasks,
        seed=0,
    )


class Drained:
    """A sweep of every kind of trial that was run twice by one executor: a worker of Ray takes
    seconds to start, so the facts below are read from two runs.
    """

    def __init__(self, name, folder):
        self.name, self.scratch = name, folder / "scratch"
        self.store = Store(folder / "store")
        self.store.prepare()
        self.notes = {}
        for what in ("counted", "raised", "napped"):
            self.notes[what] = folder / what
            self.notes[what].mkdir()
        on_digits = {"network": resnet8(width=4), "tasks": TASK, "seed": 0}
        raising = Faulty.grid(how="raise", folder=str(self.notes["raised"]))
        nap = 2.0 if name == "ray" else 0.0
        self.cells = {
            "count": product(
                Count.grid(depth=2, fan=2, folder=str(self.notes["counted"])), seed=range(2)
            ),
            "raise": product(raising, **on_digits),
            "after": product(After.grid(how="raise"), **on_digits),
            "ends": product(
                union(Faulty.grid(how=["nan", "infeasible"]), AfterAnything.grid(how="nan")),
                **on_digits,
            ),
            "undeclared": product(Faulty.grid(how="undeclared"), **on_digits),
            "nap": product(
                Count.grid(number=9.0, folder=str(self.notes["napped"]), nap=nap), seed=range(4)
            ),
        }
        if name == "ray":
            self.cells["trained"] = trained()
        everything = union(*self.cells.values())
        self.plan, self.queue, self.heard = drained(
            name, everything, self.store, self.scratch, checkpoint_every=0
        )
        self.raised = len(list(self.notes["raised"].iterdir()))
        self.left = list(self.scratch.glob("*"))
        # A worker for so much is another one, so it waits until those of the first run are gone.
        greedy = product(Greedy.grid(), seed=0)
        self.next_plan, _, self.next_heard = drained(
            name, union(everything, greedy), self.store, self.scratch, slots=1
        )
        self.greedy = self.next_plan.cells[-1].trial.key

    def keys(self, what):
        """Keys of the cells of one kind."""
        begin = 0
        for name, cells in self.cells.items():
            if name == what:
                chosen = self.plan.cells[begin : begin + len(cells)]
                return [cell.trial.key for cell in chosen]
            begin += len(cells)
        raise KeyError(what)

    def outcomes(self, what):
        keys = set(self.keys(what))
        return [outcome for outcome in self.heard.ends if outcome.key in keys]


ON_RAY = pytest.param("ray", marks=pytest.mark.ray)
on_ray = pytest.mark.parametrize("ran", [ON_RAY], indirect=True)


@pytest.fixture(scope="module", params=[ON_RAY if name == "ray" else name for name in NAMES])
def ran(request, tmp_path_factory):
    if request.param == "ray":
        request.getfixturevalue("start_ray")()
    return Drained(request.param, tmp_path_factory.mktemp(request.param))


def test_every_trial_runs_once_after_its_needs(ran):
    assert ran.queue.is_finished
    names = [f.name.rsplit("-", 2)[0] for f in ran.notes["counted"].iterdir()]
    assert Counter(names) == Counter(dict.fromkeys(names, 1))
    keys = ran.keys("count")
    counted = {k for key in keys for k in (key, *needs_of(ran.plan.trials[key]))}
    assert len(names) == len(counted) == 12
    ended = [o.key for o in ran.heard.ends]
    assert sorted(ran.heard.starts) == sorted(ended)
    assert sorted(ended) == sorted(set(ran.plan.trials) - set(ran.keys("after")))
    assert all(
        ended.index(n.key) < ended.index(k)
        for k, t in ran.plan.trials.items()
        for n in t.needs.values()
        if k in ended
    )
    assert [ran.store.find(key)["metrics"][0]["value"] for key in keys] == [
        12.0,
        12.0,
    ]  # 1 + (1 + 1 + 2) + (2 + 2 + 3)


def needs_of(trial):
    """Keys of all that a trial needs, however far behind it."""
    for need in trial.needs.values():
        yield need.key
        yield from needs_of(need)


def test_an_exception_is_an_outcome_tried_once_and_blocks_only_what_needs_it(ran):
    (raised,) = ran.outcomes("raise")
    assert (raised.kind, ran.raised) == ("failed", 1)
    assert raised.reason == "ZeroDivisionError: something in epoch 2"
    assert "second_epoch" in raised.traceback
    assert ran.store.failure(raised.key)["reason"] == raised.reason
    (after,) = ran.keys("after")
    assert list(ran.queue.blocked) == [after]
    assert "'before'" in ran.queue.blocked[after]
    assert {o.kind for o in ran.outcomes("count")} == {"done"}


def test_outcomes_that_are_results_are_kept_with_their_reason(ran):
    records = [ran.store.find(key) for key in ran.keys("ends")]
    assert [(r["outcome"], r["reason"]) for r in records] == [
        ("diverged", "loss is not finite in epoch 1 of 3 of stage 'train'"),
        ("infeasible", "it cannot be"),
        ("done", ""),
    ]
    assert not set(ran.keys("ends")) & set(ran.queue.blocked)
    assert all(o.is_result for o in ran.outcomes("ends"))


def test_an_undeclared_metric_fails_with_the_nearest_name(ran):
    (outcome,) = ran.outcomes("undeclared")
    assert (
        "faulty declares no metric 'acuracy'. Valid: 'total'. Declare it in the class"
        in outcome.reason
    )


def test_the_next_run_tries_again_what_failed_and_nothing_that_is_done(ran):
    failed = {o.key for o in ran.heard.ends if o.kind == "failed"}
    assert len(failed) == 3  # raised, its like before another trial, undeclared
    ends = {o.key: o.kind for o in ran.next_heard.ends}
    assert ends == {ran.greedy: "done"} | dict.fromkeys(failed, "failed")
    assert sorted(ran.next_heard.starts) == sorted(ends)
    assert set(ran.next_plan.failures.values()) == {
        "ZeroDivisionError: something in epoch 2",
        ran.outcomes("undeclared")[0].reason,
    }


def test_a_trial_that_asks_for_more_than_there_is_gets_what_there_is(ran):
    # threads are the trial's own affair: its bits depend on them
    assert ran.store.find(ran.greedy)["metrics"][0]["value"] == 64.0


def test_nothing_is_left_behind_in_scratch_but_of_what_failed(ran):
    failed = {o.key for o in ran.heard.ends if o.kind == "failed"}
    assert {path.name for path in ran.left} == failed


@on_ray
def test_ray_keeps_its_workers_warm(ran):
    notes = [f.name for folder in ran.notes.values() for f in folder.iterdir()]
    processes = {name.rsplit("-", 1)[1] for name in notes}
    assert len(notes) > 16
    assert len(processes) <= 3
    assert str(os.getpid()) not in processes


@on_ray
def test_two_slots_run_two_trials_at_once(ran):
    """Seen from inside: naps that overlap, by the workers' own clocks."""
    begun = sorted(int(f.name.split("-")[-2]) for f in ran.notes["napped"].iterdir())
    assert min(later - earlier for earlier, later in itertools.pairwise(begun)) < 2e9


@on_ray
def test_all_executors_give_the_same_bits(ran, store, tmp_path):
    (key,) = ran.keys("trained")
    drained("inline", trained(), store, tmp_path / "scratch")
    assert fingerprint(store.find(key)) == fingerprint(ran.store.find(key))


@pytest.mark.ray
@pytest.mark.faults
def test_ray_retries_a_lost_worker_and_one_whose_gpu_stops_working_and_then_says_so(
    local_ray, store, tmp_path
):
    """The GPU as torch tells it: the process ends, and the trial is tried in a second one before it
    is blamed. What comes behind goes on, in one worker after another; the last is lost for good,
    and none is started after it.
    """
    folders = {what: tmp_path / str(what) for what in ("count", "gpu", 1, 99)}
    for folder in folders.values():
        folder.mkdir()
    logs = str(tmp_path / "store/logs")
    once, always = (
        product(KillsItsWorker.grid(folder=str(folders[times]), times=times, logs=logs), seed=0)
        for times in (1, 99)
    )
    on_gpu = Faulty.grid(how="gpu", folder=str(folders["gpu"]))
    counts = product(Count.grid(folder=str(folders["count"])), seed=range(2))
    cells = union(counts, product(on_gpu, network=resnet8(), tasks=TASK, seed=0), once, always)
    plan, queue, heard = drained("ray", cells, store, tmp_path / "scratch", slots=1)
    on_gpu, once, always = (cell.trial.key for cell in plan.cells[2:])
    ends = {o.key: o for o in heard.ends}
    assert [o.kind for o in heard.ends] == ["done", "done", "failed", "done", "lost"]
    assert (ends[on_gpu].kind, ends[once].kind, ends[always].kind) == ("failed", "done", "lost")
    assert [len(list(folder.iterdir())) for folder in folders.values()] == [2, 2, 2, 3]
    assert ends[always].reason.startswith("its worker went away 3 times: ")
    assert store.log(always) == "about to go, try 3 of 99\n"
    assert ends[on_gpu].reason == "AcceleratorError: CUDA error: device-side assert triggered"
    assert queue.unfit == {}


@pytest.mark.ray
def test_what_no_node_can_hold_is_an_error_before_anything_starts(local_ray, store, tmp_path):
    cells = product(Count.grid(), seed=0)
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=1), store)
    heard = Heard()
    with pytest.raises(
        ExecutorError,
        match=r"\[cpus\] default = 99, for count: no node that could run it has as many; "
        r"the largest is \S+ \(\d+ CPUs?\)",
    ):
        executor("ray").run(
            Queue(plan), store, Site(tmp_path / "scratch", 2, cpus={"default": 99}), heard
        )
    assert (heard.starts, heard.ends) == ([], [])


def test_an_unknown_executor_is_named():
    with pytest.raises(InputError, match=r"no executor is called 'rai'. Did you mean 'ray'\?"):
        executor("rai")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
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


NODE_DIED = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: LotRunner\n"
    "The actor died because its node has died. Node Id: 1f"
)
KILLED = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: LotRunner\n"
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR"
)


@pytest.mark.ray
def test_a_machine_that_went_away_is_told_from_a_worker_that_died():
    from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError

    from orchestrator.executors.ray.tune_pool import _what_ray_says

    cut_off = ActorUnavailableError("no route to it", b"1" * 16)
    said = [_what_ray_says(RayActorError(error_msg=text)) for text in (NODE_DIED, KILLED)]
    assert said == [
        ("The actor died because its node has died. Node Id: 1f", True),
        (
            "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR",
            False,
        ),
    ]
    assert _what_ray_says(cut_off)[1]
    assert not _what_ray_says(ActorDiedError())[1]
