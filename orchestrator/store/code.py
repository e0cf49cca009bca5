"""What made a result: the modules whose code computes the bits of a trial, each by a digest.

Two versions of a file that differ in comments, docstrings or layout have one digest. What only
plans, hands out, shows or tracks is not among the modules, so that work on it makes nothing stale.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from orchestrator.spec.canonical import digest
from orchestrator.spec.classes import is_of_a_distribution
from orchestrator.spec.naming import class_paths
from orchestrator.spec.trial import Trial
from orchestrator.store.imports import Imports, is_installed, source_file
from orchestrator.store.origin import came_from
from orchestrator.store.source import keep_read, source_of

ENGINE = "orchestrator.training.execute"  # what it imports, directly or not, runs a trial
NAMED = 3  # modules that a message names
ROOMS_WITHOUT_BITS = (
    "analysis",
    "cli",
    "executors",
    "planning",
    "session",
    "store",
    "submission",
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
        "orchestrator.training.attempts",
        "orchestrator.training.faults",
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
    # Depth first through imports; `found` is also what keeps a circle from going on for ever.
    waiting = [ENGINE, *(path.partition(":")[0] for path in paths)]
    found: dict[str, str] = {}
    imports = Imports()
    while waiting:
        name = waiting.pop()
        if name in found or is_without_bits(name):
            continue
        file = imports.file(name)
        if file is None:  # built in, an extension, or a namespace: nothing of it can be read
            continue
        source = source_of(file)
        found[name] = source.digest
        # What leading dots are counted from.
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [*imports.of(source, package or name), *imports.packages_that_act(name)]
    keep_read()
    return Code(dict(sorted(found.items())))


@lru_cache(maxsize=1024)
def own_files(paths: tuple[str, ...]) -> Mapping[str, str]:
    """Files, by module, of classes that belong to no installed package: those of modules beside a
    sweep, or anywhere else that Python looks. Such a module's name is a weak one, since another
    folder may have another module of that name. What was submitted is where it came from.
    """
    files = {}
    for module in {path.partition(":")[0] for path in paths}:
        top = module.partition(".")[0]
        file = None if is_of_a_distribution(top) else source_file(module)
        if file is not None and not is_installed(top):
            files[module] = str(came_from(file.resolve()))
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
