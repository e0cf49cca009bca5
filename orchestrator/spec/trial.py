"""Trials and cells: what is to be run, in the one form that has a key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal
from weakref import WeakValueDictionary

from orchestrator.errors import InputError, MethodError, PlanError, nearest
from orchestrator.spec.canonical import canonical_json, digest, is_same
from orchestrator.spec.classes import class_at
from orchestrator.spec.method import Method, canonical_method
from orchestrator.spec.normalising import problems_of_normalisation, with_statistics
from orchestrator.spec.settings import settings_of
from orchestrator.spec.task import Task

KEY_FORMAT = 1
# Classes of arithmetic; in the key, because bits depend on them.
NUMERICS = ("fp32", "tf32", "bf16")
DEEPEST = 5_000  # longest chain of needs; a deeper one is taken for an endless one
COPY_OFFSET = 1_000_003
"""What the seeds of independent copies of a trial differ by; larger than any range of seeds."""


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network by name: what a sweep writes and a worker builds.

    `path` is `module:Class` of a `Network`; `settings` its keyword arguments; those equal to
    `defaults` stay out of keys, so that a network can gain a setting without changing old ones.
    `splits` are its split points, first to last. `moved_from` are paths that the class had before;
    results made under them still count. `trained_with` is the normalisation of the images on which
    its initial weights were trained, blank where they are drawn. `class_places` says where among
    the settings there are paths of other classes, those of networks that this one is made of: `of`,
    or `inner.of` for the entry `of` of a mapping `inner`. All other texts are just texts, whatever
    they look like. Raises InputError for settings that are no JSON values, and for a path that
    cannot be one.
    """

    name: str
    path: str
    settings: tuple[tuple[str, Any], ...] = ()
    defaults: tuple[tuple[str, Any], ...] = ()
    splits: tuple[str, ...] = ()
    revision: int = 1
    moved_from: tuple[str, ...] = ()
    trained_with: Literal["", "imagenet"] = ""
    class_places: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = []
        if ":" not in self.path:
            problems.append(f"path {self.path!r} is not of the form 'package.module:Class'")
        for name, value in {**dict(self.defaults), **dict(self.settings)}.items():
            try:
                canonical_json(value)
            except (TypeError, ValueError) as error:
                problems.append(f"{name} = {value!r} is no JSON value: {error}")
        if problems:
            raise InputError(f"the network {self.name!r} cannot be used as written:", problems)

    def __hash__(self) -> int:
        return hash((self.name, self.path, self.revision))  # settings may hold mappings

    @property
    def label(self) -> str:
        """Name and changed settings, for people: `resnet8(width=8)`."""
        changed = ", ".join(f"{k}={v}" for k, v in self._changed().items())
        return f"{self.name}({changed})" if changed else self.name

    def identity(self) -> dict[str, Any]:
        """What enters a key: name, revision, and the settings that are not at their defaults."""
        return {
            "network": self.name,
            "revision": self.revision,
            "settings": self._changed(),
        }

    def _changed(self) -> dict[str, Any]:
        """The settings that are not at their defaults."""
        defaults = dict(self.defaults)
        return {
            name: value
            for name, value in self.settings
            if name not in defaults or not is_same(value, defaults[name])
        }

    def cannot_cut(self, *splits: str) -> list[str]:
        """For each of these that is no split point of the network, a sentence that says so and
        names the nearest one. A method's `check` passes them on:
        `yield from trial.network.cannot_cut(self.split)`.
        """
        return [
            f"{self.name} has no split point {split!r}. {nearest(split, self.splits)}"
            for split in splits
            if split not in self.splits
        ]

    def classes_in(self, settings: Iterable[tuple[str, Any]]) -> tuple[str, ...]:
        """Paths of the classes that settings of this network (its `settings` or its `defaults`)
        name at its class places.
        """
        found: list[str] = []
        for place in self.class_places:
            value: Any = dict(settings)
            for name in place.split("."):
                value = value.get(name) if isinstance(value, Mapping) else None
            values = value if isinstance(value, list | tuple) else [value]
            # An optional inner network is None, and names no class.
            found += [path for path in values if isinstance(path, str)]
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """The network as plain JSON: for records, and to build it in another process."""
        # Left out where it says nothing, as in the records of before.
        trained = {"trained_with": self.trained_with} if self.trained_with else {}
        return {
            **trained,
            "name": self.name,
            "path": self.path,
            "settings": dict(self.settings),
            "defaults": dict(self.defaults),
            "splits": list(self.splits),
            "revision": self.revision,
            "class_places": list(self.class_places),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> NetworkSpec:
        """A network from its `to_json()`."""
        pairs = {k: tuple(value[k].items()) for k in ("settings", "defaults")}
        names = {k: tuple(value.get(k, ())) for k in ("splits", "class_places")}
        return NetworkSpec(**{**value, **pairs, **names})


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One fully specified thing to run.

    It becomes canonical when it is made: settings that make no difference go back to their
    defaults, and what the method does not use is blank. So two trials that would compute the same
    are equal and have one key.
    """

    method: Method
    network: NetworkSpec | None = None
    tasks: tuple[Task, ...] = ()
    seed: int | None = None
    numerics: str = "fp32"

    def __post_init__(self) -> None:
        # In this order: what a base decides depends on the canonical method (`base_place` may be a
        # matter of settings).
        object.__setattr__(self, "method", canonical_method(self.method))
        method = canonical_method(self.method.canonical_for(self))
        object.__setattr__(self, "method", method)
        # Before the seed may go blank: what it draws is part of the tasks.
        tasks = tuple(task.of_seed(self.seed) for task in self.tasks)
        tasks = with_statistics(
            tasks,
            base=method.base_place,
            trained_with=self.network.trained_with if self.network else "",
        )
        object.__setattr__(self, "tasks", tasks)
        for field, blank in (("network", None), ("tasks", ()), ("seed", None)):
            if field not in method.uses:
                object.__setattr__(self, field, blank)

    def replace(self, **changes: Any) -> Trial:
        """The same trial with another method, network, tasks, seed or numerics. A method's `needs`
        are written with it: `trial.replace(method=self.teacher)`.
        """
        return replace(self, **changes)

    def copies(self, n: int) -> tuple[Trial, ...]:
        """`n` copies of the trial that are independent of each other: nothing is drawn alike in
        two of them. The first is the trial itself, the i-th has the seed `seed + i * COPY_OFFSET`.

        Methods that need several independent networks all take these seeds, so they share the
        trainings. Raises MethodError where there is no seed, or for n < 1.

        Example, in `needs`: `{f"network {i}": t for i, t in enumerate(base.copies(3))}`.
        """
        if n < 1:
            raise MethodError(f"copies({n}): a trial has at least one copy, itself")
        if self.seed is None:
            raise MethodError(f"copies({n}): {self.method.name} uses no seed, so all would be one")
        others = (self.replace(seed=self.seed + i * COPY_OFFSET) for i in range(1, n))
        return (self, *others)

    @cached_property
    def needs(self) -> Mapping[str, Trial]:
        """The trials whose results this one uses, by name. Raises MethodError where the method
        gives something else.
        """
        needs = self.method.needs(self)
        if not isinstance(needs, Mapping) or not all(isinstance(n, Trial) for n in needs.values()):
            raise MethodError(
                f"{self.method.name}.needs must return a mapping of names to trials, got {needs!r}"
            )
        return {name: one_object(need) for name, need in needs.items()}

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
            # Keys, not needs: a change anywhere below reaches every key above it.
            "needs": {name: need.key for name, need in self.needs.items()},
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 (64 hex digits) of the canonical form. Raises InputError where a task has not
        been resolved, PlanError where the needs come to no end.
        """
        # Keys of needs go into it. They are made first and one after another, since a chain of
        # needs may be longer than Python's stack is deep; each is kept, so this is done once.
        for need in needs_first(self, lambda need: "key" not in need.__dict__):
            need.__dict__["key"] = digest(need.identity)
        return digest(self.identity)

    @property
    def label(self) -> str:
        """A line for people: method, network, tasks, seed, and numerics other than fp32."""
        parts = [self.method.label]
        if self.network:
            parts.append(self.network.label)
        if self.tasks:
            parts.append(" + ".join(task.name for task in self.tasks))
        if self.seed is not None:
            parts.append(f"seed {self.seed}")
        if self.numerics != "fp32":
            parts.append(self.numerics)
        return "  ".join(parts)

    def problems(self) -> list[str]:
        """Why the trial cannot run as written: roles, network, seed, names; where all of these are
        right, the reasons of the method's own `check`.
        """
        problems = list(self._general_problems())
        if problems:  # a method's check may rely on all of that
            return problems
        return [f"{self.method.name}: {reason}" for reason in self.method.check(self)]

    def _general_problems(self) -> Iterator[str]:
        """Why a trial of any method could not run like this."""
        method = self.method
        wrong_number = method.tasks.problem(len(self.tasks))
        if "tasks" in method.uses and wrong_number:
            yield f"{method.name} {wrong_number}"
        if "network" in method.uses and self.network is None:
            yield f"{method.name} needs a network: write network=[resnet8()] beside its grid"
        if "seed" in method.uses and self.seed is None:
            yield f"{method.name} needs a seed: write seed=range(3) beside its grid"
        if self.numerics not in NUMERICS:
            hint = nearest(str(self.numerics), NUMERICS)
            yield f"numerics: no class of arithmetic {self.numerics!r}. {hint}"
        try:
            # As a worker will load it: a class of a notebook or of the sweep file cannot be
            # imported there.
            _method_class(method.path)
        except PlanError as error:
            yield str(error)
        for task in self.tasks:
            if task.drawing and task.seed is None:
                yield f"{task.name} is drawn by the seed: write seed=range(3) beside its grid"
        yield from problems_of_normalisation(self.tasks, method.name, base=method.base_place)
        for name, count in Counter(task.name for task in self.tasks).items():
            if count > 1:
                yield f"two tasks are called {name!r}; tell them apart with .named('...')"

    def _value(self) -> tuple[Any, ...]:
        """What the trial is, as a key of a dictionary. With its settings in words, because some
        values are equal that mean two things: `True == 1`.
        """
        words = (repr(self.method), repr(self.network))
        return (self.method, self.network, words, self.tasks, self.seed, self.numerics)

    def to_json(self) -> dict[str, Any]:
        """The trial as plain JSON: for records, and to run it in another process."""
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
        """A trial from its `to_json()`. Raises PlanError where its method cannot be imported."""
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
    """One point of a sweep as written: its `index` in the grid, its labels, and its trial. Several
    cells may be the same trial.
    """

    index: int
    labels: Mapping[str, Any]
    trial: Trial


# Needs by value, for as long as somebody holds them: however many trials need one, it is one
# object, whose own needs and key are made once. Otherwise each path of needs would be walked anew,
# and there may be exponentially many.
_NEEDS: WeakValueDictionary[tuple[Any, ...], Trial] = WeakValueDictionary()


def one_object(need: Trial) -> Trial:
    """The one object that stands for this need and every equal one."""
    return _NEEDS.setdefault(need._value(), need)


def _are_one(one: Trial, other: Trial) -> bool:
    return one == other and one._value() == other._value()


def needs_first(
    trial: Trial,
    is_wanted: Callable[[Trial], bool] = lambda need: True,
    check: Callable[[Trial, Sequence[Trial]], None] = lambda trial, above: None,
) -> Iterator[Trial]:
    """Every trial that a trial needs, directly or not, each once and after what it needs itself.
    The trial itself is not among them.

    What `is_wanted` says no to is left out with all that it needs. `check` is called with a need
    before its own needs are asked for, and with those above it, from the trial downwards. Raises
    PlanError for a trial that needs itself, and for a chain that is longer than DEEPEST. Its cost
    grows with the number of needs and not with the number of paths to them.
    """
    above = [trial]  # the way down to where we are, and what is left to see at each step of it
    left = [iter(trial.needs.values())]
    on_the_way = {id(trial)}
    given: dict[int, Trial] = {}  # by identity, as equal needs are one object
    while above:
        need = next(left[-1], None)
        if need is None:
            done = above.pop()
            left.pop()
            on_the_way.discard(id(done))
            if above:
                given[id(done)] = done
                yield done
        # The trial itself may be another object than the equal need, which has been made one.
        elif id(need) in on_the_way or _are_one(need, trial):
            loop = [*above[above.index(need) :], need]
            names = " -> ".join(one.method.name for one in loop)
            raise PlanError(f"a trial needs itself: {names}. Look at `needs` of {need.method.name}")
        elif id(need) not in given and is_wanted(need):
            if len(above) > DEEPEST:
                raise PlanError(
                    f"{trial.method.name} needs a chain of more than {DEEPEST:,} trials; "
                    f"does its `needs` come to an end?"
                )
            check(need, above)
            above.append(need)
            left.append(iter(need.needs.values()))
            on_the_way.add(id(need))


def method_from_json(value: Mapping[str, Any]) -> Method:
    """A method from its `to_json()`, with the methods and networks among its settings. Raises
    PlanError where one cannot be loaded or is no method; nothing is called then.
    """
    cls = _method_class(value["path"])
    settings = {name: _decoded(setting) for name, setting in value["settings"].items()}
    known = settings_of(cls)
    for name, default in cls.former_settings.items():
        # At its former default it changes nothing, and the record is read as if it had never been.
        if name not in known and settings.pop(name, default) != default:
            raise PlanError(f"{cls.name} has no setting {name!r} any more, and it was in use")
    return cls(**settings)


def _method_class(path: str) -> type[Method]:
    return class_at(path, Method)  # type: ignore[type-abstract]


def _decoded(value: Any) -> Any:
    """A setting's value from plain JSON; lists become tuples."""
    if isinstance(value, Mapping):
        # Settings hold two kinds of mappings, and only networks have split points.
        return NetworkSpec.from_json(value) if "splits" in value else method_from_json(value)
    return tuple(_decoded(v) for v in value) if isinstance(value, list) else value
