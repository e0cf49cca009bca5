"""Results: what a finished trial left, read back from the store with every byte verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from orchestrator.errors import CorruptError, InputError, MethodError, StoreError, nearest
from orchestrator.parts.component import ComponentRecord, Part, rebuild
from orchestrator.parts.matrix import Matrix
from orchestrator.parts.network import Network
from orchestrator.parts.outputs import remember
from orchestrator.spec.naming import reference_of
from orchestrator.spec.task import Task, Tasks
from orchestrator.spec.trial import Trial
from orchestrator.store.opening import AnyStore, opened
from orchestrator.store.store import Store


@dataclass(frozen=True, repr=False)
class Component:
    """A kept piece: where it comes from, its labels, and its module on demand."""

    result: Result
    record: ComponentRecord

    @staticmethod
    def open(reference: str, store: AnyStore | None = None, **labels: str) -> Component:
        """The component that a reference names, `<key>/network?task=a` as a matrix has it, in a
        store, a session's, or at a folder or address; see `Result.open`. The key may be shortened,
        and labels may be given by name: `Component.open("8c1f20/network", task="a")`.

        Raises StoreError where the trial has no result, InputError where that is no component of
        it.
        """
        if not isinstance(reference, str):
            raise InputError(
                "a component is opened by its reference, '<key>/network?task=a', as "
                f"matrix.pair(...) gives it, not by {reference!r}"
            )
        key, _, named = reference.partition("/")
        result = Result.open(key, store)
        components = result.every_component()
        # A reference with its labels names one component, a bare name all that were kept under it.
        wanted = [c for c in components if named in (c.reference.partition("/")[2], c.record.name)]
        found = [c for c in wanted if labels.items() <= dict(c.record.labels).items()]
        if len(found) == 1:
            return found[0]
        short = [_short(c.reference) for c in found or components]
        with_labels = "".join(f", {name}={value!r}" for name, value in labels.items())
        if found:
            raise InputError(f"{reference!r}{with_labels} names several: {', '.join(short)}")
        raise InputError(
            f"{result.key[:12]} ({result.outcome}) kept no component {reference!r}{with_labels}. "
            f"{nearest(reference, short)}"
        )

    def __repr__(self) -> str:
        kind = self.record.path.rpartition(":")[2]
        needed = [_short(pin["component"]) for pin in self.record.pins.values()]
        needs = f", needs {' and '.join(needed)}" if needed else ""
        return (
            f"Component({_short(self.reference)!r}): {kind} of {self.result.trial.method.name}, "
            f"seed {self.result.trial.seed}{needs}"
        )

    def module(self) -> Part:
        """The part, rebuilt with its weights; eval mode, on the CPU, a fresh copy each time. Raises
        CorruptError where a component it requires changed.
        """
        # Only to be sure that they are there: weights for a base that is gone are of no use.
        self.requirements()
        # Verified by its name, the SHA-256.
        weights = self.result.store.blob(self.record.blob, of=self.result.key)
        part = rebuild(self.record.path, self.record.config, weights)
        remember(part, self.output_tasks)
        return part

    def network(self) -> Network:
        """The same where the part is a network, which can be cut. Raises MethodError where it is
        none.
        """
        part = self.module()
        if not isinstance(part, Network):
            raise MethodError(
                f"component {self.record.title} is no network, but {type(part).__name__}: module() "
                "gives it, ready() the network that it makes with what it requires"
            )
        return part

    def ready(self) -> nn.Module:
        """The network, images to logits, eval mode, on the CPU: this part, joined with what it
        requires where there is something.
        """
        part, required = self.module(), self.requirements()
        if not required:
            return part
        modules = {name: component.module() for name, component in required.items()}
        alone = [modules.pop("")] if "" in modules else []
        network = part.joined(*alone, **modules).eval()
        remember(network, self.output_tasks)
        return network

    def required(self) -> Component | None:
        """The one component that this one cannot be used without, or None; see `requirements`.
        Raises MethodError where there are several.
        """
        found = self.requirements()
        if len(found) > 1:
            raise MethodError(
                f"{self.record.title} requires several components, {', '.join(found)}: ask for "
                "requirements()"
            )
        return next(iter(found.values()), None)

    def requirements(self) -> dict[str, Component]:
        """The components that this one cannot be used without, by the names under which it was kept
        with them; the name of an only one is empty. Raises CorruptError unless the store holds each
        with the very bits that this one was trained on, whether or not a later result of its trial
        names other weights.
        """
        return {name: self._pinned(pin) for name, pin in self.record.pins.items()}

    def _pinned(self, pin: Mapping[str, Any]) -> Component:
        """The component of a pin; see `requirements`."""
        store = self.result.store
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
        """The task whose name the label `task` holds, or the only one of a trial. Raises
        MethodError where neither says which.
        """
        found = self.output_tasks
        if len(found) == 1:
            return found[0]
        name = self.record.labels.get("task")
        what = f"no task {name!r}" if name is not None else "no label that says its task"
        tasks = [task.name for task in self.result.trial.tasks]
        raise MethodError(f"component {self.record.title} has {what}. {nearest(name or '', tasks)}")

    @property
    def output_tasks(self) -> tuple[Task, ...]:
        """The task whose classes its outputs are, or all tasks of its trial where that says no
        more.
        """
        trial, name = self.result.trial, self.record.labels.get("task")
        # By the label, not by place: a trial may keep components of some of its tasks only.
        named = [task for task in trial.tasks if task.name == name]
        return tuple(named or trial.tasks)

    @property
    def reference(self) -> str:
        """`<key>/network?task=a`: names the component in any store."""
        return reference_of(self.result.key, self.record.name, self.record.labels)


def _short(reference: str) -> str:
    """A reference with as much of its key as people read; it still opens the component."""
    key, _, rest = reference.partition("/")
    return f"{key[:12]}/{rest}"


class Result:
    """A trial's record with its components and matrices at hand. `key` is the trial's, `trial` and
    `tasks` are what was run, the tasks by role, place and name: `result.tasks["b"]`.
    """

    def __init__(self, store: Store, record: Mapping[str, Any]) -> None:
        self.store, self.record = store, record

    @staticmethod
    def open(key: str, store: AnyStore | None = None) -> Result:
        """The result of the one trial whose key begins so, in a store, that of a session, or one at
        a folder (its own or its home's) or an address; without any, where SPOLIA_STORE or
        SPOLIA_HOME says, or in `spolia-home/store` here. Raises StoreError where there is none.
        """
        if not isinstance(key, str):
            raise InputError(f"a result is opened by how its trial's key begins, not by {key!r}")
        there = opened(store)
        full = there.resolve_key(key)
        record = there.find(full)
        if record is None:
            raise StoreError(
                f"{full[:12]} has no result; `spolia logs {full[:12]}` says what is known of it"
            )
        return Result(there, record)

    def __repr__(self) -> str:
        kept = [c.record.title for c in self.every_component()]
        found = [
            f"{len(self.metrics)} metrics",
            f"kept {', '.join(kept)}" if kept else "",
            f"matrices {', '.join(self.matrix_names)}" if self.matrix_names else "",
        ]
        return f"Result({self.key[:12]!r}, {self.outcome}): {self.trial.label}; " + "; ".join(
            filter(None, found)
        )

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

    @cached_property
    def tasks(self) -> Tasks:
        """The trial's tasks: by position, by role, by name, as in `result.tasks["b"]`."""
        return Tasks(self.trial.tasks, self.trial.method.tasks.names)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One entry a metric and label: name, value (None where it was not finite), labels."""
        return list(self.record["metrics"])

    def metric(self, name: str, **labels: str) -> float:
        """One metric's value. Raises MethodError where there is none."""
        for entry in self.metrics:
            # All labels, not some: a metric logged by task has no single value without one.
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
            f"{self.key[:12]} ({self.outcome}) kept no {name!r} with labels {labels}; "
            f"it kept: {listed}"
        )

    def module(self, name: str, **labels: str) -> Part:
        """The module of one component; see `Component.module`."""
        return self.component(name, **labels).module()

    def network(self, name: str = "network", **labels: str) -> Network:
        """The module of one component that is a network, as `result.network(task="a")`; see
        `Component.network`.
        """
        return self.component(name, **labels).network()

    @property
    def matrix_names(self) -> list[str]:
        """Names of the measured matrices, in the order they were measured."""
        return [str(m["name"]) for m in self.record["matrices"]]

    def matrix(self, name: str) -> Matrix:
        """A measured matrix. Raises MethodError where there is none of the name, InputError for
        cells, of which a trial has none.
        """
        if isinstance(name, Mapping):
            raise InputError(
                f"result.matrix({dict(name)!r}): a trial's matrices have names, here "
                f"{', '.join(self.matrix_names) or 'none'}; cells are what "
                "session.results().matrix(where=...) takes"
            )
        blobs = {m["name"]: m["blob"] for m in self.record["matrices"]}
        # Compared, not looked up: what somebody gives may have no hash.
        if name not in list(blobs):
            raise MethodError(f"{self.key[:12]} has no matrix {name!r}. {nearest(name, blobs)}")
        return Matrix.from_parquet(self.store.blob(blobs[name], of=self.key))
