"""The record of a finished trial: everything that a run left, as the store keeps it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.store.content import content_digest
from orchestrator.store.store import Store
from orchestrator.training.provenance import provenance
from orchestrator.training.run import Run
from orchestrator.training.stage import Fit


@dataclass(frozen=True)
class Ending:
    """How `train` ended: `done`, `diverged` or `infeasible`, and why."""

    outcome: str
    reason: str = ""


def trial_record(
    run: Run,
    store: Store,
    ending: Ending,
    *,
    began: float,
    seconds: float,
    memory: Mapping[str, int],
) -> dict[str, Any]:
    """The record; its blobs are in the store when this returns. A trial that was killed and resumed
    `began` when its first try did (since 1970), and took the `seconds` of all its tries.
    """
    trial = run.trial
    return {
        "key": trial.key,
        "outcome": ending.outcome,
        "reason": ending.reason,
        "trial": trial.to_json(),
        "identity": trial.identity,
        "metrics": _metrics(run),
        "curves": [[p.name, p.step, _finite(p.value), round(p.time, 3)] for p in run.curves],
        "components": _components(run, store),
        "matrices": _matrices(run, store),
        "frozen": {stage: dict(fit.frozen) for stage, fit in run.fits.items() if fit.frozen},
        # By content, too: a need that is trained again and says
        # something else makes this one stale.
        "needs": {
            name: {"key": need.key, "content": content_digest(need.record)}
            for name, need in run.needs.items()
        },
        "timings": {
            "began": round(began, 3),
            "ended": round(time.time(), 3),
            "seconds": round(seconds, 3),
            "fits": {stage: _fit(fit) for stage, fit in run.fits.items()},
        },
        "memory": dict(memory),
        "provenance": provenance(trial, run.device),
    }


def _metrics(run: Run) -> list[dict[str, Any]]:
    timings = {metric.name for metric in run.trial.method.metrics if metric.timing}
    entries = []
    for (name, labels), value in run.metrics.items():
        entry = {"name": name, "value": _finite(value), "labels": dict(labels)}
        if name in timings:
            entry["timing"] = True
        entries.append(entry)
    return entries


def _components(run: Run, store: Store) -> list[dict[str, Any]]:
    return [
        {**record.to_json(), "blob": store.put_blob(weights)}
        for record, weights in run.kept.values()
    ]


def _matrices(run: Run, store: Store) -> list[dict[str, Any]]:
    entries = []
    for matrix in run.matrices.values():
        rows, columns = matrix.axes
        blob = store.put_blob(matrix.to_parquet())
        entries.append({"name": matrix.name, "rows": rows, "columns": columns, "blob": blob})
    return entries


def _fit(fit: Fit) -> dict[str, Any]:
    entry = {
        "seconds": round(fit.seconds, 3),
        "images": fit.images,
        "steps": fit.steps,
        "epochs": fit.epochs,
    }
    return entry if fit.selected is None else {**entry, "selected": fit.selected}


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity: such a value is stored as null."""
    return value if -float("inf") < value < float("inf") else None
