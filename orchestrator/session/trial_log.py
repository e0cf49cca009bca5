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
        stored = (self.record or self.failure or {}).get("trial")
        if not stored:
            return str((self.failure or {}).get("label", ""))
        try:
            return Trial.from_json(stored).label
        except PlanError:
            return f"{stored['method']['method']}  seed {stored['seed']}"

    def settings(self) -> dict[str, Any]:
        """The settings of a trial with a result that are not as the method has them by default.
        Where the method may not be imported here, all, as JSON has them.
        """
        assert self.record is not None
        stored = self.record["trial"]
        try:
            return Trial.from_json(stored).method.changed_settings()
        except PlanError:
            return dict(stored["method"]["settings"])

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
