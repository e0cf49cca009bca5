"""Finds tensors that a loss brings along instead of being given.

A captured teacher trains correctly today; but it is invisible to the engine: not frozen, not moved
to the device, not hashed, and with several seeds in one fit it would silently be the first seed's
for all.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from orchestrator.errors import MethodError


def refuse_captured(function: Any, stage: str, what: str = "loss") -> None:
    """Raises MethodError that names every module or tensor reachable from a function other than by
    its arguments.
    """
    name = getattr(function, "__name__", what)
    captured = list(dict.fromkeys(_captured(function, name, {})))
    if captured:
        raise MethodError(
            f"stage {stage!r}: the {what} captures {', '.join(captured)}. "
            "Pass modules in nets= or frozen=, tensors with the data"
        )


def _captured(value: Any, name: str, seen: dict[int, Any]) -> Iterator[str]:
    if id(value) in seen:
        return
    seen[id(value)] = value  # held, so that no other object can take over its id
    if isinstance(value, nn.Module | torch.Tensor):
        yield f"{name!r} ({type(value).__name__})"
    # What a partial was given is as much captured as what a closure holds.
    elif isinstance(value, functools.partial):
        yield from _captured(value.func, name, seen)
        yield from _captured([*value.args, *value.keywords.values()], name, seen)
    elif isinstance(value, types.MethodType):
        # A method's loss brings its settings, which hold no tensor.
        yield from _captured(value.__self__, name, seen)
        yield from _captured(value.__func__, name, seen)
    elif isinstance(value, types.FunctionType):
        yield from _captured_by_function(value, seen)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _captured(item, f"{name}[{key!r}]", seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _captured(item, name, seen)
    # Any other object by its attributes; classes and modules are shared by all seeds anyway.
    elif not isinstance(value, type | types.ModuleType) and hasattr(value, "__dict__"):
        for key, item in vars(value).items():
            yield from _captured(item, f"{name}.{key}", seen)


def _captured_by_function(function: types.FunctionType, seen: dict[int, Any]) -> Iterator[str]:
    """What a function reaches by its closure, its defaults and its module's globals."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield from _captured(cell.cell_contents, name, seen)
        except ValueError:  # a cell that is not filled yet holds nothing
            continue
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    yield from _captured(defaults, function.__name__, seen)
    # co_names holds attributes, too: a name that is no global is not found, which does no harm.
    for name in _global_names(function.__code__):
        value = function.__globals__.get(name)
        # Another module's function, torch's say, may keep what it likes.
        is_foreign = (
            isinstance(value, types.FunctionType) and value.__module__ != function.__module__
        )
        if value is not None and not is_foreign:
            yield from _captured(value, name, seen)


def _global_names(code: types.CodeType) -> set[str]:
    """Names that a function and the functions defined in it look up outside of themselves."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names
