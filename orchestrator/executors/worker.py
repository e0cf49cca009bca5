"""What a worker on some node does with the trials it is given, whatever executor gives them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from orchestrator.errors import Abandoned, SpoliaError
from orchestrator.executors.assignment import Assignment
from orchestrator.executors.handshake import (
    SAME_VERSION,
    other_versions,
    problem_with_gpu,
    problem_with_store,
    versions,
)
from orchestrator.executors.lifeline import Lifeline
from orchestrator.executors.placement import HIDING, Placement
from orchestrator.spec.naming import class_paths
from orchestrator.spec.trial import Trial
from orchestrator.store.code import code_of, listed
from orchestrator.store.patience import AN_OUTAGE
from orchestrator.store.store import Store
from orchestrator.training.attempts import Attempt, Unfit, Worker, attempt_of
from orchestrator.training.execute import execute


class TrialRunner:
    """Runs trials of an assignment by key, one after another, on one `worker`, for which
    `placement` was set aside: it takes trials of that placement only.

    What would keep this node from computing what the driver planned is looked for once, here:
    a node that joins late is asked all that the others were asked before work began.
    """

    def __init__(self, assignment: Assignment, worker: Worker, placement: Placement) -> None:
        # Before the store and any class is opened: both go by them.
        os.environ.update(assignment.variables)
        # Before CUDA is asked for anything, which settles what the process sees. Ray leaves all
        # GPUs of a machine to a worker for which none was set aside.
        if not placement.gpus:
            os.environ.update(HIDING)
        self._assignment, self._worker, self._placement = assignment, worker, placement
        self._scratch = _usable_scratch(Path(assignment.scratch))
        self._unfit = self._problem_here()
        self._store = Store(assignment.store) if not self._unfit else None
        self._lifeline = Lifeline(assignment.lifeline)

    @property
    def is_abandoned(self) -> bool:
        """Whether the driver is gone."""
        return self._lifeline.is_cut

    def run_lot(self, keys: Sequence[str]) -> list[Attempt]:
        """Run trials one after another, up to the first for which this worker turns out unfit.
        Raises Abandoned, at the end of an epoch or before a trial, where the driver is gone.
        """
        attempts: list[Attempt] = []
        for key in keys:
            if self.is_abandoned:
                raise Abandoned("the driver is gone")
            attempts.append(self.run(key))
            if isinstance(attempts[-1], Unfit):
                break
        return attempts

    def run(self, key: str) -> Attempt:
        """Execute one trial, or say why this node would compute something else than the driver
        planned.
        """
        if self._unfit or self._store is None:
            return self._unfit_for(key, self._unfit)
        try:
            # By locator (`module:Class`): a worker never imports a sweep file.
            trial = Trial.from_json(json.loads(self._assignment.trials[key]))
        except SpoliaError as error:
            return self._unfit_for(key, f"it cannot run this trial: {error}")
        if problem := self._other_code(trial, key):
            return self._unfit_for(key, f"it {problem}; {SAME_VERSION}")
        placement = self._placement
        if placement.device == "cuda" and not torch.cuda.is_available():
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
            why = f"{placement.words} are set aside and torch sees no GPU"
            return self._unfit_for(key, f"{why} (CUDA_VISIBLE_DEVICES: {visible})")
        outcome = execute(
            trial,
            self._store,
            replaces=self._assignment.replaces.get(key, ""),
            scratch=self._scratch,
            device=placement.device,
            gpus=placement.gpus,
            checkpoint_every=self._assignment.checkpoint_every,
            is_abandoned=lambda: self.is_abandoned,
        )
        return attempt_of(outcome, self._worker)

    def _unfit_for(self, key: str, why: str) -> Unfit:
        return Unfit(key, why, is_node=True, worker=self._worker)

    def _problem_here(self) -> str:
        """Why this node can run no trial of the assignment, or an empty string."""
        store = self._assignment.store
        if problem := problem_with_store(store, self._assignment.probe, AN_OUTAGE):
            return problem
        drivers = self._assignment.versions
        differing = other_versions(drivers, versions()) if drivers else []
        if differing:
            return f"{', '.join(differing)}; {SAME_VERSION}"
        return problem_with_gpu(self._placement.gpus)

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
    # Each user's own: what another made here could not be written either.
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    return Path(tempfile.gettempdir()) / f"spolia-scratch-{user}"
