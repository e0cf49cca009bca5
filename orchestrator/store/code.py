"""What made a result: a digest of the sources of its method."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path

from orchestrator.spec.method import Method


@lru_cache(maxsize=256)
def sources_digest(method: type[Method]) -> str:
    """SHA-256 over the source of a method's module and of all modules of the same top package that
    it imports, directly or not.
    """
    sha = hashlib.sha256()
    for module, path in sorted(_sources(method.__module__).items()):
        sha.update(module.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()


def _sources(module: str) -> dict[str, Path]:
    """The source files of a module and of what it imports from its top package, by module."""
    package = module.partition(".")[0]
    sources: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = None if name in sources else _source(name)
        if path is not None:
            sources[name] = path
            waiting += [i for i in _imports(path) if i.partition(".")[0] == package]
    return sources


def _source(module: str) -> Path | None:
    """The Python file of a module; None for other modules, and for names that are no module."""
    if module == "__main__":
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _imports(path: Path) -> list[str]:
    """What a file may import: for `from a import b` both `a` and `a.b`, which may be a module."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
