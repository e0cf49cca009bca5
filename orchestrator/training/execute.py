"""`execute`: the one function that a worker calls. A trial goes in, an outcome comes out, and what
is done is in the store before anybody hears.
"""

from __future__ import annotations

import contextlib
import platform
import time
import traceback
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from orchestrator.errors import CorruptError, Diverged, Infeasible, MethodError, StoreError
from orchestrator.parts.result import Result
from orchestrator.spec.canonical import digest
from orchestrator.spec.trial import Trial
from orchestrator.store.code import sources_digest
from orchestrator.store.content import content_digest
from orchestrator.store.store import Store
from orchestrator.training.checkpoints import Scratch
from orchestrator.training.fit import CurvePoint, Fit, OnEpoch
from orchestrator.training.observation import LONGEST_LOG, PeakMemory, Reporter, printed
from orchestrator.training.outcome import Outcome, failure_record
from orchestrator.training.run import Run


def execute(
    trial: Trial,
    store: Store,
    *,
    scratch: Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    checkpoint_every: float = 60.0,
    on_epoch: OnEpoch | None = None,
    raise_errors: bool = False,
) -> Outcome:
    """Run a trial whose needs are done, and commit its result.

    Exceptions of the method become the outcome `failed` (unless `raise_errors`, for a debugger);
    Ctrl-C and the like pass through. `threads` are torch's for this trial (default: what the method
    asks for), so that a laptop and a cluster compute the same bits. What the trial prints is kept.
    """
    began = time.time()
    kept: contextlib.AbstractContextManager[list[str]] = (
        contextlib.nullcontext([]) if raise_errors else printed()
    )
    with kept as lines:
        try:
            outcome = _execute(
                trial, store, scratch, device, threads, checkpoint_every, on_epoch, began
            )
        except Exception as error:
            if raise_errors:
                raise
            outcome = Outcome(
                trial.key,
                "failed",
                time.time() - began,
                f"{type(error).__name__}: {error}",
                traceback.format_exc(),
            )
    # A store that refuses everything refuses this too; the outcome still tells.
    with contextlib.suppress(StoreError):
        if not outcome.is_result:
            store.put_failure(trial.key, failure_record(trial, outcome))
        if any(line.strip() for line in lines):
            store.put_log(trial.key, "".join(lines)[-LONGEST_LOG:])
    return outcome


def _execute(
    trial: Trial,
    store: Store,
    scratch: Path | None,
    device: str | None,
    threads: int | None,
    checkpoint_every: float,
    on_epoch: OnEpoch | None,
    began: float,
) -> Outcome:
    if (record := store.find(trial.key)) is not None:  # somebody else was faster
        return Outcome(trial.key, record["outcome"], 0.0, record["reason"])
    stamp = digest([sources_digest(type(trial.method)), torch.__version__])
    place = Scratch(scratch / trial.key if scratch else None, stamp, checkpoint_every)
    hint = trial.method.resources(trial)
    reporter = Reporter(trial.key, store, began, on_epoch)
    try:
        with _arithmetic(threads or hint.cpus, trial.numerics):
            where = device or (default_device() if hint.gpus else "cpu")
            memory = PeakMemory(torch.device(where))
            run = Run(trial, needs_of(trial, store), scratch=place, device=where, on_epoch=reporter)
            reporter.fits = run.fits
            kind, reason, curves = _train(run)
        store.commit(_record(run, store, kind, reason, curves, began, memory.read()))
    finally:
        reporter.close()
    store.forget_failure(trial.key)
    place.clear()
    return Outcome(trial.key, kind, time.time() - began, reason)


def run_with_needs(trial: Trial, store: Store, *, device: str | None = None) -> None:
    """Execute what a trial needs, depth first, in this process. Raises MethodError where a need
    ends without a result.
    """
    for name, need in trial.needs.items():
        run_with_needs(need, store, device=device)
        outcome = execute(need, store, device=device)
        if not outcome.is_result:
            raise MethodError(
                f"need {name!r} of {trial.label} failed: {outcome.reason}\n{outcome.traceback}"
            )


