"""What a worker refuses, whenever it joins; and what is told while a sweep runs."""

from __future__ import annotations

import errno
import io
import json
import os

import pytest
import torch
from rich.console import Console
from sample_methods import After, Count

from methods.networks import resnet8
from orchestrator import Store, StoreError, Sweep, digits, make_plan, product
from orchestrator.cli.progress import Progress
from orchestrator.executors import worker
from orchestrator.executors.assignment import Assignment
from orchestrator.executors.handshake import versions
from orchestrator.executors.placement import Placement
from orchestrator.executors.worker import TrialRunner
from orchestrator.planning.queue import Queue
from orchestrator.spec.naming import class_paths
from orchestrator.store.code import code_of
from orchestrator.training.attempts import Finished, Unfit, Worker
from orchestrator.training.outcome import Outcome

HERE = Worker("a node", "here, process 1")
ON_CPU = Placement(cpus=1.0, gpus=0.0)


@pytest.fixture
def assignment(store, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # a worker changes it
    plan = make_plan(
        "asked", Sweep(question="?", cells=product(Count.grid(), seed=0), expect=1), store
    )
    (trial,) = plan.todo
    store.leave_probe("here")
    return {
        "trials": {trial.key: json.dumps(trial.to_json())},
        "replaces": {},
        "code": {class_paths(trial): dict(code_of(trial).modules)},
        "store": store.address,
        "probe": "here",
        "scratch": str(tmp_path / "scratch"),
        "checkpoint_every": 60.0,
        "variables": {},
        "versions": versions(),
    }


def run(assignment, placement=ON_CPU):
    (key,) = assignment["trials"]
    return TrialRunner(Assignment(**assignment), HERE, placement).run(key)


def unfit(attempt):
    """Why a node is unfit that was given a trial."""
    assert isinstance(attempt, Unfit)
    assert (attempt.is_node, attempt.worker) == (True, HERE)
    return attempt.why


def test_a_worker_that_sees_the_store_and_has_the_sources_runs_the_trial(assignment):
    attempt = run(assignment)
    assert (type(attempt), attempt.outcome.kind, attempt.worker) == (Finished, "done", HERE)


def test_a_worker_that_joins_late_and_sees_another_store_runs_nothing(assignment, store, tmp_path):
    attempt = run({**assignment, "store": str(tmp_path / "another")})
    assert "does not see the driver's store" in unfit(attempt)
    assert store.failures() == set()


def test_a_worker_that_cannot_write_the_store_runs_nothing(assignment, monkeypatch):
    def full(self, name):
        raise StoreError("no rights on the bucket")

    monkeypatch.setattr(Store, "leave_probe", full)
    monkeypatch.setattr(worker, "AN_OUTAGE", 0.0)
    assert unfit(run(assignment)) == "no rights on the bucket"


def test_a_store_that_is_away_while_a_worker_starts_costs_no_node(assignment, monkeypatch):
    leave, tries = Store.leave_probe, []

    def away_at_first(self, name):
        tries.append(name)
        if len(tries) < 3:
            raise StoreError("no answer")
        return leave(self, name)

    monkeypatch.setattr(Store, "leave_probe", away_at_first)
    assert run(assignment).outcome.kind == "done"
    assert len(tries) == 3


@pytest.mark.parametrize("package", ["python", "torch", "torchvision", "spolia"])
def test_a_worker_that_joins_late_is_asked_for_its_versions(assignment, package):
    drivers = {**assignment["versions"], package: "0.1"}
    mine = assignment["versions"][package]
    assert unfit(run({**assignment, "versions": drivers})) == (
        f"{package} {mine}, the driver has 0.1; install the same version on every node"
    )


def test_a_worker_for_which_no_gpu_was_set_aside_sees_none(assignment):
    assert isinstance(run(assignment), Finished)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_a_worker_that_lacks_the_gpu_that_was_set_aside_computes_nothing_instead(
    assignment, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert unfit(run(assignment, Placement(1.0, 0.5))) == (
        "1 CPU and 0.5 GPUs are set aside and torch sees no GPU (CUDA_VISIBLE_DEVICES: 0)"
    )


def test_a_trial_is_told_of_its_share(assignment, monkeypatch):
    told = []

    def note(trial, store, **options):
        told.append((options["device"], options["gpus"]))
        return Outcome(trial.key, "failed")

    monkeypatch.setattr(worker, "execute", note)
    monkeypatch.setattr(worker, "problem_with_gpu", lambda share: "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    run(assignment, Placement(1.0, 0.5))
    assert told == [("cuda", 0.5)]


def test_a_lot_ends_where_its_worker_turns_out_unfit(assignment, tmp_path):
    (key,) = assignment["trials"]
    elsewhere = {**assignment, "store": str(tmp_path / "another")}
    assert len(TrialRunner(Assignment(**elsewhere), HERE, ON_CPU).run_lot([key, key, key])) == 1
    assert len(TrialRunner(Assignment(**assignment), HERE, ON_CPU).run_lot([key, key, key])) == 3


def test_a_worker_that_joins_late_with_other_sources_runs_nothing(assignment):
    ((paths, modules),) = assignment["code"].items()
    drivers = {**modules, "orchestrator.training.fit": "0" * 16}
    why = unfit(run({**assignment, "code": {paths: drivers}}))
    assert "has other code than the driver: orchestrator.training.fit; install" in why


def test_a_worker_that_lacks_the_method_says_so(assignment, monkeypatch):
    monkeypatch.setenv("SPOLIA_PACKAGES", "not_installed_here")
    (key,) = assignment["trials"]
    value = json.loads(assignment["trials"][key])
    value["method"]["path"] = "not_installed_here:Count"
    why = unfit(run({**assignment, "trials": {key: json.dumps(value)}}))
    assert "not_installed_here:Count cannot be imported" in why


def test_a_scratch_folder_that_this_node_cannot_have_is_replaced(assignment, tmp_path):
    (tmp_path / "file").write_text("in the way")
    elsewhere = {**assignment, "scratch": str(tmp_path / "file" / "scratch")}
    assert isinstance(run(elsewhere), Finished)


def test_a_disk_that_fills_up_fails_the_trial_with_a_reason_and_loses_nothing(
    spolia, sweep_file, tmp_path, monkeypatch
):
    file = sweep_file(
        "product(FineTune.grid(epochs=1), network=resnet8(width=4), tasks=digits.classes(0, "
        "1).images(limit=40), seed=range(2))",
        2,
    )
    quick = ("--executor", "inline", "--tracking", "none")
    assert spolia("run", file, *quick, "--limit", "1")[0] == 0
    real = os.fsync

    def full(descriptor):
        if "blobs" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = spolia("run", file, *quick)
    err = " ".join(err.split())
    assert (
        code,
        "No space left on device" in err,
        "Choose another folder with --store" in err,
    ) == (1, True, True), err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    code, out, err = spolia("run", file, *quick)
    assert (code, "1 of 1 done" in out) == (0, True), err


# ---------------------------------------------------------------------- what people see meanwhile


def progress_of(store, cells, expect):
    queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=expect), store))
    console = Console(record=True, width=80, force_terminal=False, file=io.StringIO())
    return Progress(console, queue, store), queue, console


def test_failures_are_counted_by_kind_and_the_first_of_a_kind_is_shown_whole(store):
    progress, queue, console = progress_of(store, product(Count.grid(), seed=range(4)), 4)
    with progress:
        for reason in ("ZeroDivisionError: a", "ZeroDivisionError: b", "KeyError: c"):
            trial = queue.take()
            outcome = Outcome(trial.key, "failed", 0.1, reason, f"Traceback of {reason}")
            queue.finish(outcome)
            progress.ended(outcome)
    console.file.close()
    text = console.export_text()
    assert (
        "Traceback of ZeroDivisionError: a" in text,
        "Traceback of ZeroDivisionError: b" in text,
        "Traceback of KeyError: c" in text,
    ) == (True, False, True)
    assert "failures: 2 ZeroDivisionError, 1 KeyError" in text


def test_what_waits_for_what_is_told(store):
    cells = product(
        After.grid(how="raise"),
        network=resnet8(width=4),
        tasks=digits.classes(0, 1).images(limit=40),
        seed=range(3),
    )
    progress, queue, console = progress_of(store, cells, 3)
    assert queue.take() is not None
    assert progress._what_waits() == ["3 after wait for faulty"]
    console.file.close()
