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
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NewType, TypeVar

from orchestrator.errors import PlanError
from orchestrator.spec.shadowing import shadowing

GROUP = "spolia.methods"
# Both are variables of the environment, so that workers and other processes inherit them.
VARIABLE = "SPOLIA_PACKAGES"  # further packages that may be loaded from, with commas between them
FOLDERS = "SPOLIA_SWEEP_FOLDERS"  # folders of sweep files, separated as in PATH
OURS = ("orchestrator", "methods")
SWEEP_MODULE = "_sweep_"  # begins the name of a module that was made of a sweep file

Kind = TypeVar("Kind")

ClassPath = NewType("ClassPath", str)
"""The type of an argument of a network that names the class of another network which it is made of,
as `module:Class`: `def __init__(self, *, of: ClassPath, ...)`. What is declared so is followed:
edits of that class are seen, and its name must stand for one class.
"""

_CLASS_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def class_at(path: str, kind: type[Kind]) -> type[Kind]:
    """The class that `module:Class` names.

    Raises PlanError where the module may not be loaded from, where it cannot be imported or does
    not define the class, and where the class is no `kind`. Nothing of the class is called.

    Example:
        >>> from orchestrator import Method
        >>> class_at("methods.fine_tune:FineTune", Method).name
        'fine_tune'
    """
    home = homeless(path)
    if home is not None:
        raise PlanError(home)
    module_name = path.partition(":")[0]
    _find_modules_beside_sweeps()
    if not may_load_from(module_name):
        raise PlanError(
            f"{path} is not loaded: {module_name.partition('.')[0]!r} is none of the packages that "
            f"entry points of the group {GROUP!r} name, and no module beside the sweep. Where you "
            f"trust it, import it first, or list it in the site file: packages = [...]"
        )
    found = _defined(_imported(module_name, path), path)
    if not (inspect.isclass(found) and issubclass(found, kind)):
        raise PlanError(f"{path} is not a {kind.__name__}; it is not called")
    for paths in _NOTED.get():
        paths.add(path)
    return found


# Where the paths of classes are noted that are loaded meanwhile: the innermost `noted_loads` last.
_NOTED: ContextVar[tuple[set[str], ...]] = ContextVar("noted", default=())


@contextmanager
def noted_loads() -> Iterator[set[str]]:
    """Paths of the classes that are loaded within, as `class_at` is asked for them."""
    paths: set[str] = set()
    token = _NOTED.set((*_NOTED.get(), paths))
    try:
        yield paths
    finally:
        _NOTED.reset(token)


def homeless(path: str) -> str | None:
    """Why a class that is defined in a notebook, a script or a sweep file cannot be used, with the
    way out; None for a class of any other module. A pure function of the path.
    """
    module, _, name = path.partition(":")
    # A package's own `__main__` is a program, too: to import it is to run it.
    if module.rpartition(".")[2] in ("__main__", "__mp_main__"):
        return f"{path} is defined in a notebook or a script. {_way_out(name)}"
    if module.startswith(SWEEP_MODULE):
        return f"{name} is defined in the sweep file itself. {_way_out(name)}"
    return None


def is_class_path(value: object) -> bool:
    """Whether a value has the form `module:Class`. What a text means is told by where it stands and
    never by its form: this says whether it could stand for a class.
    """
    return isinstance(value, str) and _CLASS_PATH.fullmatch(value) is not None


def may_load_from(module: str) -> bool:
    """Whether classes may be loaded from a module: it is imported already, its package is ours or
    an entry point's, the site allows it, or it lies beside the sweep.
    """
    return module in sys.modules or is_of_a_study(module.partition(".")[0])


def is_of_a_study(top: str) -> bool:
    """Whether a top-level package or module is known here or lies beside the sweep."""
    return top in known_packages() or _lies_beside_a_sweep(top)


def is_of_a_distribution(top: str) -> bool:
    """Whether a top-level package is ours or an entry point's, so that its name is taken for it
    wherever it lies.
    """
    return top in OURS or top in _of_entry_points()


