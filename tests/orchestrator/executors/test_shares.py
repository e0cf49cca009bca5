"""Shares of a GPU, from the memory that finished trials took; the records pretend to be of one."""

from __future__ import annotations

import json

import pytest

from methods.networks import resnet8
from orchestrator import (
    Method,
    Metric,
    Resources,
    Run,
    Sweep,
    Trial,
    axis,
    digits,
    make_plan,
    product,
)
from orchestrator.executors.shares import proposals, share_for, wanted, workload_of
from orchestrator.training import provenance as made_by
from orchestrator.training.execute import execute
from orchestrator.training.observation import PeakMemory

GIB = 2**30
GPU = 80 * GIB
QUICK = ("--executor", "inline", "--tracking", "none")


class OnGpu(Method):
    """Asks for a GPU, and computes nothing."""

    name = "on_gpu"
    metrics = (Metric("one"),)

    batch: int = axis(64)

    def resources(self, trial: Trial) -> Resources:
        return Resources(gpus=1.0)

    def train(self, run: Run) -> None:
        run.log(one=1.0)


class OnCpu(Method):
    """Asks for no GPU."""

    name = "on_cpu"
    uses = frozenset({"seed"})
    metrics = (Metric("one"),)

    def resources(self, trial: Trial) -> Resources:
        return Resources(gpus=0.0)

    def train(self, run: Run) -> None:
        run.log(one=1.0)


def cells(seeds, **axes):
    tasks = digits.classes(0, 1)
    return product(OnGpu.grid(**axes), network=resnet8(width=2), tasks=tasks, seed=range(seeds))


def plan_of(store, grid):
    return make_plan("asked", Sweep(question="?", cells=grid, expect=len(grid)), store)


def took(trial, store, peak, gpu_memory=GPU):
    """A trial's record, as if it had run on a GPU and taken so many bytes of it."""
    execute(trial, store, device="cpu")
    record = dict(store.find(trial.key))
    record["memory"] = {**record["memory"], "gpu": peak, "gpu_reserved": peak}
    record["provenance"] = {**record["provenance"], "gpu_memory": gpu_memory}
    return record


@pytest.mark.parametrize(
    ("peak", "memory", "share"),
    [
        (60 * GIB, GPU, 1.0),
        (30 * GIB, GPU, 0.5),  # with something to spare two fit, and no more
        (40 * GIB, GPU, 1.0),  # half of it, and nothing to spare
        (20 * GIB, GPU, 0.333),  # rounded down, so that three fit
        (1, GPU, 0.062),  # sixteen, however small
        (200 * GIB, GPU, 1.0),
    ],
)
def test_a_share_leaves_room_for_what_was_seen_and_something_to_spare(peak, memory, share):
    assert share_for(peak, memory) == share
    at_once = int(1 / share)
    assert at_once == 1 or at_once * peak < memory


def test_what_was_measured_is_told_by_method_network_and_batch(store):
    plan = plan_of(store, cells(2, batch=[32, 64]))
    small, large = [trial for trial in plan.trials.values() if trial.seed == 0]
    records = [took(small, store, 10 * GIB), took(large, store, 20 * GIB)]
    found = wanted(plan_of(store, cells(3, batch=[32, 64, 128])), records)
    rows = [(one.workload.batch, one.num_measured, one.share, one.num_todo) for one in found]
    assert rows == [("32", 1, 0.166, 2), ("64", 1, 0.333, 2), ("128", 0, None, 3)]
    assert found[0].workload.network == "resnet8(width=2)"
    # The site file knows methods only.
    assert proposals(found) == {"on_gpu": 0.333}


def test_results_of_other_sweeps_count_and_those_without_a_gpu_do_not(store):
    plan = plan_of(store, cells(2))
    first, second = plan.trials.values()
    execute(first, store)
    plain = dict(store.find(first.key))
    (one,) = wanted(
        plan_of(store, cells(9)), [plain, took(second, store, GIB, gpu_memory=24 * GIB)]
    )
    assert (one.num_measured, one.peak, one.gpu_memory) == (1, GIB, 24 * GIB)


def test_the_smallest_gpu_decides(store):
    plan = plan_of(store, cells(2))
    records = [
        took(trial, store, 9 * GIB, gpu_memory=memory)
        for trial, memory in zip(plan.trials.values(), (GPU, 24 * GIB), strict=True)
    ]
    (one,) = wanted(plan, records)
    assert (one.gpu_memory, one.share) == (24 * GIB, 0.5)


def test_methods_that_ask_for_no_gpu_are_not_in_it(store):
    assert wanted(plan_of(store, product(OnCpu.grid(), seed=0)), []) == []


def test_a_trial_and_its_record_are_of_one_workload(store):
    (trial,) = plan_of(store, cells(1)).trials.values()
    execute(trial, store)
    assert workload_of(store.find(trial.key)["trial"]) == workload_of(trial.to_json())


def test_the_command_prints_what_is_known_and_the_lines_to_paste(spolia, sweep_file, monkeypatch):
    cells_in_words = (
        "product(FineTune.grid(epochs=[1]), network=resnet8(width=2), "
        "tasks=digits.classes(0, 1), seed=range(2))"
    )
    file = sweep_file(cells_in_words, expect=2)
    code, out, err = spolia("plan", file, "--shares")
    assert code == 0, err
    assert "No trial like these has run on a GPU yet" in " ".join(out.split())
    # What a GPU would say.
    monkeypatch.setattr(PeakMemory, "read", lambda self: {"gpu_reserved": 30 * GIB})
    monkeypatch.setattr(made_by, "_gpu_memory", lambda device: {"gpu_memory": GPU})
    assert spolia("run", file, *QUICK, "--limit", "1")[0] == 0
    code, out, err = spolia("plan", file, "--shares")
    assert code == 0, err
    assert "[gpus]\nfine_tune = 0.5\n" in out
    assert "GPUs of 80.0 GiB or more" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    code, out, _ = spolia("plan", file, "--shares", "--json")
    assert json.loads(out)["gpus"] == {"fine_tune": 0.5}


def test_a_workload_names_the_images_of_all_of_its_tasks():
    """A trial of several sets takes what the largest images of them take, whichever comes first."""
    large = digits.resized(32)
    images = [
        workload_of(Trial(method=OnGpu(), network=resnet8(), tasks=tasks, seed=0).to_json()).images
        for tasks in ((digits,), (digits, large), (large, digits))
    ]
    assert images == ["digits", "32 pixels + digits", "32 pixels + digits"]
