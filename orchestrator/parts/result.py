"""Results: what a finished trial left, read back from the store with every byte verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from orchestrator.errors import CorruptError, MethodError, StoreError, nearest
from orchestrator.parts.component import ComponentRecord, Part, rebuild
from orchestrator.parts.matrix import Matrix
from orchestrator.spec.task import Task
from orchestrator.spec.trial import Trial
from orchestrator.store.store import Store


@dataclass(frozen=True)
class Component:
    """A kept piece: where it comes from, its labels, and its module on demand."""

    result: Result
    record: ComponentRecord

    def module(self) -> Part:
        """The part, rebuilt with its weights; eval mode, on the CPU, a fresh copy each time. Raises
        CorruptError where the component it requires changed.
        """
        self.required()
        weights = self.result.store.blob(self.record.blob)  # verified by its name, the SHA-256
        return rebuild(self.record.path, self.record.config, weights)

    def ready(self) -> nn.Module:
        """The network, images to logits, eval mode, on the CPU: this part, joined with the one it
        requires where there is one.
        """
        part, required = self.module(), self.required()
        return part if required is None else part.joined(required.module()).eval()

    def required(self) -> Component | None:
        """The component that this one cannot be used without. Raises CorruptError unless the store
        holds it with the very bits that this one was trained on, whether or not a later result of
        its trial names other weights.
        """
        if not self.record.requires:
            return None
        pin, store = self.record.requires, self.result.store
        reference, blob = pin["component"], pin["blob"]
        record = store.find(reference.partition("/")[0])
        if record is not None:
            result = Result(store, record)
            for component in result.every_component():
                if component.reference == reference:
                    if component.record.blob == blob:
                        return component
                    # Trained again since, to other weights: the
                    # ones that are needed are still there by hash.
                    if store.has_blob(blob):
                        return Component(result, component.record.pinned(pin))
        raise CorruptError(
            f"{self.reference} belongs to {reference} with weights {blob[:12]}, "
            "which the store does not hold"
        )

    def pin(self) -> dict[str, Any]:
        """What a component that requires this one keeps of it: enough to build it again."""
        kept = self.record
        pin = {"component": self.reference, "blob": kept.blob, "path": kept.path}
        # Its own requirement goes along, so a chain of parts can be followed to its end.
        return {**pin, "config": dict(kept.config), "requires": dict(kept.requires)}

    @property
    def task(self) -> Task:
        """The task whose name the label `task` holds."""
        name = self.record.labels.get("task", "")
        tasks = {task.name: task for task in self.result.trial.tasks}
        if name not in tasks:
            raise MethodError(
                f"component {self.record.title} has no task {name!r}. {nearest(name, tasks)}"
            )
        return tasks[name]

    @property
    def reference(self) -> str:
        """`<key>/network?task=a`: names the component in any store."""
        labels = "&".join(f"{k}={v}" for k, v in self.record.labels.items())
        return f"{self.result.key}/{self.record.name}" + (f"?{labels}" if labels else "")


class Result:
    """A trial's record with its components and matrices at hand."""

    def __init__(self, store: Store, record: Mapping[str, Any]) -> None:
        self.store, self.record = store, record

    @staticmethod
    def open(key: str, store: Store | str = "spolia-home/store") -> Result:
        """The result of the one trial whose key begins so, in a store or at its folder or address.
        Raises StoreError where there is none.
        """
        opened = store if isinstance(store, Store) else Store(store)
        full = opened.resolve_key(key)
        record = opened.find(full)
        if record is None:
            raise StoreError(
                f"{full[:12]} has no result yet; `spolia logs {full[:12]}` says what is known of it"
            )
        return Result(opened, record)

    @property
    def key(self) -> str:
        return str(self.record["key"])

    @property
    def outcome(self) -> str:
        """`done`, `diverged` or `infeasible`."""
        return str(self.record["outcome"])

    @cached_property
    def trial(self) -> Trial:
        return Trial.from_json(self.record["trial"])

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One entry a metric and label: name, value (None where it was not finite), labels."""
        return list(self.record["metrics"])

    def metric(self, name: str, **labels: str) -> float:
        """One metric's value. Raises MethodError where there is none."""
        for entry in self.metrics:
            if entry["name"] == name and entry["labels"] == labels:
                return float("nan") if entry["value"] is None else float(entry["value"])
        names = {entry["name"] for entry in self.metrics}
        raise MethodError(
            f"{self.key[:12]} has no metric {name!r} with labels {labels}. {nearest(name, names)}"
        )

    def every_component(self) -> list[Component]:
        """All kept components, in the order they were kept."""
        return [Component(self, ComponentRecord(**c)) for c in self.record["components"]]

    def components(self, name: str) -> list[Component]:
        """All kept components of a name, in the order they were kept."""
        return [c for c in self.every_component() if c.record.name == name]

    def component(self, name: str, **labels: str) -> Component:
        """The kept component with these labels. Raises MethodError that lists what there is."""
        for component in self.components(name):
            if dict(component.record.labels) == labels:
                return component
        listed = ", ".join(c.record.title for c in self.every_component()) or "none"
        raise MethodError(
            f"the need {self.key[:12]} ({self.outcome}) kept no {name!r} with labels {labels}; "
            f"it kept: {listed}"
        )

    def module(self, name: str, **labels: str) -> Part:
        """The module of one component; see `Component.module`."""
        return self.component(name, **labels).module()

    def matrix(self, name: str) -> Matrix:
        """A measured matrix. Raises MethodError where there is none of the name."""
        blobs = {m["name"]: m["blob"] for m in self.record["matrices"]}
        if name not in blobs:
            raise MethodError(f"{self.key[:12]} has no matrix {name!r}. {nearest(name, blobs)}")
        return Matrix.from_parquet(self.store.blob(blobs[name]))
