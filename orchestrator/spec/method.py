"""The contract of a method: settings, what it declares, what it needs, and `train`.

A method is a class; its settings are annotated fields made with `axis`. The class is checked when
it is defined, so that a mistake shows on import and not in the middle of a sweep.
"""

from __future__ import annotations

import dataclasses
import keyword
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

from orchestrator.errors import InputError, MethodError, nearest
from orchestrator.spec.canonical import (
    coerce,
    is_network_type,
    is_same,
    show,
    to_json,
    unsupported,
)
from orchestrator.spec.classes import is_class_path
from orchestrator.spec.declarations import (
    Curve,
    Kept,
    MatrixSpec,
    Metric,
    Plot,
    Resources,
    Roles,
    SameFeatures,
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
    """Makes every subclass a frozen, keyword-only dataclass, and checks it. Raises MethodError."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        try:
            dataclass(frozen=True, kw_only=True)(cls)
        except ValueError as error:  # a default that could be changed in place
            raise MethodError(
                f"{cls.__module__}.{cls.__qualname__}: "
                f"a setting's default must be a number, a string or a tuple: {error}"
            ) from error
        # Its own name, not an inherited one: two classes of one name would have one key.
        if not cls.__dict__.get("name"):
            return  # a base of methods, not one itself
        problems = list(_class_problems(cls))
        if problems:
            summary = f"{cls.__module__}.{cls.__qualname__} is not a method yet:"
            raise MethodError("\n".join([summary, *(f"  - {problem}" for problem in problems)]))


class Method(ABC, _Settings):
    """One paper, baseline or measurement. Subclass it, give it a `name`, `tasks`, settings made
    with `axis`, and a `train`.

    `revision` goes up whenever the same settings would train to different bits. `uses` says which
    of network, tasks and seed matter; the rest is blank in the key, so that trials that differ in
    nothing else are one. With `accepts_diverged`, its trials run even if a need diverged or was
    infeasible. `metrics`, `components` and `matrices` declare what `train` leaves, `plots` the
    figures worth drawing. `moved_from` lists the paths (`module:Class`) that the class had before,
    so that results made there still count; `former_settings` are settings that it has no longer,
    each with its default then. `mixes_channels` says that no network sees images of another task
    than its own, so that grey and colour tasks may stand side by side. `base_role` names the role
    of the task whose trained network all tasks behind it start from (of a role that repeats, its
    first task): these are normalised as that network's images were, unless they say otherwise.

    Settings are checked when a method is made; raises InputError that lists all that are wrong.

    Example::

        class Distil(Method):
            name = "distil"
            tasks = roles("task")
            metrics = (Metric("accuracy", headline=True),)

            temperature: float = axis(4.0, over=(1.0, 4.0, 8.0), help="softens both outputs")

            def train(self, run):
                ...
    """

    name: ClassVar[str] = ""
    revision: ClassVar[int] = 1
    tasks: ClassVar[Roles] = roles("tasks", at_least=1)
    uses: ClassVar[frozenset[str]] = frozenset({"network", "tasks", "seed"})
    accepts_diverged: ClassVar[bool] = False
    mixes_channels: ClassVar[bool] = False
    moved_from: ClassVar[tuple[str, ...]] = ()
    former_settings: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    base_role: ClassVar[str] = ""
    metrics: ClassVar[tuple[Metric, ...]] = ()
    components: ClassVar[tuple[Kept, ...]] = ()
    matrices: ClassVar[tuple[MatrixSpec, ...]] = ()
    plots: ClassVar[tuple[Plot | Curve, ...]] = ()

    def __post_init__(self) -> None:
        problems = []
        for name, kind in settings_of(type(self)).items():
            try:
                # Frozen from here on.
                object.__setattr__(self, name, coerce(getattr(self, name), kind))
            except ValueError as error:
                problems.append(f"{self.name}.{name}: {error}")
        if problems:
            raise InputError(f"settings of {self.name} that cannot be used:", problems)

    def canonical(self) -> Self:
        """The same method with settings that make no difference back at their defaults (use
        `reset`), so that they split no trials. Must be idempotent. Where it depends on the trial,
        use `canonical_for`.
        """
        return self

    def canonical_for(self, trial: Trial) -> Self:
        """The same method with settings that make no difference in this trial back at their
        defaults: a penalty on forgetting, where there is one task only. Asked behind `canonical`,
        of a trial's own method and not of the methods among its settings. Pure, reads nothing, and
        idempotent; tasks are symbolic here, so their names and number are known, not their classes.
        """
        return self

    def check(self, trial: Trial) -> Iterable[str]:
        """Reasons why the trial cannot run, which `spolia plan` shows. Pure; reads nothing."""
        return ()

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        """The trials whose results `train` uses, by name; make them with `trial.replace`. The names
        are in the key: another name is another trial. Pure; reads nothing.
        """
        return {}

    def same_features(self, trial: Trial) -> Iterable[SameFeatures]:
        """What must have one shape in a trial, because something reads the features of several
        networks. Planning builds them and tells where they differ. Pure; reads nothing.
        """
        return ()

    def resources(self, trial: Trial) -> Resources:
        """A hint at what the trial uses; the site decides what it gets."""
        return Resources()

    @abstractmethod
    def train(self, run: Run) -> None:
        """The algorithm, top to bottom. It is executed again from the top when a trial is resumed,
        so it must be deterministic; all that it works with comes from `run`.
        """

    @classmethod
    def grid(cls, **settings: Any) -> Grid:
        """Points of this method, one for each combination of the settings: a list or a range has
        several values, so has a grid given for a setting that takes a method; anything else is one.

        Example: `Recombine.grid(of=FineTune.grid(lr=[0.1, 0.01]), split=["stem", "pool"])`.
        """
        return method_grid(cls, settings)

    @classmethod
    def smoke(cls) -> Self:
        """The method with the smoke values of its settings, so that a run takes seconds."""
        # None is a value, so not None
        smoke = {f.name: f.metadata.get("smoke", MISSING) for f in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in smoke.items() if value is not MISSING})

    def replace(self, **settings: Any) -> Self:
        """The same method with other settings. Raises InputError for a setting it does not have."""
        return dataclasses.replace(self, **checked_names(type(self), settings))

    def reset(self, *names: str) -> Self:
        """The same method with these settings at their defaults. Raises InputError for a setting it
        does not have.
        """
        checked_names(type(self), dict.fromkeys(names))
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        return self.replace(**{name: defaults[name] for name in names})

    def settings(self) -> dict[str, Any]:
        """Every setting's value, by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def changed_settings(self) -> dict[str, Any]:
        """The values that are not at their defaults, by name."""
        cls = type(self)
        settings = self.settings().items()
        return {k: v for k, v in settings if not is_same(v, settings_default(cls, k))}

    def identity(self) -> dict[str, Any]:
        """What enters a key: name, revision, and the settings that are not at their defaults."""
        # Kept in the object's dictionary, beside its fields: it enters neither equality nor JSON.
        identity: dict[str, Any] | None = self.__dict__.get("_identity")
        if identity is None:
            identity = {
                "method": self.name,
                "revision": self.revision,
                "settings": {k: _identity_of(v) for k, v in self.changed_settings().items()},
            }
            object.__setattr__(self, "_identity", identity)  # kept: cells share few methods
        return identity

    def to_json(self) -> dict[str, Any]:
        """The method with all its settings as plain JSON: for records, and to build it again in
        another process.
        """
        settings = {k: to_json(v) for k, v in self.settings().items()}
        return {
            "method": self.name,
            "revision": self.revision,
            "path": self.path,
            "settings": settings,
        }

    @property
    def base_place(self) -> int | None:
        """Where the task of `base_role` stands among a trial's tasks; None without one. A method
        that has a base with some settings only says here with which.
        """
        return self.tasks.names.index(self.base_role) if self.base_role else None

    @property
    def path(self) -> str:
        """`module:Class`, by which a worker imports the method. Not in the key, so that a method
        can move to another module.
        """
        return f"{type(self).__module__}:{type(self).__qualname__}"

    @property
    def label(self) -> str:
        """Name and changed settings, for people: `fine_tune(lr=0.01)`."""
        changed = ", ".join(f"{k}={show(v)}" for k, v in self.changed_settings().items())
        return f"{self.name}({changed})" if changed else self.name


def _identity_of(value: Any) -> Any:
    """A setting's value as it enters a key."""
    if isinstance(value, Method) or is_network_type(type(value)):
        return value.identity()
    return [_identity_of(v) for v in value] if isinstance(value, tuple) else to_json(value)


def canonical_method(method: Method) -> Method:
    """The canonical form of a method and of the methods among its settings, outermost first: the
    outer one may read the inner ones as written.
    """
    canonical: Method | None = method.__dict__.get("_canonical")
    if canonical is None:
        # The outer method before the inner ones: it may read a setting of an inner method that the
        # inner one's canonical form forgets (the split of an independent training).
        canonical = method.canonical()
        settings = canonical.settings()
        inner = {name: _canonical_value(value) for name, value in settings.items()}
        changed = {name: value for name, value in inner.items() if value != settings[name]}
        if changed:
            canonical = canonical.replace(**changed)
        # Kept on the methods, which are frozen: the cells of a sweep share few.
        object.__setattr__(canonical, "_canonical", canonical)
        object.__setattr__(method, "_canonical", canonical)
    return canonical


def _canonical_value(value: Any) -> Any:
    """A setting's value with the methods in it in canonical form."""
    if isinstance(value, Method):
        return canonical_method(value)
    return tuple(_canonical_value(v) for v in value) if isinstance(value, tuple) else value


def _class_problems(cls: Any) -> Iterator[str]:
    """Why a class cannot be a method."""
    name = str(cls.name)
    if not name.isidentifier() or name != name.lower() or keyword.iskeyword(name):
        yield f"name {cls.name!r} is not a lower-case identifier such as 'fine_tune'"
    if not isinstance(cls.revision, int) or cls.revision < 1:
        yield f"revision {cls.revision!r} is not a count from 1"
    if not isinstance(cls.tasks, Roles):
        yield "tasks is not roles(...)"
    elif cls.base_role and cls.base_role not in cls.tasks.names:
        yield f"base_role {cls.base_role!r} is no role. {nearest(cls.base_role, cls.tasks.names)}"
    moved = cls.moved_from
    if not isinstance(moved, tuple) or not all(map(is_class_path, moved)):
        yield f"moved_from {moved!r} is not a tuple of paths such as ('package.module:Class',)"
    unknown = set(cls.uses) - {"network", "tasks", "seed"}
    if unknown:
        yield f"uses names {sorted(unknown)}; it may name network, tasks and seed"
    yield from _declaration_problems(cls)
    # ABC would say so, too, but only when somebody makes one.
    if cls.train is Method.train:
        yield "train is missing"
    yield from _settings_problems(cls)


def _declaration_problems(cls: Any) -> Iterator[str]:
    """What is wrong with the metrics, components, matrices and plots that a class declares."""
    kinds_of: dict[str, tuple[type, ...]] = {
        "metrics": (Metric,),
        "components": (Kept,),
        "matrices": (MatrixSpec,),
        "plots": (Plot, Curve),
    }
    for attribute, kinds in kinds_of.items():
        declared = getattr(cls, attribute)
        # A tuple: a list would be shared by all that derive from the class, and could be appended
        # to. A lone declaration without its comma is caught here as well.
        if not isinstance(declared, tuple) or not all(isinstance(d, kinds) for d in declared):
            names = " or ".join(kind.__name__ for kind in kinds)
            yield f"{attribute} is not a tuple of {names}(...)"
        # A metric may be plotted against several others.
        elif attribute != "plots" and len({d.name for d in declared}) < len(declared):
            yield f"{attribute} declares a name twice"


def _settings_problems(cls: Any) -> Iterator[str]:
    """What is wrong with the settings of a class."""
    try:
        kinds = settings_of(cls)
    except NameError as error:
        yield f"a setting's annotation cannot be resolved: {error}"
        return
    for field in dataclasses.fields(cls):
        # A setting `seed` could not be told from the trial's, and one called `check` would hide a
        # method.
        if field.name in RESERVED or hasattr(Method, field.name):
            yield f"setting {field.name!r}: the name is taken"
        if field.default is MISSING:
            yield f"setting {field.name!r} has no default; write axis(default, over=(...))"
            continue
        reason = unsupported(kinds[field.name])
        if reason is not None:
            yield f"setting {field.name!r}: {reason}"
            continue
        # Smoke values and those worth trying are used late or never; a wrong one shows here.
        for role, value in _declared_values(field):
            try:
                coerce(value, kinds[field.name])
            except ValueError as error:
                yield f"setting {field.name!r}, {role}: {error}"


def _declared_values(field: Field[Any]) -> Iterator[tuple[str, Any]]:
    """All values that the declaration of a setting names, each with what it is there."""
    yield "default", field.default
    for value in field.metadata.get("over", ()):
        yield "over", value
    smoke = field.metadata.get("smoke", MISSING)
    if smoke is not MISSING:
        yield "smoke", smoke
