"""What made a result: a digest of the sources of its method."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path

from orchestrator.spec.method import Method


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
