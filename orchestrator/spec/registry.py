"""Which methods exist, found through the entry-point group `spolia.methods`; and the digest of a
method's sources.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil

from orchestrator.errors import MethodError
from orchestrator.spec.method import Method

GROUP = "spolia.methods"


def discover() -> dict[str, type[Method]]:
    """All methods by name. Raises MethodError where two have one name, or where a package does not
    import.
    """
    found: dict[str, type[Method]] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        for cls in methods_in(entry.value):
            other = found.setdefault(cls.name, cls)
            if other is not cls:
                raise MethodError(
                    f"two methods are called {cls.name!r}: {_place(other)} and {_place(cls)}. Rename one of them"
                )
    return dict(sorted(found.items()))


def methods_in(package: str) -> list[type[Method]]:
    """The methods that a package's modules define; modules whose name starts with an underscore
    hold shared pieces and are passed over.
    """
    try:
        top = importlib.import_module(package)
        names = [
            m.name
            for m in pkgutil.iter_modules(getattr(top, "__path__", []), package + ".")
            if not m.name.rsplit(".", 1)[-1].startswith("_")
        ]
        modules = [top, *(importlib.import_module(name) for name in names)]
    except ImportError as error:
        raise MethodError(
            f"the package {package!r} of the entry-point group {GROUP!r} cannot be imported: {error}"
        ) from error
    return [
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Method)
        and value.name
        and value.__module__ == module.__name__
    ]


def _place(cls: type[Method]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
