"""What made a result: the modules whose code computes the bits of a trial, each by a digest.

Two versions of a file that differ in comments, docstrings or layout have one digest. What only
plans, hands out, shows or tracks is not among the modules, so that work on it makes nothing stale.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from orchestrator.spec.canonical import digest
from orchestrator.spec.classes import is_of_a_distribution, is_of_a_study
from orchestrator.spec.naming import class_paths
from orchestrator.spec.trial import Trial
from orchestrator.store.source import Import, Source, keep_read, read_source

OURS = ("orchestrator", "methods")
ENGINE = "orchestrator.training.execute"  # what it imports, directly or not, runs a trial
INSTALLED = {"site-packages", "dist-packages"}  # folders of packages that were installed
NAMED = 3  # modules that a message names
ROOMS_WITHOUT_BITS = (
    "analysis",
    "cli",
    "executors",
    "planning",
    "session",
    "store",
    "testing",
    "tracking",
)
MODULES_WITHOUT_BITS = frozenset(
    {
        "orchestrator",
        "orchestrator.errors",
        "orchestrator.parts.export",
        "orchestrator.spec.claim",
        "orchestrator.spec.grid",
        "orchestrator.spec.labels",
        "orchestrator.spec.method_grid",
        "orchestrator.spec.registry",
        "orchestrator.spec.sweep",
        "orchestrator.spec.wording",
        "orchestrator.training.local",
        "orchestrator.training.observation",
        "orchestrator.training.outcome",
        "orchestrator.training.provenance",
    }
)


@dataclass(frozen=True)
class Code:
    """The modules that compute the bits of a trial: digests (16 hex digits) by module name."""

    modules: Mapping[str, str]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all of it (64 hex digits)."""
        return digest(dict(self.modules))

    def differences(self, other: Mapping[str, str]) -> list[str]:
        """Names of the modules that only one side has, or that have another digest there."""
        names = {*self.modules, *other}
        return sorted(name for name in names if self.modules.get(name) != other.get(name))


def code_of(trial: Trial) -> Code:
    """The code that computes a trial's bits: engine, data and parts, and the classes of its method
    and network (those among its settings, too) with what they import of their own packages and of
    ours. Needs have records, and so code, of their own.
    """
    return code_in_use(class_paths(trial))


@lru_cache(maxsize=1024)
def code_in_use(paths: tuple[str, ...]) -> Code:
    """`code_behind`, read once a process: a process computes with what it has imported, whatever
    becomes of the files meanwhile.
    """
    return code_behind(paths)


def code_behind(paths: Iterable[str]) -> Code:
    """The code behind classes named by `module:Class`; see `code_of`."""
    modules = _Walk().through([ENGINE, *(path.partition(":")[0] for path in paths)])
    keep_read()
    return Code(dict(sorted(modules.items())))


@lru_cache(maxsize=1024)
def own_files(paths: tuple[str, ...]) -> Mapping[str, str]:
    """Files, by module, of classes that belong to no installed package: those of modules beside a
    sweep, or anywhere else that Python looks. Such a module's name is a weak one, since another
    folder may have another module of that name.
    """
    files = {}
    for module in {path.partition(":")[0] for path in paths}:
        file = None if is_of_a_distribution(module.partition(".")[0]) else _source_file(module)
        if file is not None and not INSTALLED & {*file.parts}:
            files[module] = str(file.resolve())
    return files


def listed(modules: Collection[str]) -> str:
    """Names of modules, shortened where they are many."""
    names = sorted(modules)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def is_without_bits(module: str) -> bool:
    """Whether a module of ours has no part in the bits of a trial."""
    top, _, rest = module.partition(".")
    in_room = top == "orchestrator" and rest.partition(".")[0] in ROOMS_WITHOUT_BITS
    return in_room or module in MODULES_WITHOUT_BITS


# ---------------------------------------------------------------------- what files import


class _Walk:
    """One walk from module to module through what they import. Where a module lies is looked up
    once in it.
    """

    def __init__(self) -> None:
        self._files: dict[str, Path | None] = {}  # by module
        self._of_studies: dict[str, bool] = {}  # by top-level package

    def through(self, waiting: list[str]) -> dict[str, str]:
        """The digests of these modules and of all that they import, directly or not, by name."""
        # Depth first; `found` is also what keeps a circle from going on for ever.
        found: dict[str, str] = {}
        while waiting:
            name = waiting.pop()
            if name in found or is_without_bits(name):
                continue
            file = self._file(name)
            if file is None:  # built in, an extension, or a namespace: nothing of it can be read
                continue
            source = _source(file)
            # What leading dots are counted from.
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            found[name] = source.digest
            waiting += sorted(self._imports(source, package or name))
        return found

    def _imports(self, source: Source, package: str) -> set[str]:
        """Modules that a file imports anywhere as it runs, of those that are followed. A name that
        a package's `__init__` only passes on stands for the module that defines it, never for the
        whole package.
        """
        own = package.partition(".")[0]
        found: set[str] = set()
        for statement in source.imports:
            if self._is_followed(statement.module, own):
                found |= self._behind_attributes(statement)
        for brought in source.froms:
            origin = brought.origin(package)
            if brought.runs and self._is_followed(origin, own):
                for name, _ in brought.names:
                    found |= self._behind(origin, name)
        return found

    def _is_followed(self, module: str, own: str) -> bool:
        """Whether an imported module may hold code of the trial: one of ours, of the importer's own
        top package, of another known package, or beside the sweep. Never what is just installed.
        """
        top = module.partition(".")[0]
        if top not in self._of_studies:
            self._of_studies[top] = is_of_a_study(top)
        return top in (*OURS, own) or self._of_studies[top]

    def _behind(self, origin: str, name: str) -> set[str]:
        """The module that `from origin import name` takes its name from."""
        # A module of the package, not a name in its `__init__`.
        if self._file(f"{origin}.{name}") is not None:
            return {f"{origin}.{name}"}
        file = self._file(origin)
        if file is None or file.name != "__init__.py" or name == "*":
            return {origin}
        # What is there for type checkers is followed, too: it loads late.
        passed_on = _source(file).passed_on
        if name not in passed_on:
            return {origin}
        statement, there = passed_on[name]
        return self._behind(statement.origin(origin), there)

    def _behind_attributes(self, statement: Import) -> set[str]:
        """Modules behind `import package`: those that define the names that are taken from it."""
        file = self._file(statement.module)
        if file is None or file.name != "__init__.py":
            return {statement.module}
        found: set[str] = set()
        for name in statement.names:
            found |= self._behind(statement.module, name)
        return found or {statement.module}

    def _file(self, module: str) -> Path | None:
        if module not in self._files:
            self._files[module] = _source_file(module)
        return self._files[module]


def _source(file: Path) -> Source:
    """What a file says; by time and size, an unchanged file is read once a process."""
    status = file.stat()
    return _read(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2048)
def _read(file: Path, changed: int, size: int) -> Source:
    return read_source(file.read_bytes())


def _source_file(module: str) -> Path | None:
    """The Python file of a module that can be imported, or None."""
    top = module.partition(".")[0]
    try:
        if top not in OURS and importlib.util.find_spec(top) is None:
            return None
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)
