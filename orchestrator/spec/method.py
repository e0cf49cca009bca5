"""The contract of a method: settings, what it declares, what it needs, and `train`.

A method is a class; its settings are annotated fields made with `axis`. The class is checked when
it is defined.
"""

from __future__ import annotations

import dataclasses
import keyword
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

from orchestrator.errors import InputError, MethodError
from orchestrator.spec.canonical import (
    coerce,
    is_network_type,
    show,
    to_json,
    unsupported,
)
from orchestrator.spec.declarations import (
    Curve,
    Kept,
    MatrixSpec,
    Metric,
    Plot,
    Resources,
    Roles,
    roles,
)
from orchestrator.spec.grid import RESERVED, Grid
from orchestrator.spec.method_grid import method_grid
from orchestrator.spec.settings import checked_names, settings_default, settings_of

if TYPE_CHECKING:
    from orchestrator.spec.trial import Trial
    from orchestrator.training.run import Run


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _Settings:
    """Makes every subclass a frozen, keyword-only dataclass, and checks it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        try:
            dataclass(frozen=True, kw_only=True)(cls)
        except ValueError as error:  # a default that could be changed in place
            raise MethodError(
                f"{cls.__module__}.{cls.__qualname__}: a setting's default must be a number, a string or a tuple: {error}"
            ) from error
        if cls.__dict__.get("name"):
            problems = list(_class_problems(cls))
            if problems:
                raise MethodError(
                    "\n".join(
                        [
                            f"{cls.__module__}.{cls.__qualname__} is not a method yet:",
                            *(f"  - {p}" for p in problems),
                        ]
                    )
                )


class Method(ABC, _Settings):
    """One paper, baseline or measurement. Subclass it, give it a `name`, `tasks`, settings made
    with `axis`, and a `train`.

    `revision` goes up whenever the same settings would train to different bits. `uses` says which
    of network, tasks and seed matter: the rest is blank in the key, so that it cannot split what is
    the same.
    """

    name: ClassVar[str] = ""
    revision: ClassVar[int] = 1
    tasks: ClassVar[Roles] = roles("tasks", at_least=1)
    uses: ClassVar[frozenset[str]] = frozenset({"network", "tasks", "seed"})
    accepts_diverged: ClassVar[bool] = False
    metrics: ClassVar[tuple[Metric, ...]] = ()
    components: ClassVar[tuple[Kept, ...]] = ()
    matrices: ClassVar[tuple[MatrixSpec, ...]] = ()
    plots: ClassVar[tuple[Plot | Curve, ...]] = ()

    def __post_init__(self) -> None:
        problems = []
        for name, kind in settings_of(type(self)).items():
            try:
                object.__setattr__(self, name, coerce(getattr(self, name), kind))
            except ValueError as error:
                problems.append(f"{self.name}.{name}: {error}")
        if problems:
            raise InputError(f"settings of {self.name} that cannot be used:", problems)

    def canonical(self) -> Self:
        """Settings that make no difference, back at their defaults (use `reset`). Must be
        idempotent.
        """
        return self

    def check(self, trial: Trial) -> Iterable[str]:
        """Reasons why the trial cannot run. Pure; shown by `spolia plan`."""
        return ()

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        """Other trials whose results `train` uses, by name (make them with `trial.replace`). Pure;
        reads nothing.
        """
        return {}

    def resources(self, trial: Trial) -> Resources:
        """A hint; the machine at hand decides."""
        return Resources()

    @abstractmethod
    def train(self, run: Run) -> None:
        """The algorithm, top to bottom. It is executed again from the top when a trial is resumed,
        so it must be deterministic.
        """

    @classmethod
    def grid(cls, **settings: Any) -> Grid:
        """Points of this method: a list or range is an axis, a grid of methods is one too, anything
        else one value.
        """
        return method_grid(cls, settings)

    @classmethod
    def smoke(cls) -> Self:
        """The method at settings that make a run take seconds."""
        fields = dataclasses.fields(cls)
        return cls(
            **{
                f.name: f.metadata["smoke"]
                for f in fields
                if f.metadata.get("smoke", MISSING) is not MISSING
            }
        )

    def replace(self, **settings: Any) -> Self:
        """The same method with other settings."""
        return dataclasses.replace(self, **checked_names(type(self), settings))

    def reset(self, *names: str) -> Self:
        """The same method with these settings at their defaults."""
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        return self.replace(
            **{n: defaults[n] for n in checked_names(type(self), dict.fromkeys(names))}
        )

    def settings(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def identity(self) -> dict[str, Any]:
        """What enters a key: name, revision, and the settings that are not at their defaults."""
        found: dict[str, Any] | None = self.__dict__.get("_identity")
        if found is None:
            changed = {
                k: v for k, v in self.settings().items() if v != settings_default(type(self), k)
            }
            found = {
                "method": self.name,
                "revision": self.revision,
                "settings": {k: _identity_of(v) for k, v in changed.items()},
            }
            object.__setattr__(self, "_identity", found)
        return found

    def to_json(self) -> dict[str, Any]:
        """Everything needed to build the method again in another process, and the full settings for
        the record.
        """
        settings = {k: to_json(v) for k, v in self.settings().items()}
        return {
            "method": self.name,
            "revision": self.revision,
            "path": self.path,
            "settings": settings,
        }

    @property
    def path(self) -> str:
        """`module:Class`, by which a worker imports the method. Not in the key, so that a method
        can move.
        """
        return f"{type(self).__module__}:{type(self).__qualname__}"

    @property
    def label(self) -> str:
        """Name and changed settings, for people."""
        changed = (
            f"{k}={show(v)}"
            for k, v in self.settings().items()
            if v != settings_default(type(self), k)
        )
        inner = ", ".join(changed)
        return f"{self.name}({inner})" if inner else self.name


def _identity_of(value: Any) -> Any:
    if isinstance(value, Method) or is_network_type(type(value)):
        return value.identity()
    return [_identity_of(v) for v in value] if isinstance(value, tuple) else to_json(value)


def canonical_method(method: Method) -> Method:
    """Canonical form of a method and of the methods among its settings, outermost first (the outer
    one may read the inner as written).

    Remembered on the method itself, which is frozen: the cells of a sweep share few methods.
    """
    found: Method | None = method.__dict__.get("_canonical")
    if found is None:
        found = method.canonical()
        changed = {
            k: v for k, old in found.settings().items() if (v := _canonical_value(old)) != old
        }
        found = found.replace(**changed) if changed else found
        object.__setattr__(found, "_canonical", found)
        object.__setattr__(method, "_canonical", found)
    return found


def _canonical_value(value: Any) -> Any:
    if isinstance(value, Method):
        return canonical_method(value)
    return tuple(_canonical_value(v) for v in value) if isinstance(value, tuple) else value


def _class_problems(cls: Any) -> Iterable[str]:
    if (
        not str(cls.name).isidentifier()
        or str(cls.name) != str(cls.name).lower()
        or keyword.iskeyword(cls.name)
    ):
        yield f"name {cls.name!r} is not a lower-case identifier such as 'fine_tune'"
    if not isinstance(cls.revision, int) or cls.revision < 1:
        yield f"revision {cls.revision!r} is not a count from 1"
    if not isinstance(cls.tasks, Roles):
        yield "tasks is not roles(...)"
    if unknown := set(cls.uses) - {"network", "tasks", "seed"}:
        yield f"uses names {sorted(unknown)}; it may name network, tasks and seed"
    for attribute, kinds in (
        ("metrics", (Metric,)),
        ("components", (Kept,)),
        ("matrices", (MatrixSpec,)),
        ("plots", (Plot, Curve)),
    ):
        declared = getattr(cls, attribute)
        if not isinstance(declared, tuple) or not all(isinstance(d, kinds) for d in declared):
            yield f"{attribute} is not a tuple of {' or '.join(kind.__name__ for kind in kinds)}(...)"
        elif attribute != "plots" and len({d.name for d in declared}) < len(declared):
            yield f"{attribute} declares a name twice"
    if cls.train is Method.train:
        yield "train is missing"
    yield from _settings_problems(cls)


def _settings_problems(cls: Any) -> Iterable[str]:
    try:
        kinds = settings_of(cls)
    except NameError as error:
        yield f"a setting's annotation cannot be resolved: {error}"
        return
    for field in dataclasses.fields(cls):
        if field.name in RESERVED or hasattr(Method, field.name):
            yield f"setting {field.name!r}: the name is taken"
        if field.default is MISSING:
            yield f"setting {field.name!r} has no default; write axis(default, over=(...))"
            continue
        if why := unsupported(kinds[field.name]):
            yield f"setting {field.name!r}: {why}"
            continue
        values = [
            ("default", field.default),
            *(("over", v) for v in field.metadata.get("over", ())),
        ]
        values += (
            [("smoke", v)] if (v := field.metadata.get("smoke", MISSING)) is not MISSING else []
        )
        for where, value in values:
            try:
                coerce(value, kinds[field.name])
            except ValueError as error:
                yield f"setting {field.name!r}, {where}: {error}"
