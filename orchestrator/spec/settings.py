"""Settings: annotated fields of a method class, made with `axis`.

They are declared once, with their default and the values worth trying; their names, types and
defaults are asked for here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING
from typing import Any

from orchestrator.errors import InputError, nearest
from orchestrator.spec.canonical import coerce, type_hints


def axis(default: Any, *, over: Sequence[Any] = (), smoke: Any = MISSING, help: str = "") -> Any:
    """Declare a setting of a method: its default, the values worth trying (`over`), a value with
    which a run takes seconds (`smoke`), and what it means.

    Example::

        class FineTune(Method):
            lr: float = axis(0.1, over=(0.1, 0.01), help="learning rate at its peak")
            epochs: int = axis(30, over=(10, 30), smoke=1)
    """
    metadata = {"over": tuple(over), "smoke": smoke, "help": help}
    return dataclasses.field(default=default, metadata=metadata)


# By class, because a plan of many cells asks for each of them.
_KINDS: dict[type, dict[str, Any]] = {}
_DEFAULTS: dict[tuple[type, str], Any] = {}


def settings_of(cls: type) -> dict[str, Any]:
    """The declared type of each setting of a method class, by name. Raises NameError where an
    annotation names what its module does not have.
    """
    if cls not in _KINDS:
        hints = type_hints(cls)
        _KINDS[cls] = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    return _KINDS[cls]


def settings_default(cls: type, name: str) -> Any:
    """The default of a setting, as a value of its declared type."""
    if (cls, name) not in _DEFAULTS:
        # A default may be written as another type than declared: 1 for a float, a tuple for a set.
        declared = {field.name: field.default for field in dataclasses.fields(cls)}
        _DEFAULTS[cls, name] = coerce(declared[name], settings_of(cls)[name])
    return _DEFAULTS[cls, name]


def unknown_settings(cls: Any, names: Iterable[str]) -> list[str]:
    """A sentence for each name that is no setting of the method class, with the nearest that is."""
    kinds = settings_of(cls)
    unknown = [name for name in names if name not in kinds]
    return [f"{cls.name} has no setting {name!r}. {nearest(name, kinds)}" for name in unknown]


def checked_names(cls: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as given. Raises InputError that names each one that the method class does not
    have.
    """
    unknown = unknown_settings(cls, settings)
    if len(unknown) > 1:
        raise InputError("unknown settings:", unknown)
    if unknown:
        raise InputError(unknown[0])
    return dict(settings)
