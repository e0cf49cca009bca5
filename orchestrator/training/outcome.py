"""How a trial ended, and what is remembered of one that left no result."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.spec.trial import Trial

FINAL = ("done", "diverged", "infeasible")  # outcomes that are results
# Where an exception comes from; "memory": more of a GPU was wanted than the trial's share has;
# "data": a data set is not there, here.
Fault = Literal["trial", "memory", "worker", "node", "data"]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: `done`, `diverged`, `infeasible` (results, kept), `failed` (an exception)
    or `lost` (the worker went away). `fault` says whose fault an exception was.
    """

    key: str
    kind: str
    seconds: float = 0.0
    reason: str = ""
    traceback: str = ""
    fault: Fault = "trial"

    @property
    def is_result(self) -> bool:
        return self.kind in FINAL


def failure_record(
    trial: Trial, outcome: Outcome, progress: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the store remembers of an attempt that left no result, and what it had reached, where
    that is known.
    """
    return {
        "key": trial.key,
        "label": trial.label,
        "kind": outcome.kind,
        "reason": outcome.reason,
        "traceback": outcome.traceback,
        "time": time.time(),
        "host": platform.node(),
        "trial": trial.to_json(),
        "progress": progress,
    }
