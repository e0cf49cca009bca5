"""`execute`: the one function that a worker calls. A trial goes in, an outcome comes out, and what
is done is in the store before anybody hears.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import tenacity
import torch

from orchestrator.data.batches import one_trial
from orchestrator.errors import (
    CorruptError,
    Diverged,
    Infeasible,
    MethodError,
    PlanError,
    StoreError,
)
from orchestrator.parts.result import Result
from orchestrator.spec.canonical import digest
from orchestrator.spec.trial import Trial, needs_first
from orchestrator.store.code import code_of
from orchestrator.store.meaning import marks_of_another
from orchestrator.store.patience import AN_OUTAGE, asking_again
from orchestrator.store.store import Store, record_digest
from orchestrator.training.arithmetic import arithmetic, default_device
from orchestrator.training.checkpoints import Checkpoints
from orchestrator.training.copies import Copies
from orchestrator.training.faults import fault_of
from orchestrator.training.observation import (
    LONGEST_LOG,
    PeakMemory,
    Reporter,
    leaving_log,
    printed,
)
from orchestrator.training.outcome import Outcome, failure_record
from orchestrator.training.record import Ending, trial_record
from orchestrator.training.run import Run
from orchestrator.training.stage import OnEpoch

# Seconds for which the store is asked again, before a trial and for its commit: at least, at most.
TRY_FOR = (AN_OUTAGE, 600.0)


def execute(
    trial: Trial,
    store: Store,
    *,
    replaces: str = "",
    scratch: Path | None = None,
    device: str | None = None,
    gpus: float = 1.0,
    threads: int | None = None,
    checkpoint_every: float = 60.0,
    on_epoch: OnEpoch | None = None,
    is_abandoned: Callable[[], bool] = lambda: False,
    raise_errors: bool = False,
) -> Outcome:
    """Run a trial whose needs are done, and commit its result.

    A trial that has a result is not run: somebody else was faster. `replaces` is the digest of a
    record that does not count as one; the new result takes its place when it is committed.

    Checkpoints lie in a folder of the trial's below `scratch`, one every `checkpoint_every`
    seconds; of a trial that takes minutes, copies lie in the store, so that another machine can go
    on. `gpus` is the share of a GPU that the trial has. `threads` are torch's for this trial
    (default: what the method asks for), so that a laptop and a cluster compute the same bits.
    Exceptions of the method become the outcome `failed` (unless `raise_errors`, for a debugger);
    Ctrl-C and the like pass through. What the trial prints is kept. Raises Abandoned, behind a
    checkpoint, at the end of an epoch where `is_abandoned`.
    """
    began = time.time()
    folder = scratch / trial.key if scratch else None
    keeping_log: contextlib.AbstractContextManager[list[str]] = printed()
    if raise_errors:
        keeping_log = contextlib.nullcontext([])
    with keeping_log as lines, leaving_log(lines, trial.key, store), one_trial(gpus):
        try:
            outcome = _train_and_commit(
                trial,
                store,
                replaces=replaces,
                checkpoints=_checkpoints(trial, store, folder, checkpoint_every, is_abandoned),
                device=device,
                threads=threads,
                on_epoch=on_epoch,
            )
        # Not BaseException: Ctrl-C and the end of the process are no fault of the method.
        except Exception as error:
            if raise_errors:
                raise
            outcome = _failed(trial, error, time.time() - began)
    _leave_traces(trial, store, outcome, "".join(lines))
    return outcome


def _failed(trial: Trial, error: Exception, seconds: float) -> Outcome:
    """The outcome of a trial that ended with the exception that is being handled."""
    return Outcome(
        trial.key,
        "failed",
        seconds=seconds,
        reason=f"{type(error).__name__}: {error}",
        traceback=traceback.format_exc(),
        fault=fault_of(error),
    )


def _train_and_commit(
    trial: Trial,
    store: Store,
    *,
    replaces: str,
    checkpoints: Checkpoints,
    device: str | None,
    threads: int | None,
    on_epoch: OnEpoch | None,
) -> Outcome:
    found = _patiently(0.0)(finished_by_others, trial, store, replaces)
    if found is not None:
        return found
    hint = trial.method.resources(trial)
    reporter = Reporter(trial.key, store, began=checkpoints.began, on_epoch=on_epoch)
    try:
        torch_device = torch.device(device or (default_device() if hint.gpus else "cpu"))
        with arithmetic(threads or hint.cpus, trial.numerics, torch_device):
            memory = PeakMemory(torch_device)
            run = Run(
                trial,
                _patiently(0.0)(needs_of, trial, store),
                checkpoints=checkpoints,
                device=torch_device,
                on_epoch=reporter,
            )
            ending = _train(run)
        is_first, seconds = _commit(run, store, ending, checkpoints, memory, replaces)
    finally:
        reporter.close()
    # It has a result, whatever the store says to what was left of earlier tries.
    with contextlib.suppress(StoreError):
        store.forget_failure(trial.key)
    # Only now: until the record stands, checkpoints are all that there is of this trial.
    checkpoints.clear()
    # Somebody else was faster while we trained: theirs stands, and is what is told.
    found = None if is_first else finished_by_others(trial, store, replaces)
    return found or Outcome(trial.key, ending.outcome, seconds, ending.reason)


def _commit(
    run: Run,
    store: Store,
    ending: Ending,
    checkpoints: Checkpoints,
    memory: PeakMemory,
    replaces: str,
) -> tuple[bool, float]:
    """Commit the record of a trial: whether it is the first of its key, and the seconds that the
    trial took. What passes while the store is away counts for nothing.
    """
    is_first, began, seconds = False, checkpoints.began, checkpoints.spent
    peak = memory.read()
    # Hours of training are not given up for a store that is away for minutes.
    for try_ in _patiently(seconds):
        with try_:
            # Blobs first, the record last: what it names is there.
            record = trial_record(run, store, ending, began=began, seconds=seconds, memory=peak)
            is_first = store.commit(record, replaces=replaces)
    return is_first, seconds


def _patiently(seconds: float) -> tenacity.Retrying:
    """Tries to reach the store, for a tenth of the time that the training took (`seconds`), within
    bounds. A node that gives up is given no more work.
    """
    at_least, at_most = TRY_FOR
    return asking_again(min(max(seconds / 10, at_least), at_most))


def finished_by_others(trial: Trial, store: Store, replaces: str) -> Outcome | None:
    """How a trial ended that has a result which does not wait to be replaced, or None. A result of
    something else under its key, as another driver may have left since the plan was made, is a
    failure.
    """
    record = store.find(trial.key)
    if record is None or record_digest(record) == replaces:
        return None
    if others := list(marks_of_another(trial, record)):
        return Outcome(trial.key, "failed", reason="; ".join(others))
    return Outcome(trial.key, record["outcome"], record["timings"]["seconds"], record["reason"])


def _checkpoints(
    trial: Trial,
    store: Store,
    folder: Path | None,
    every: float,
    is_abandoned: Callable[[], bool],
) -> Checkpoints:
    stamp = _stamp(trial)
    return Checkpoints(folder, stamp, every, Copies(store, trial.key, stamp), is_abandoned)


def _stamp(trial: Trial) -> str:
    """What a checkpoint must have been written by: the trial's code and this torch."""
    return digest([code_of(trial).digest, torch.__version__])


