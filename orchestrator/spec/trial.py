"""Trials and cells: what is to be run, in the one form that has a key."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from orchestrator.errors import InputError, MethodError, PlanError, nearest
from orchestrator.spec.canonical import digest
from orchestrator.spec.method import Method, canonical_method
from orchestrator.spec.shadowing import shadowing
from orchestrator.spec.task import Task

KEY_FORMAT = 1
NUMERICS = (
    "fp32",
    "tf32",
    "bf16",
)  # classes of arithmetic; in the key, because bits depend on them


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network by name: what a sweep writes and a worker builds.

    `path` is `module:Class` of a `Network`; `settings` its keyword arguments; those equal to
    `defaults` stay out of keys, so that a network can gain a setting without changing old ones.
    `splits` are its split points, first to last.
    """

    name: str
    path: str
    settings: tuple[tuple[str, Any], ...] = ()
    defaults: tuple[tuple[str, Any], ...] = ()
    splits: tuple[str, ...] = ()
    revision: int = 1

    @property
    def label(self) -> str:
        changed = ", ".join(f"{k}={v}" for k, v in self.settings if (k, v) not in self.defaults)
        return f"{self.name}({changed})" if changed else self.name

    def identity(self) -> dict[str, Any]:
        return {
            "network": self.name,
            "revision": self.revision,
            "settings": {k: v for k, v in self.settings if (k, v) not in self.defaults},
        }

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "settings": dict(self.settings),
            "defaults": dict(self.defaults),
            "splits": list(self.splits),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> NetworkSpec:
        tuples = {k: tuple(value[k].items()) for k in ("settings", "defaults")}
        return NetworkSpec(**{**value, **tuples, "splits": tuple(value["splits"])})


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One fully specified thing to run. Becomes canonical when it is made: settings that make no
    difference go back to their defaults, and what the method does not use is blank. Two trials that
    would compute the same are equal and have one key."""

    method: Method
    network: NetworkSpec | None = None
    tasks: tuple[Task, ...] = ()
    seed: int | None = None
    numerics: str = "fp32"

    def __post_init__(self) -> None:
        method = canonical_method(self.method)
        object.__setattr__(self, "method", method)
        for field, blank in (("network", None), ("tasks", ()), ("seed", None)):
            if field not in method.uses:
                object.__setattr__(self, field, blank)

    def replace(self, **changes: Any) -> Trial:
        """The same trial with another method, network, tasks, seed or numerics: how `needs` are
        written.
        """
        return replace(self, **changes)

    @cached_property
    def needs(self) -> Mapping[str, Trial]:
        """The trials that this one uses, by name."""
        needs = self.method.needs(self)
        if not isinstance(needs, Mapping) or not all(isinstance(n, Trial) for n in needs.values()):
            raise MethodError(
                f"{self.method.name}.needs must return a mapping of names to trials, got {needs!r}"
            )
        return dict(needs)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The canonical form that is hashed: nothing of paths, machines or resources is in it."""
        return {
            "format": KEY_FORMAT,
            **self.method.identity(),
            "network": self.network.identity() if self.network else None,
            "tasks": [task.identity() for task in self.tasks],
            "seed": self.seed,
            "numerics": self.numerics,
            "needs": {name: need.key for name, need in self.needs.items()},
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 (64 hex digits) of the canonical form. Needs resolved tasks."""
        return digest(self.identity)

    @property
    def label(self) -> str:
        """A line for people."""
        parts = [
            self.method.label,
            self.network.label if self.network else "",
            " + ".join(t.name for t in self.tasks),
        ]
        parts += [
            "" if self.seed is None else f"seed {self.seed}",
            "" if self.numerics == "fp32" else self.numerics,
        ]
        return "  ".join(p for p in parts if p)

    def problems(self) -> list[str]:
        """Why the trial cannot run as written: roles, network, seed, names, then the method's own
        check.
        """
        method = self.method
        found = (
            [f"{method.name} {wrong}"]
            if "tasks" in method.uses and (wrong := method.tasks.problem(len(self.tasks)))
            else []
        )
        if "network" in method.uses and self.network is None:
            found.append(
                f"{method.name} needs a network: write network=[resnet8()] beside its grid"
            )
        if "seed" in method.uses and self.seed is None:
            found.append(f"{method.name} needs a seed: write seed=range(3) beside its grid")
        if self.numerics not in NUMERICS:
            found.append(
                f"numerics: no class of arithmetic {self.numerics!r}. {nearest(str(self.numerics), NUMERICS)}"
            )
        try:
            locate(method.path)
        except PlanError as error:
            found.append(str(error))
        names = [t.name for t in self.tasks]
        found += [
            f"two tasks are called {n!r}; tell them apart with .named('...')"
            for n in dict.fromkeys(names)
            if names.count(n) > 1
        ]
        return found or [f"{method.name}: {reason}" for reason in method.check(self)]

    def to_json(self) -> dict[str, Any]:
        """Everything needed to run the trial in another process."""
        network = self.network.to_json() if self.network else None
        return {
            "method": self.method.to_json(),
            "network": network,
            "tasks": [t.to_json() for t in self.tasks],
            "seed": self.seed,
            "numerics": self.numerics,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Trial:
        network = NetworkSpec.from_json(value["network"]) if value["network"] else None
        tasks = tuple(Task.from_json(t) for t in value["tasks"])
        return Trial(
            method=method_from_json(value["method"]),
            network=network,
            tasks=tasks,
            seed=value["seed"],
            numerics=value.get("numerics", "fp32"),
        )


@dataclass(frozen=True)
class Cell:
    """One point of a sweep as written, with its labels. Several cells may be the same trial."""

    index: int
    labels: Mapping[str, Any]
    trial: Trial


NOT_INSTALLED = "A method or network must live in an installed package, not in a sweep file"


def locate(path: str) -> Any:
    """The object that `module:name` names. Raises PlanError where it cannot be imported."""
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        hidden = shadowing(error) if isinstance(error, ImportError) else None
        raise PlanError(f"{path} cannot be imported: {error}. {hidden or NOT_INSTALLED}") from error
    return found


def method_from_json(value: Mapping[str, Any]) -> Method:
    """A method from its `to_json()`; methods and networks among its settings too."""
    cls = locate(value["path"])
    built = cls(**{name: _decode(setting) for name, setting in value["settings"].items()})
    if not isinstance(built, Method):
        raise InputError(f"{value['path']} is not a method")
    return built


def _decode(value: Any) -> Any:
    if isinstance(value, Mapping):
        return NetworkSpec.from_json(value) if "splits" in value else method_from_json(value)
    return tuple(_decode(v) for v in value) if isinstance(value, list) else value
