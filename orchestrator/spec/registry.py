"""Which methods there are: those in packages that are named by the entry-point group
`spolia.methods`, ours and those of others.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

from orchestrator.errors import MethodError
from orchestrator.spec.method import Method
from orchestrator.spec.shadowing import hidden

GROUP = "spolia.methods"


@dataclass(frozen=True)
class Installed:
    """All methods by name, and modules that cannot be imported with the reason: the methods in them
    are missing, those in all others are there.
    """

    methods: dict[str, type[Method]]
    broken: dict[str, str]


def installed() -> Installed:
    """Which methods there are. Raises MethodError where two have one name, since results go by it,
    and where a package of ours is hidden by another of its name.
    """
    found: dict[str, type[Method]] = {}
    broken: dict[str, str] = {}
    for entry in _entries():
        methods, of_package = looked_through(entry.value)
        broken |= of_package
        for cls in methods:
            other = found.setdefault(cls.name, cls)  # one class may be found twice, in two entries
            if other is not cls:
                raise MethodError(
                    f"two methods are called {cls.name!r}: {_full_name(other)} and "
                    f"{_full_name(cls)}. Rename one of them"
                )
    return Installed(dict(sorted(found.items())), broken)


def discover() -> dict[str, type[Method]]:
    """All methods by name, without those in modules that do not import; see `installed`."""
    return installed().methods


def registered() -> dict[str, str]:
    """The paths (`module:Class`) of all registered methods, by name. A module that does not import
    is passed over: nothing of it can be used here, and `spolia methods` says why.
    """
    found: dict[str, str] = {}
    for entry in _entries():
        for cls in _importable(entry.value):
            found.setdefault(cls.name, f"{cls.__module__}:{cls.__qualname__}")
    return found


def _entries() -> tuple[EntryPoint, ...]:
    """The entry points of the group. They stand in a file for each installed distribution, and to
    read those takes longer than to plan a small sweep: once, until a folder of Python's path is
    another or has changed.
    """
    path = tuple((folder, _last_change(folder)) for folder in sys.path)
    return _entries_on(path, importlib.metadata.entry_points)


@lru_cache(maxsize=4)
def _entries_on(
    path: tuple[tuple[str, int], ...], read: Callable[..., Any]
) -> tuple[EntryPoint, ...]:
    return tuple(read(group=GROUP))


def _last_change(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:  # nothing there; Python passes over it, too
        return 0


@lru_cache(maxsize=64)
def _importable(package: str) -> tuple[type[Method], ...]:
    try:
        return tuple(looked_through(package)[0])
    except MethodError:  # hidden by somebody else's package
        return ()


def looked_through(package: str) -> tuple[list[type[Method]], dict[str, str]]:
    """The methods that a package's modules define, in packages within it too, and the modules that
    cannot be imported, with the reason. Modules and packages whose name starts with an underscore
    are passed over. Raises MethodError where another package hides one of ours.
    """
    modules: list[ModuleType] = []
    broken: dict[str, str] = {}
    for name, module in modules_below(package):
        if isinstance(module, ModuleType):
            modules.append(module)
        else:
            broken[name] = _told(name, package, module)
    # Not an ImportError: a project's own `methods/` imports well, and has none of ours.
    hides = hidden(package.partition(".")[0])
    if hides is not None:
        raise MethodError(f"the methods of {package!r} are not to be had. {hides}")
    methods = [
        value
        for module in modules
        for value in vars(module).values()
        if is_method(value) and value.__module__ == module.__name__
    ]
    return methods, broken


def methods_in(package: str) -> list[type[Method]]:
    """The methods that a package's modules define; see `looked_through`. Raises MethodError where
    one of them cannot be imported.
    """
    methods, broken = looked_through(package)
    for reason in broken.values():
        raise MethodError(reason)
    return methods


def modules_below(name: str) -> Iterator[tuple[str, ModuleType | BaseException]]:
    """A module, and where it is a package every module in it, packages before what is in them; in
    place of a module that does not import, what it raised.
    """
    try:
        module = importlib.import_module(name)
    # Somebody else's code, whatever it raises; that it ends the program, too.
    except (Exception, SystemExit) as error:
        yield name, error
        return
    yield name, module
    for found in pkgutil.iter_modules(getattr(module, "__path__", ()), name + "."):
        if not found.name.rpartition(".")[2].startswith("_"):
            yield from modules_below(found.name)


def _told(name: str, package: str, error: BaseException) -> str:
    """Why a module cannot be imported, and where: its own line, not those of the import system."""
    if isinstance(error, SyntaxError):
        lines = [f"{error.filename}, line {error.lineno}"]
    else:
        places = traceback.extract_tb(error.__traceback__)
        own = [place for place in places if not place.filename.startswith("<frozen")]
        lines = [
            f"{place.filename}, line {place.lineno}" for place in own if place.name == "<module>"
        ]
    where = f" ({lines[-1]})" if lines else ""
    what = "the package" if name == package else "the module"
    reason = error.msg if isinstance(error, SyntaxError) else str(error)
    return (
        f"{what} {name!r} of the entry-point group {GROUP!r} cannot be imported: "
        f"{type(error).__name__}: {reason}{where}"
    )


def is_method(value: Any) -> bool:
    """Whether a value is the class of a method, and no base of methods."""
    return inspect.isclass(value) and issubclass(value, Method) and bool(value.name)


def _full_name(cls: type[Method]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
