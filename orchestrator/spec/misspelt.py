"""What somebody may have meant by a name that Python did not find: an argument, a module, a name of
a module, a variable, an attribute.
"""

from __future__ import annotations

import builtins
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

from orchestrator.errors import did_you_mean, nearest

LISTED = 12  # valid names that are told; of more only the nearest

_ARGUMENT = re.compile(r"(?:([\w.<>]+)\(\) )?got an unexpected keyword argument '(\w+)'")
_CALL = re.compile(r"([\w.<>]+)\(\) (?:missing|takes)")
_IMPORTED = re.compile(r"cannot import name '(\w+)'")


def meant(error: Exception) -> str:
    """The nearest valid name, and the valid ones where they are few; an empty string where the
    error is of another kind, or nobody knows.
    """
    # Whatever lies on the way is somebody else's: a module whose names raise, say. The error itself
    # has to be told all the same.
    with suppress(Exception):
        if isinstance(error, TypeError):
            return _meant_by_call(error)
        if isinstance(error, ModuleNotFoundError):
            return _nearest(error.name or "", _modules_beside(error.name or ""))
        if isinstance(error, ImportError) and (found := _IMPORTED.match(str(error))):
            return _nearest(found[1], _public(sys.modules[error.name or ""]))
        if isinstance(error, AttributeError) and error.obj is not None:
            return _nearest(error.name or "", _public(error.obj))
        if isinstance(error, NameError) and (frame := _last_frame(error)):
            known = {**vars(builtins), **frame.f_globals, **frame.f_locals}
            return did_you_mean(error.name, known)
    return ""


def _meant_by_call(error: TypeError) -> str:
    """Of a call with a wrong argument the nearest right one, of any other wrong call what the
    called function takes.
    """
    if found := _ARGUMENT.search(str(error)):
        for called in _called(error, found[1] or ""):
            parameters = inspect.signature(called).parameters.values()
            names = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
            return _nearest(found[2], names)
    elif found := _CALL.search(str(error)):
        for called in _called(error, found[1]):
            return f"It is {found[1].removesuffix('.__init__')}{inspect.signature(called)}."
    return ""


def _called(error: TypeError, name: str) -> Iterator[Any]:
    """What was called by that name, as Python's message has it: `resnet8`, or `Sweep.__init__`."""
    frame = _last_frame(error)
    if frame is None:
        return
    owner = name.removesuffix(".__init__")
    for values in (frame.f_locals, frame.f_globals):
        for one in list(values.values()):
            if owner in (getattr(one, "__qualname__", None), getattr(one, "__name__", None)):
                yield one
        # A method or a function of a module, which has no variable of its own here.
        for one in list(values.values()):
            inner = getattr(one, owner.rpartition(".")[2], None)
            if callable(inner) and getattr(inner, "__qualname__", "") == owner:
                yield inner


def _last_frame(error: Exception) -> FrameType | None:
    """Where the error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return None if trace is None else trace.tb_frame


def _modules_beside(name: str) -> list[str]:
    """Full names of the modules that there are where one was looked for."""
    parent, _, _ = name.rpartition(".")
    if parent and parent not in sys.modules:
        return []
    path = sys.modules[parent].__path__ if parent else None
    prefix = f"{parent}." if parent else ""
    return [prefix + one.name for one in pkgutil.iter_modules(path)]


def _public(thing: Any) -> list[str]:
    """The names of a module or an object that are meant for others."""
    return [one for one in dir(thing) if not one.startswith("_")]


def _nearest(name: str, valid: Iterable[str]) -> str:
    names = list(valid)
    if not names:
        return ""
    return nearest(name, names) if len(names) <= LISTED else did_you_mean(name, names)
