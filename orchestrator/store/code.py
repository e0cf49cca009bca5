"""What made a result: the modules whose code computes the bits of a trial, each by a digest.

Two versions of a file that differ in comments, docstrings or layout have one digest. What only
plans, hands out, shows or tracks is not among the modules, so that work on it makes nothing stale.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from orchestrator.spec.canonical import digest
from orchestrator.spec.classes import is_of_a_distribution, is_of_a_study
from orchestrator.spec.naming import class_paths
from orchestrator.spec.trial import Trial

OURS = ("orchestrator", "methods")
ENGINE = "orchestrator.training.execute"  # what it imports, directly or not, runs a trial
INSTALLED = {"site-packages", "dist-packages"}  # folders of packages that were installed
FOR_TYPES = ("TYPE_CHECKING", "typing.TYPE_CHECKING")  # what follows such an `if` never runs
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
    while waiting:
        name = waiting.pop()
        if name in found or is_without_bits(name):
            continue
        file = _source_file(name)
        if file is None:  # built in, an extension, or a namespace: nothing of it can be read
            continue
        # By time and size: an unchanged file is parsed once.
        read = _read(file, *_stamp(file), name)
        found[name] = read.digest
        waiting += read.imports
    return Code(dict(sorted(found.items())))


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


# ---------------------------------------------------------------------- one file


@dataclass(frozen=True)
class _Source:
    """What is read off one file: the digest of its code, and the modules that it imports."""

    digest: str
    imports: tuple[str, ...]


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=2048)
def _read(file: Path, changed: int, size: int, module: str) -> _Source:
    tree = ast.parse(file.read_bytes())
    # What leading dots are counted from.
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    sha = hashlib.sha256()
    for piece in _canonical(tree):
        sha.update(piece.encode(errors="surrogatepass") + b"\0")
    return _Source(sha.hexdigest()[:16], tuple(sorted(_imports(tree, package or module))))


def _canonical(node: Any) -> Iterator[str]:
    """The syntax tree in pieces of text, without docstrings, positions and what is empty: the same
    for all versions of Python, where fields come and go.
    """
    if isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            # Load or store follows from where a node stands; `kind` is the `u` of a string.
            if value is None or value == [] or name in ("ctx", "kind", "type_comment"):
                continue
            yield name
            yield from _canonical(_what_counts(node, name, value))
    elif isinstance(node, list):
        yield f"[{len(node)}"  # the length: or the end of one list could be the start of the next
        for inner in node:
            yield from _canonical(inner)
    else:
        yield f"{type(node).__name__} {node!r}"


def _what_counts(node: ast.AST, name: str, value: Any) -> Any:
    """The value of a field without what computes nothing: strings that stand by themselves in a
    body, and the empty strings that some versions of Python put into f-strings.
    """
    if name == "body" and isinstance(value, list):
        return [one for one in value if not (isinstance(one, ast.Expr) and _is_text(one.value))]
    if name == "values" and isinstance(node, ast.JoinedStr):
        return [one for one in value if not (_is_text(one) and not one.value)]
    return value


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


# ---------------------------------------------------------------------- what a file imports


def _imports(tree: ast.Module, package: str) -> set[str]:
    """Modules that a file imports anywhere as it runs, of those that are followed. A name that a
    package's `__init__` only passes on stands for the module that defines it, never for the whole
    package.
    """
    own = package.partition(".")[0]
    found: set[str] = set()
    for node in _as_it_runs(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_followed(alias.name, own):
                    found |= _behind_attributes(tree, alias)
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(node, package)
            if _is_followed(origin, own):
                for alias in node.names:
                    found |= _behind(origin, alias.name)
    return found


def _is_followed(module: str, own: str) -> bool:
    """Whether an imported module may hold code of the trial: one of ours, of the importer's own
    top package, of another known package, or beside the sweep. Never what is just installed.
    """
    top = module.partition(".")[0]
    return top in (*OURS, own) or is_of_a_study(top)


def _as_it_runs(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) in FOR_TYPES:
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """The module after `from`, dots resolved."""
    if not node.level:
        return str(node.module)
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _behind(origin: str, name: str) -> set[str]:
    """The module that `from origin import name` takes its name from."""
    # A module of the package, not a name in its `__init__`.
    if _source_file(f"{origin}.{name}") is not None:
        return {f"{origin}.{name}"}
    file = _source_file(origin)
    if file is None or file.name != "__init__.py" or name == "*":
        return {origin}
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):  # what is there for type checkers is followed, too: it loads late
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _behind(_absolute(node, origin), alias.name)
    return {origin}


def _behind_attributes(tree: ast.Module, alias: ast.alias) -> set[str]:
    """Modules behind `import package`: those that define the names that are taken from it."""
    file = _source_file(alias.name)
    if file is None or file.name != "__init__.py":
        return {alias.name}
    called = alias.asname or alias.name
    names = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == called
    }
    found: set[str] = set()
    for name in names:
        found |= _behind(alias.name, name)
    return found or {alias.name}


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