def _train(run: Run) -> Ending:
    """Call the method."""
    method = run.trial.method
    try:
        method.train(run)
    except Infeasible as error:
        return Ending("infeasible", reason=str(error))
    except Diverged as error:
        return Ending("diverged", reason=str(error))
    if missing := run.missing():
        raise MethodError(
            f"{method.name} declares {', '.join(missing)} but train left none; "
            "log, keep or measure it, or take it out of the class"
        )
    return Ending("done")


def _leave_traces(trial: Trial, store: Store, outcome: Outcome, log: str) -> None:
    """Leave in the store why a trial has no result, and what it printed."""
    # A store that refuses everything refuses this too; the outcome still tells.
    with contextlib.suppress(StoreError):
        # Where the node is at fault, or the share of a GPU is too small, it has not failed yet: it
        # is run elsewhere, or with a larger one. The driver notes what it gives up.
        if not outcome.is_result and outcome.fault == "trial":
            store.put_failure(trial.key, failure_record(trial, outcome))
        if log.strip():
            store.put_log(trial.key, log[-LONGEST_LOG:])


def run_with_needs(trial: Trial, store: Store, *, device: str | None = None) -> None:
    """Execute what a trial needs, directly or not, each once and needs first, in this process.
    Raises MethodError where a need ends without a result.
    """
    for need in needs_first(trial):
        outcome = execute(need, store, device=device)
        if not outcome.is_result:
            raise MethodError(
                f"{need.label}, which {trial.label} needs, failed: {outcome.reason}\n"
                f"{outcome.traceback}"
            )


def needs_of(trial: Trial, store: Store) -> dict[str, Result]:
    """Results of a trial's needs. Raises CorruptError where one is not in the store, and PlanError
    where it is of something else.
    """
    results = {}
    for name, need in trial.needs.items():
        record = store.find(need.key)
        if record is None:
            raise CorruptError(
                f"need {name!r} of {trial.label} is not in the store; "
                "was it removed while the sweep ran?"
            )
        if others := list(marks_of_another(need, record)):
            raise PlanError(f"need {name!r} of {trial.label} is another one in the store:", others)
        results[name] = Result(store, record)
    return results
