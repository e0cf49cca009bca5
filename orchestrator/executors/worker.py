"""What a worker on some node does with the trials it is handed; nothing here knows by whom."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import SpoliaError
from orchestrator.spec.trial import Trial
from orchestrator.store.code import sources_digest
from orchestrator.store.store import Store
from orchestrator.training.execute import execute
from orchestrator.training.outcome import Outcome


@dataclass(frozen=True)
class Orders:
    """All that a worker has to know: trials as JSON by key, the driver's digests of their methods'
    sources by path, where the store is, which probe the driver left in it, and how trials run here.
    `variables` are set in the worker's environment."""

    trials: Mapping[str, str]
    sources: Mapping[str, str]
    store: str
    probe: str
    scratch: str
    checkpoint_every: float
    device: str | None
    variables: Mapping[str, str]


class Hand:
    """Runs trials by key, one after another."""

    def __init__(self, orders: Orders) -> None:
        os.environ.update(orders.variables)
        self._orders, self._store, self._host = orders, Store(orders.store), socket.gethostname()
        self._scratch = _writable(Path(orders.scratch))
        self._sees_store = self._store.sees_probe(orders.probe)

    def run(self, key: str) -> Outcome:
        """Execute one trial, unless this node would compute something else than the driver
        planned.
        """
        if not self._sees_store:
            return Outcome(
                key,
                "failed",
                reason=f"the worker on {self._host} does not see the driver's store at {self._store.name}",
            )
        try:
            trial = Trial.from_json(json.loads(self._orders.trials[key]))
        except SpoliaError as error:
            return Outcome(
                key, "failed", reason=f"the worker on {self._host} cannot run this trial: {error}"
            )
        if trial.key != key or self._orders.sources[trial.method.path] != sources_digest(
            type(trial.method)
        ):
            reason = f"the worker on {self._host} has other sources of {trial.method.name} than the driver; install the same version on both"
            return Outcome(key, "failed", reason=reason)
        return execute(
            trial,
            self._store,
            scratch=self._scratch,
            device=self._orders.device,
            checkpoint_every=self._orders.checkpoint_every,
        )


def _writable(folder: Path) -> Path:
    """The driver's scratch folder where this node can have it (a shared one lets another node go on
    from a checkpoint), else one of its own.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.gettempdir()) / "spolia-scratch"
