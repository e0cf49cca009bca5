"""What a worker, or whoever watches it, says of one try at a trial. The queue decides what follows
from it (`orchestrator.planning.queue`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.training.outcome import Outcome


@dataclass(frozen=True)
class Worker:
    """A process that runs trials: the id of its `node`, and a `name` that people can find it by."""

    node: str = ""
    name: str = ""


@dataclass(frozen=True)
class Ended:
    """The trial has come to an end, as `outcome` says: base of the three ways to."""

    outcome: Outcome
    worker: Worker = Worker()

    @property
    def key(self) -> str:
        return self.outcome.key


class Finished(Ended):
    """It has a result, of whatever outcome."""


class Broken(Ended):
    """Its own code raised an exception; `outcome` has it."""


class Cramped(Ended):
    """It ran out of GPU memory; `outcome` has the exception, should no larger share be had."""


@dataclass(frozen=True)
class Unfit:
    """The worker could not run the trial, or not go on with it, for a reason that lies in its
    process or, where `is_node`, in its machine: no store, other code, a full disk, a broken GPU.
    With `is_data`, the trial's data are not there, perhaps on this machine alone. Its process takes
    no other trial.
    """

    key: str
    why: str
    is_node: bool
    worker: Worker = Worker()
    is_data: bool = False


@dataclass(frozen=True)
class Gone:
    """The worker went away with the trial. `why` is what Ray says of it. With `is_node` the
    machine went, or was taken back, which is no fault of the trial's.
    """

    key: str
    why: str
    is_node: bool = False
    worker: Worker = Worker()


Attempt = Finished | Broken | Cramped | Unfit | Gone
TYPES: Mapping[str, type[Attempt]] = {
    t.__name__: t for t in (Finished, Broken, Cramped, Unfit, Gone)
}


def attempt_of(outcome: Outcome, worker: Worker) -> Attempt:
    """What a trial's outcome says of the try that it ended."""
    if outcome.is_result:
        return Finished(outcome, worker)
    if outcome.fault == "trial":
        return Broken(outcome, worker)
    if outcome.fault == "memory":
        return Cramped(outcome, worker)
    is_node, is_data = outcome.fault == "node", outcome.fault == "data"
    return Unfit(outcome.key, outcome.reason, is_node, worker, is_data)


def to_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt as JSON types, to be sent from worker to driver."""
    return {"type": type(attempt).__name__, **asdict(attempt)}


def from_json(value: Mapping[str, Any]) -> Attempt:
    """The attempt that `to_json` was given."""
    values = {name: part for name, part in value.items() if name != "type"}
    values["worker"] = Worker(**values["worker"])
    if "outcome" in values:
        values["outcome"] = Outcome(**values["outcome"])
    return TYPES[value["type"]](**values)