def known_packages() -> frozenset[str]:
    """Top-level packages that classes may be loaded from."""
    listed = os.environ.get(VARIABLE, "").split(",")
    return frozenset({*OURS, *_of_entry_points(), *(name.strip() for name in listed if name)})


def packages_of(paths: Iterable[str]) -> str:
    """A value for the variable of packages that allows those of these classes, too: what a driver
    that has imported them tells its workers.
    """
    listed = os.environ.get(VARIABLE, "").split(",")
    tops = {path.partition(".")[0].partition(":")[0] for path in paths}
    return ",".join(sorted({*filter(None, listed), *tops}))


def allow_folder(folder: Path) -> None:
    """Let modules that lie in a folder be imported and loaded from: the folder of a sweep file.
    They are found before those of folders that were allowed earlier. Workers and other processes
    that inherit the environment may load them, too.
    """
    folders = [folder.resolve(), *_folders_of_sweeps()]
    os.environ[FOLDERS] = os.pathsep.join(map(str, dict.fromkeys(folders)))
    _find_modules_beside_sweeps()


def of_another_sweep(module: str, folder: Path) -> Path | None:
    """The file of an imported top-level module that lies beside another sweep, while a module of
    that name lies in this folder and is hidden by it; None where that is not so.
    """
    here = folder.resolve()
    if not ((here / f"{module}.py").is_file() or (here / module / "__init__.py").is_file()):
        return None
    imported = getattr(sys.modules.get(module), "__file__", None)
    home = _folder_of(Path(imported).resolve()) if imported else here
    return Path(str(imported)) if home != here and home in _folders_of_sweeps() else None


def _folder_of(file: Path) -> Path:
    """The folder that a top-level module lies in, be it a file or a package."""
    return file.parent.parent if file.name == "__init__.py" else file.parent


def _folders_of_sweeps() -> list[Path]:
    return [Path(name) for name in os.environ.get(FOLDERS, "").split(os.pathsep) if name]


class _BesideSweeps(MetaPathFinder):
    """Finds modules in the folders of sweeps, when nobody else has found them: a folder `methods`
    in somebody's project hides nothing, even where Spolia itself is found by such a hook.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None:  # within a package, which knows its own folder
            return None
        return PathFinder.find_spec(fullname, [str(folder) for folder in _folders_of_sweeps()])


def _find_modules_beside_sweeps() -> None:
    if not any(isinstance(finder, _BesideSweeps) for finder in sys.meta_path):
        sys.meta_path.append(_BesideSweeps())


@lru_cache(maxsize=1)
def _of_entry_points() -> frozenset[str]:
    entries = importlib.metadata.entry_points(group=GROUP)
    return frozenset(entry.value.partition(":")[0].partition(".")[0] for entry in entries)


def _lies_beside_a_sweep(top: str) -> bool:
    folders = _folders_of_sweeps()
    if not folders:
        return False
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    if spec is None or not spec.origin:
        return False
    file = Path(spec.origin).resolve()
    # In the folder itself, not deeper: a virtual environment may lie there, too.
    return _folder_of(file) in folders


def _imported(module: str, path: str) -> ModuleType:
    """The module of a class. Raises PlanError with what went wrong while it was imported."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        hidden = shadowing(error)
        hint = hidden or _way_out(path.partition(":")[2])
        raise PlanError(f"{path} cannot be imported: {error}. {hint}") from error
    except (Exception, SystemExit) as error:  # a script ends this process when it is imported
        raise PlanError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error


def _defined(module: ModuleType, path: str) -> Any:
    """What the name of a class stands for, looked up without running any code on the way. Raises
    PlanError.
    """
    found: Any = module
    name = path.partition(":")[2]
    for part in name.split("."):
        inside = getattr(found, "__dict__", {}) if isinstance(found, type | ModuleType) else {}
        if part not in inside:
            raise PlanError(f"{path} cannot be imported: it has no {part!r}. {_way_out(name)}")
        found = inside[part]
    return found


def _way_out(name: str) -> str:
    return (
        f"Workers import classes by module: put {name or 'it'} into a module beside the sweep "
        f"file, or into an installed package"
    )
