"""What is known of one trial: its result, how it failed, how far it is, what it printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import PlanError
from orchestrator.spec.trial import Trial
from orchestrator.store.store import Store


@dataclass(frozen=True)
class TrialLog:
    """One trial as the store has it: the `record` of its result, how its last try failed, what it
    has reached while it runs (each None where there is none), and what it printed.
    """

    key: str
    record: Mapping[str, Any] | None
    failure: Mapping[str, Any] | None
    progress: Mapping[str, Any] | None
    printed: str

    @property
    def label(self) -> str:
        """Method, network, tasks, seed; empty while nothing but progress is known. Where the method
        may not be imported here, its name and the seed.
        """
        trial, stored = self._trial, self._stored
        if trial is not None:
            return trial.label
        if stored:
            return f"{stored['method']['method']}  seed {stored['seed']}"
        return str((self.failure or {}).get("label", ""))

    def settings(self) -> dict[str, Any]:
        """The settings that are not as the method has them by default; where the method may not be
        imported here, all, as JSON has them. Empty while nothing but progress is known.
        """
        trial, stored = self._trial, self._stored
        if trial is not None:
            return trial.method.changed_settings()
        return dict(stored["method"]["settings"]) if stored else {}

    def needs(self) -> dict[str, str]:
        """Keys of the needs, by name; empty where no record says them and the method may not be
        imported here.
        """
        if self.record is not None:
            return {name: need["key"] for name, need in self.record["needs"].items()}
        needs = {} if self._trial is None else self._trial.needs
        return {name: need.key for name, need in needs.items()}

    @property
    def module_to_import(self) -> str:
        """The method's module, where it has to be imported before what was kept can be loaded; else
        an empty string.
        """
        is_unknown = self._trial is None and self._stored
        return self._stored["method"]["path"].partition(":")[0] if is_unknown else ""

    @property
    def _stored(self) -> Mapping[str, Any]:
        """The trial as JSON, or nothing."""
        return (self.record or self.failure or {}).get("trial") or {}

    @property
    def _trial(self) -> Trial | None:
        """None where nothing is known of it, or its method may not be imported here."""
        try:
            return Trial.from_json(self._stored) if self._stored else None
        except PlanError:
            return None

    def __repr__(self) -> str:
        lines = [f"{self.key}  {self.label}"]
        if self.record is not None:
            reason = f": {self.record['reason']}" if self.record["reason"] else ""
            lines.append(f"{self.record['outcome']}{reason}")
        if self.failure is not None:
            kind = self.failure.get("kind", "failed")
            lines += [f"{kind}: {self.failure['reason']}", str(self.failure["traceback"]).rstrip()]
            if reached := self.failure.get("progress"):
                lines.append(f"it had reached: {progress_in_words(reached)}")
        if self.progress is not None:
            lines.append(f"under way: {progress_in_words(self.progress)}")
        return "\n".join([*filter(None, lines), *filter(None, [self.printed.rstrip()])])


def progress_in_words(progress: Mapping[str, Any]) -> str:
    """`joint, epoch 3 of 10`"""
    return f"{progress['stage']}, epoch {progress['epoch']} of {progress['epochs']}"


def log_of(key: str, store: Store) -> TrialLog:
    """What a store has of the one trial whose key begins so. Raises StoreError where there is no
    such trial, or more than one.
    """
    full = store.resolve_key(key)
    # None rules out another: a trial that is run again may have an old result, a failure and
    # progress.
    return TrialLog(
        full, store.find(full), store.failure(full), store.progress(full), store.log(full)
    )
