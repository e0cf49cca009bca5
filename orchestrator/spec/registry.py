"""Which methods exist, found through the entry-point group `spolia.methods`; and the digest of a
method's sources.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
from functools import lru_cache
from pathlib import Path

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


@lru_cache(maxsize=256)
def sources_digest(cls: type[Method]) -> str:
    """SHA-256 over the source of a method's module and of all modules of the same top package that
    it imports, directly or not.
    """
    sha = hashlib.sha256()
    for name, path in sorted(_sources(cls.__module__).items()):
        sha.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()


def _sources(module: str) -> dict[str, Path]:
    top = module.partition(".")[0]
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        spec = importlib.util.find_spec(name) if name not in found and name != "__main__" else None
        if spec is None or not spec.origin or not spec.origin.endswith(".py"):
            continue
        found[name] = Path(spec.origin)
        for node in ast.walk(ast.parse(found[name].read_bytes())):
            imported = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
            waiting += [i for i in imported if i.partition(".")[0] == top and _is_module(i)]
    return found


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False
