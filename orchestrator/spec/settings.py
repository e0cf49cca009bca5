"""Settings: annotated fields of a method class, made with `axis`.

They are declared once, beside their default, with the values worth trying; everything else that is
asked of them (names, types, defaults in canonical form) is answered here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING
from typing import Any

from orchestrator.errors import InputError, nearest
from orchestrator.spec.canonical import coerce, type_hints


def axis(default: Any, *, over: Sequence[Any] = (), smoke: Any = MISSING, help: str = "") -> Any:
    """One setting: its default, the values worth trying, a value that makes a run take seconds, and
    what it means.
    """
    return dataclasses.field(
        default=default, metadata={"over": tuple(over), "smoke": smoke, "help": help}
    )


_HINTS: dict[type, dict[str, Any]] = {}
_DEFAULTS: dict[tuple[type, str], Any] = {}


def settings_of(cls: type) -> dict[str, Any]:
    """Names and declared types of a method's settings. Cached: a plan of many cells asks for each
    of them.
    """
    if cls not in _HINTS:
        hints = type_hints(cls)
        _HINTS[cls] = {f.name: hints[f.name] for f in dataclasses.fields(cls)}
    return _HINTS[cls]


def settings_default(cls: type, name: str) -> Any:
    """The default of a setting in coerced form."""
    if (cls, name) not in _DEFAULTS:
        declared = {field.name: field.default for field in dataclasses.fields(cls)}
        _DEFAULTS[cls, name] = coerce(declared[name], settings_of(cls)[name])
    return _DEFAULTS[cls, name]


def unknown_settings(cls: Any, names: Iterable[str]) -> list[str]:
    """A sentence for each name that is no setting of the method class, with the nearest that is."""
    kinds = settings_of(cls)
    unknown = [name for name in names if name not in kinds]
    return [f"{cls.name} has no setting {name!r}. {nearest(name, kinds)}" for name in unknown]


def checked_names(cls: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, or an InputError naming each that the method class does not have."""
    unknown = unknown_settings(cls, settings)
    if len(unknown) > 1:
        raise InputError("unknown settings:", unknown)
    if unknown:
        raise InputError(unknown[0])
    return dict(settings)