def needs_of(trial: Trial, store: Store) -> dict[str, Result]:
    """Results of a trial's needs. Raises CorruptError where one is not in the store."""
    found = {}
    for name, need in trial.needs.items():
        record = store.find(need.key)
        if record is None:
            raise CorruptError(
                f"need {name!r} of {trial.label} is not in the store; was it removed while the sweep ran?"
            )
        found[name] = Result(store, record)
    return found


def default_device() -> str:
    """The GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _train(run: Run) -> tuple[str, str, list[CurvePoint]]:
    """Call the method; outcome, reason, and the curves of a fit that did not come to its end."""
    method = run.trial.method
    try:
        method.train(run)
    except Infeasible as ended:
        return "infeasible", str(ended), []
    except Diverged as ended:
        reason, curves = ended.args
        return "diverged", str(reason), list(curves)
    if missing := run.missing():
        raise MethodError(
            f"{method.name} declares {', '.join(missing)} but train left none; log, keep or measure it, or take it out of the class"
        )
    return "done", "", []


def _record(
    run: Run,
    store: Store,
    kind: str,
    reason: str,
    curves: list[CurvePoint],
    began: float,
    memory: Mapping[str, int],
) -> dict[str, Any]:
    """The record of a finished trial; its blobs are in the store when this returns."""
    trial = run.trial
    points = [p for fitted in run.fits.values() for p in fitted.curves] + curves
    components = [
        {**record.to_json(), "blob": store.put_blob(weights)}
        for record, weights in run.kept.values()
    ]
    matrices = [
        {
            "name": m.name,
            "rows": m.axes[0],
            "columns": m.axes[1],
            "blob": store.put_blob(m.to_parquet()),
        }
        for m in run.matrices.values()
    ]
    return {
        "key": trial.key,
        "outcome": kind,
        "reason": reason,
        "trial": trial.to_json(),
        "identity": trial.identity,
        "metrics": [
            _metric_record(run, n, dict(labels), v) for (n, labels), v in run.metrics.items()
        ],
        "curves": [[p.name, p.step, _finite(p.value), round(p.time, 3)] for p in points],
        "components": components,
        "matrices": matrices,
        "frozen": {
            stage: dict(fitted.frozen) for stage, fitted in run.fits.items() if fitted.frozen
        },
        "needs": {
            name: {"key": need.key, "content": content_digest(need.record)}
            for name, need in run.needs.items()
        },
        "timings": {
            "began": round(began, 3),
            "ended": round(time.time(), 3),
            "fits": {s: _fit_record(f) for s, f in run.fits.items()},
        },
        "memory": dict(memory),
        "provenance": {
            **_versions(),
            "sources": sources_digest(type(trial.method)),
            "device": _device_name(run.device),
            "host": platform.node(),
        },
    }


def _metric_record(run: Run, name: str, labels: dict[str, str], value: float) -> dict[str, Any]:
    entry = {"name": name, "value": _finite(value), "labels": labels}
    return (
        {**entry, "timing": True}
        if any(m.name == name and m.timing for m in run.trial.method.metrics)
        else entry
    )


def _fit_record(fitted: Fit) -> dict[str, Any]:
    chosen = {} if fitted.selected is None else {"selected": fitted.selected}
    return {
        "seconds": round(fitted.seconds, 3),
        "images": fitted.images,
        "steps": fitted.steps,
        "epochs": fitted.epochs,
        **chosen,
    }


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity: such a value is stored as null."""
    return value if -float("inf") < value < float("inf") else None


@lru_cache(maxsize=1)
def _versions() -> Mapping[str, str]:
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("spolia", "torchvision", "numpy", "pillow"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _device_name(device: torch.device) -> str:
    return (
        torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine() + " cpu"
    )


@contextlib.contextmanager
def _arithmetic(threads: int, numerics: str) -> Iterator[None]:
    """Torch as a key says: this many threads (the sum of a convolution depends on how many share
    it), tf32's short cuts only where asked for.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = torch.get_num_threads(), cudnn.allow_tf32, cudnn.deterministic, matmul.allow_tf32
    torch.set_num_threads(threads)
    cudnn.allow_tf32, cudnn.deterministic, matmul.allow_tf32 = (
        numerics == "tf32",
        True,
        numerics == "tf32",
    )
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cudnn.allow_tf32, cudnn.deterministic, matmul.allow_tf32 = before[1:]
