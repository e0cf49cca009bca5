"""Which modules a file of Python imports: of those whose code may be a trial's, and each name
followed to the module that defines it.
"""

from __future__ import annotations

import importlib.util
import sysconfig
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path

from orchestrator.spec.classes import OURS, is_of_a_distribution
from orchestrator.store.source import Import, Source, names_given, source_of

INSTALLED = {"site-packages", "dist-packages"}  # folders of packages that were installed
# Not by the names of its modules: somebody's own `statistics.py` may hide the standard one.
STANDARD = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}


class Imports:
    """Follows what files import. Where a module lies, and whether it is followed, is looked up
    once.
    """

    def __init__(self) -> None:
        self._files: dict[str, Path | None] = {}  # by module
        self._followed: dict[str, bool] = {}  # by top-level package

    def of(self, source: Source, package: str) -> set[str]:
        """Modules that a file in a package imports anywhere as it runs, of those that are followed.
        A name that a package's `__init__` only passes on stands for the module that defines it,
        never for the whole package.
        """
        own = package.partition(".")[0]
        found: set[str] = set()
        for statement in source.imports:
            if self._is_followed(statement.module, own):
                found |= self._behind_attributes(source, statement)
        for brought in source.froms:
            origin = brought.origin(package)
            if brought.runs and self._is_followed(origin, own):
                for name, _ in brought.names:
                    found |= self._behind(origin, name)
        return found

    def packages_that_act(self, module: str) -> list[str]:
        """The packages around a module whose `__init__`, which is executed before it, does more
        than pass names on: it may change what others compute.
        """
        parts = module.split(".")
        packages = [".".join(parts[:count]) for count in range(1, len(parts))]
        files = {package: self.file(package) for package in packages}
        return [name for name, file in files.items() if file and source_of(file).acts]

    def file(self, module: str) -> Path | None:
        """The Python file of a module that can be imported, or None."""
        if module not in self._files:
            self._files[module] = source_file(module)
        return self._files[module]

    def _is_followed(self, module: str, own: str) -> bool:
        """Whether an imported module may hold code of the trial: one of ours, of the importer's own
        top package, of a package that an entry point names, or of anything else that is not
        installed, beside the sweep or wherever else Python looks.

        What a process trusts to load from is no matter here: that differs between a driver, its
        workers and a notebook, and the code of a trial must not.
        """
        top = module.partition(".")[0]
        if top not in self._followed:
            self._followed[top] = is_of_a_distribution(top) or not is_installed(top)
        return top in (*OURS, own) or self._followed[top]

    def _behind(self, origin: str, name: str) -> set[str]:
        """The module that `from origin import name` takes its name from."""
        # A module of the package, not a name in its `__init__`.
        if self.file(f"{origin}.{name}") is not None:
            return {f"{origin}.{name}"}
        file = self.file(origin)
        if file is None or file.name != "__init__.py" or name == "*":
            return {origin}
        found: set[str] = set()
        # What is there for type checkers is followed, too: it loads late. And so is every place
        # where a name may come from (`except ImportError`): which it is, differs between machines.
        for brought in source_of(file).froms:
            for there, alias in brought.names:
                if alias == name:
                    found |= self._behind(brought.origin(origin), there)
        return found or {origin}

    def _behind_attributes(self, source: Source, statement: Import) -> set[str]:
        """Modules behind `import package` and `import package.module`: those that define the names
        that are taken from it. The second one gives the name of the package, too.
        """
        reached = names_given(Import(statement.module, ""))
        found: set[str] = set()
        for name, module in names_given(statement).items():
            if self._is_package(module):
                for attribute in source.taken.get(name, ()):
                    if f"{module}.{attribute}" not in reached:
                        found |= self._behind(module, attribute)
        is_taken_apart = self._is_package(statement.module) and bool(found)
        return found if is_taken_apart else {*found, statement.module}

    def _is_package(self, module: str) -> bool:
        file = self.file(module)
        return file is not None and file.name == "__init__.py"


def is_installed(top: str) -> bool:
    """Whether a top-level package or module came with Python or was installed: it changes with its
    version and is nobody's to edit. What cannot be found counts as installed.
    """
    spec = _spec_of(top)
    if spec is None or spec.origin in (None, "built-in", "frozen"):
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        return not places or _holds_installed(Path(places[0]).parent)
    file = Path(str(spec.origin))
    is_package = spec.submodule_search_locations is not None
    return _holds_installed(file.parent.parent if is_package else file.parent)


@lru_cache(maxsize=256)
def _holds_installed(folder: Path) -> bool:
    """Whether a folder is one that packages are installed in, whatever it is called: installers
    leave what they know of a package beside it.
    """
    home = folder.resolve()
    comes_with_python = bool(STANDARD & {home, *home.parents})
    is_called_so = bool(INSTALLED & {*folder.parts})
    return comes_with_python or is_called_so or any(folder.glob("*.dist-info"))


def source_file(module: str) -> Path | None:
    """The Python file of a module that can be imported, or None."""
    top = module.partition(".")[0]
    if top not in OURS and _spec_of(top) is None:
        return None
    spec = _spec_of(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _spec_of(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    # Asking for a module imports the packages around it: somebody else's code, whatever it raises.
    except Exception:
        return None
