"""The one door through which classes are loaded that a record, a trial or a setting names.

A store, a record or a model in MLflow may come from somebody else. What it names is loaded only
from packages that are known here, and nothing is called before it is known to be a class of the
kind that was asked for.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from orchestrator.errors import PlanError

GROUP = "spolia.methods"
VARIABLE = "SPOLIA_PACKAGES"  # further packages that may be loaded from, with commas between them
OURS = ("orchestrator", "methods")

Kind = TypeVar("Kind")

_folders: set[Path] = set()


def class_at(path: str, kind: type[Kind]) -> type[Kind]:
    """The class that `module:Class` names.

    Raises PlanError where the module may not be loaded from, where it cannot be imported or does
    not define the class, and where the class is no `kind`. Nothing of the class is called.

    Example:
        >>> from orchestrator import Method
        >>> class_at("methods.fine_tune:FineTune", Method).name
        'fine_tune'
    """
    module_name, _, name = path.partition(":")
    if module_name == "__main__":
        raise PlanError(f"{path} is defined in a notebook or a script. {_way_out(name)}")
    if not may_load_from(module_name):
        raise PlanError(
            f"{path} is not loaded: {module_name.partition('.')[0]!r} is none of the packages that "
            f"entry points of the group {GROUP!r} name, and no module beside the sweep. Where you "
            f"trust it, import it first, or list it in the site file: packages = [...]"
        )
    try:
        module = importlib.import_module(module_name)
        found = _defined(module, name)
    except (ImportError, KeyError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise PlanError(f"{path} cannot be imported: {reason}. {_way_out(name)}") from error
    if not (inspect.isclass(found) and issubclass(found, kind)):
        raise PlanError(f"{path} is not a {kind.__name__}; it is not called")
    return found


def may_load_from(module: str) -> bool:
    """Whether classes may be loaded from a module: it is imported already, its package is ours or
    an entry point's, the site allows it, or it lies beside the sweep.
    """
    top = module.partition(".")[0]
    return module in sys.modules or top in known_packages() or _lies_beside_a_sweep(top)


def known_packages() -> frozenset[str]:
    """Top-level packages that classes may be loaded from."""
    listed = os.environ.get(VARIABLE, "").split(",")
    return frozenset({*OURS, *_of_entry_points(), *(name.strip() for name in listed if name)})


def allow_folder(folder: Path) -> None:
    """Let modules of a folder be imported and loaded from: the one in which a sweep file lies."""
    resolved = folder.resolve()
    _folders.add(resolved)
    if str(resolved) not in sys.path:
        sys.path.append(str(resolved))


@lru_cache(maxsize=1)
def _of_entry_points() -> frozenset[str]:
    entries = importlib.metadata.entry_points(group=GROUP)
    return frozenset(entry.value.partition(":")[0].partition(".")[0] for entry in entries)


def _lies_beside_a_sweep(top: str) -> bool:
    if not _folders:
        return False
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    if spec is None or not spec.origin:
        return False
    return any(Path(spec.origin).resolve().is_relative_to(folder) for folder in _folders)


def _defined(module: ModuleType, name: str) -> Any:
    """What a dotted name stands for, looked up without running any code on the way. Raises
    KeyError.
    """
    found: Any = module
    for part in name.split("."):
        found = vars(found)[part]
    return found


def _way_out(name: str) -> str:
    return (
        f"Workers import classes by module: put {name or 'it'} into a module beside the sweep "
        f"file, or into an installed package"
    )
