"""Which methods there are: those in packages that are named by the entry-point group
`spolia.methods`, ours and those of others.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

from orchestrator.errors import MethodError
from orchestrator.spec.method import Method
from orchestrator.spec.shadowing import hidden

GROUP = "spolia.methods"


def discover() -> dict[str, type[Method]]:
    """All methods by name. Raises MethodError where two have one name, and where a package does not
    import or is hidden by another of its name.
    """
    found: dict[str, type[Method]] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        for cls in methods_in(entry.value):
            other = found.setdefault(cls.name, cls)  # one class may be found twice, in two entries
            if other is not cls:
                raise MethodError(
                    f"two methods are called {cls.name!r}: {_full_name(other)} and "
                    f"{_full_name(cls)}. Rename one of them"
                )
    return dict(sorted(found.items()))


def registered() -> dict[str, str]:
    """The paths (`module:Class`) of all registered methods, by name. A package that does not import
    is passed over: nothing of it can be used here, and `spolia methods` says why.
    """
    found: dict[str, str] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        for cls in _importable(entry.value):
            found.setdefault(cls.name, f"{cls.__module__}:{cls.__qualname__}")
    return found


@lru_cache(maxsize=64)
def _importable(package: str) -> tuple[type[Method], ...]:
    try:
        return tuple(methods_in(package))
    except Exception:  # somebody else's code: whatever it raises
        return ()


def methods_in(package: str) -> list[type[Method]]:
    """The methods that a package's modules define, in packages within it too. Modules and packages
    whose name starts with an underscore are passed over.
    """
    try:
        modules = list(_modules_below(package))
    except ImportError as error:
        raise MethodError(
            f"the package {package!r} of the entry-point group {GROUP!r} cannot be imported: "
            f"{error}"
        ) from error
    # Not an ImportError: a project's own `methods/` imports well, and has none of ours.
    hides = hidden(package.partition(".")[0])
    if hides is not None:
        raise MethodError(f"the methods of {package!r} are not to be had. {hides}")
    return [
        value
        for module in modules
        for value in vars(module).values()
        if _is_method(value) and value.__module__ == module.__name__
    ]


def _modules_below(name: str) -> Iterator[ModuleType]:
    """A module, and where it is a package every module in it, packages before what is in them."""
    module = importlib.import_module(name)
    yield module
    for found in pkgutil.iter_modules(getattr(module, "__path__", ()), name + "."):
        if not found.name.rpartition(".")[2].startswith("_"):
            yield from _modules_below(found.name)


def _is_method(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, Method) and bool(value.name)


def _full_name(cls: type[Method]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
