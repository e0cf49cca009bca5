"""Whose fault an exception is, and what follows for a trial in the process where it happened."""

from __future__ import annotations

import errno

import pytest
import torch
from sample_methods import Count

from orchestrator import (
    CorruptError,
    DataError,
    Session,
    Store,
    StoreError,
    Sweep,
    Trial,
    product,
)
from orchestrator.errors import MissingDataError
from orchestrator.training import execute as execution
from orchestrator.training.execute import execute
from orchestrator.training.faults import fault_of

TRIAL = Trial(method=Count(), seed=0)


def caused(error, by):
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ZeroDivisionError("division by zero"), "trial"),
        (FileNotFoundError(errno.ENOENT, "no such file"), "trial"),
        (DataError("no such set"), "trial"),
        (CorruptError("altered"), "trial"),
        (torch.OutOfMemoryError("CUDA out of memory"), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "memory"),
        (torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might"), "memory"),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
            "memory",
        ),
        (ValueError("what says CUDA error: out of memory"), "trial"),
        (RuntimeError("shapes cannot be multiplied"), "trial"),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), "worker"),
        (RuntimeError("CUDA error: an illegal memory access"), "worker"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "worker"),
        (OSError(errno.ENOSPC, "No space left on device"), "node"),
        (StoreError("the store cannot be written"), "node"),
        (caused(ValueError("cannot save"), OSError(errno.EROFS, "read-only")), "node"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_whose_fault_an_exception_is(error, fault):
    assert fault_of(error) == fault


def test_a_node_without_the_data_folder_is_at_fault_and_a_set_that_is_missing_in_it_is_not(
    tmp_path, monkeypatch
):
    """A node that fails each trial in a moment would fail them all."""
    missing = MissingDataError("there is no folder birds")
    monkeypatch.delenv("SPOLIA_DATA", raising=False)
    assert fault_of(missing) == "data"
    monkeypatch.setenv("SPOLIA_DATA", str(tmp_path))
    assert fault_of(missing) == "data"  # perhaps the set is on other machines
    monkeypatch.setenv("SPOLIA_DATA", str(tmp_path / "not mounted"))
    assert fault_of(missing) == "node"
    assert fault_of(DataError("altered")) == "trial"


def test_a_store_that_is_away_for_a_moment_costs_no_training(store, monkeypatch):
    commit, tries = Store.commit, []

    def away_at_first(self, record, **options):
        tries.append(record["key"])
        if len(tries) < 3:
            raise StoreError("no answer")
        return commit(self, record, **options)

    monkeypatch.setattr(Store, "commit", away_at_first)
    assert execute(TRIAL, store).kind == "done"
    assert len(tries) == 3
    assert store.find(TRIAL.key)["outcome"] == "done"


def test_a_store_that_is_away_for_a_moment_before_a_trial_costs_no_node(store, monkeypatch):
    find, tries = Store.find, []

    def away_at_first(self, key):
        tries.append(key)
        if len(tries) < 3:
            raise StoreError("no answer")
        return find(self, key)

    monkeypatch.setattr(Store, "find", away_at_first)
    assert execute(TRIAL, store).kind == "done"


def test_a_trial_whose_result_is_committed_has_it_whatever_the_store_says_then(store, monkeypatch):
    def away(self, key):
        raise StoreError("no answer")

    monkeypatch.setattr(Store, "forget_failure", away)
    assert execute(TRIAL, store).kind == "done"


@pytest.mark.parametrize("executor", ["none", "inline"])
def test_what_ran_out_of_gpu_memory_has_failed_once_it_is_given_up(
    store, monkeypatch, tmp_path, executor
):
    """Until then it waits for a larger share, and nobody is to read that it failed."""

    def train(self, run):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Count, "train", train)
    if executor == "none":
        assert execute(TRIAL, store).fault == "memory"
        assert store.failures() == set()
        return
    sweep = Sweep(question="?", cells=product(Count.grid(), seed=0), expect=1)
    session = Session(sweep, name="asked", home=tmp_path, store=store, tracking="none")
    (problem,) = session.run(executor=executor).problems
    assert problem.reason == "OutOfMemoryError: CUDA out of memory"
    assert "in train" in store.failure(TRIAL.key)["traceback"]


def test_a_store_that_stays_away_is_the_nodes_fault_and_no_failure_of_the_trial(store, monkeypatch):
    def away(self, record, **options):
        raise StoreError("no answer")

    monkeypatch.setattr(execution, "TRY_FOR", (0.0, 0.0))
    monkeypatch.setattr(Store, "commit", away)
    outcome = execute(TRIAL, store)
    assert (outcome.kind, outcome.fault, outcome.reason) == (
        "failed",
        "node",
        "StoreError: no answer",
    )
    assert store.failures() == set()


def test_a_record_that_was_altered_is_not_committed_again_and_again(store, monkeypatch):
    tries = []

    def corrupt(self, record, **options):
        tries.append(1)
        raise CorruptError("altered")

    monkeypatch.setattr(Store, "commit", corrupt)
    assert execute(TRIAL, store).fault == "trial"
    assert len(tries) == 1
