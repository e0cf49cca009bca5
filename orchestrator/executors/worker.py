"""What a worker on some node does with the trials it is given, whatever executor gives them."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import SpoliaError
from orchestrator.spec.naming import class_paths
from orchestrator.spec.trial import Trial
from orchestrator.store.code import code_of, listed
from orchestrator.store.store import Store
from orchestrator.training.execute import execute
from orchestrator.training.outcome import Outcome


@dataclass(frozen=True)
class Assignment:
    """All that a worker has to know, the same for every worker of a run.

    `trials` are trials as JSON by key, `replaces` the digests, by key, of records that their new
    results are to replace. `code` holds the driver's digests of modules, by name, for the classes
    that a trial names (`class_paths`). `store` is an address, and `probe` names what the driver
    left in it for workers to see. `scratch`, `checkpoint_every` (seconds) and `device` say how
    trials run; `variables` are set in the worker's environment.
    """

    trials: Mapping[str, str]
    replaces: Mapping[str, str]
    code: Mapping[tuple[str, ...], Mapping[str, str]]
    store: str
    probe: str
    scratch: str
    checkpoint_every: float
    device: str | None
    variables: Mapping[str, str]


class TrialRunner:
    """Runs trials of an assignment by key, one after another."""

    def __init__(self, assignment: Assignment) -> None:
        # Before the store and any class is opened: both go by them.
        os.environ.update(assignment.variables)
        self._assignment = assignment
        self._store = Store(assignment.store)
        self._host = socket.gethostname()
        self._scratch = _usable_scratch(Path(assignment.scratch))
        self._sees_store = self._store.sees_probe(assignment.probe)

    def run(self, key: str) -> Outcome:
        """Execute one trial; a failure where this node would compute something else than the driver
        planned.
        """
        worker = f"the worker on {self._host}"
        # As an outcome, not an exception: Tune would try the whole lot again.
        if not self._sees_store:
            reason = f"{worker} does not see the driver's store at {self._store.name}"
            return Outcome(key, "failed", reason=reason)
        try:
            # By locator (`module:Class`): a worker never imports a sweep file.
            trial = Trial.from_json(json.loads(self._assignment.trials[key]))
        except SpoliaError as error:
            return Outcome(key, "failed", reason=f"{worker} cannot run this trial: {error}")
        if problem := self._other_code(trial, key):
            reason = f"{worker} {problem}; install the same version on both"
            return Outcome(key, "failed", reason=reason)
        return execute(
            trial,
            self._store,
            replaces=self._assignment.replaces.get(key, ""),
            scratch=self._scratch,
            device=self._assignment.device,
            checkpoint_every=self._assignment.checkpoint_every,
        )

    def _other_code(self, trial: Trial, key: str) -> str:
        """In what this node would compute something else than the driver, or an empty string."""
        drivers = self._assignment.code.get(class_paths(trial))
        # Read back here it is another trial: defaults or keys differ.
        if drivers is None or trial.key != key:
            return f"makes another trial of {trial.label} than the driver"
        changed = code_of(trial).differences(drivers)
        return f"has other code than the driver: {listed(changed)}" if changed else ""


def _usable_scratch(folder: Path) -> Path:
    """The driver's scratch folder where this node can write it (a shared one lets another node go
    on from a checkpoint), else one of this node's own.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.gettempdir()) / "spolia-scratch"
