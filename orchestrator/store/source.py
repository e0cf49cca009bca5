"""One file of Python: the digest of its code, and what it imports. Both follow from the bytes of
the file alone, so they are kept by the hash of these in a cache that all processes share.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from orchestrator.errors import StoreError
from orchestrator.store.files import Folder, cache_folder

FOR_TYPES = ("TYPE_CHECKING", "typing.TYPE_CHECKING")  # what follows such an `if` never runs
PASSING_ON = (  # statements of an `__init__` that change nothing for anybody else
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.AnnAssign,
    ast.Pass,
)
MOST_KEPT = 2_000  # files in the cache, of some kilobytes each


@dataclass(frozen=True)
class Import:
    """`import module as alias`; without an alias, that is empty."""

    module: str
    alias: str


@dataclass(frozen=True)
class From:
    """`from ..module import name as alias`: the leading dots, the module, pairs of name and alias,
    and whether this ever runs, or is for type checkers.
    """

    level: int
    module: str
    names: tuple[tuple[str, str], ...]
    runs: bool

    def origin(self, package: str) -> str:
        """The module after `from`, with the dots of a file in a package resolved."""
        if not self.level:
            return self.module
        above = package.split(".")[: len(package.split(".")) - self.level + 1]
        return ".".join([*above, *([self.module] if self.module else [])])


@dataclass(frozen=True)
class Source:
    """What is read off one file: the digest of its code (16 hex digits), the same for versions that
    differ in comments, docstrings or layout; of `imports` those that run, of `froms` all; `taken`,
    the attributes that the file takes from what it imports, by its name (`nets`, `a.b`); and
    whether it `acts`: does more than import, define and give names to values.
    """

    digest: str
    imports: tuple[Import, ...] = ()
    froms: tuple[From, ...] = ()
    taken: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    acts: bool = False

    def to_json(self) -> list[Any]:
        """Nested lists, as they are in the cache."""
        imports = [[one.module, one.alias] for one in self.imports]
        froms = [[one.level, one.module, one.names, one.runs] for one in self.froms]
        return [self.digest, imports, froms, dict(self.taken), self.acts]

    @staticmethod
    def from_json(value: list[Any]) -> Source:
        """A source from its `to_json()`."""
        digest, imports, froms, taken, acts = value
        return Source(
            digest,
            tuple(Import(module, alias) for module, alias in imports),
            tuple(
                From(level, module, tuple(map(tuple, names)), runs)
                for level, module, names, runs in froms
            ),
            {name: tuple(attributes) for name, attributes in taken.items()},
            acts,
        )


def source_of(file: Path) -> Source:
    """What a file says. By time and size, an unchanged file is read once a process."""
    status = file.stat()
    return _read(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2048)
def _read(file: Path, changed: int, size: int) -> Source:
    return read_source(file.read_bytes())


def read_source(content: bytes) -> Source:
    """What the bytes of a file say."""
    name = hashlib.sha256(content).hexdigest()
    cache = _cache(_folder())
    known = cache.sources.get(name)
    if known is not None:
        return Source.from_json(known)
    source = parsed(content)
    cache.add(name, source)
    return source


def keep_read() -> None:
    """Write what was parsed since the last call to the cache, for other processes."""
    _cache(_folder()).write()


# ---------------------------------------------------------------------- reading a syntax tree


def parsed(content: bytes) -> Source:
    """The same as `read_source`, always from the syntax tree."""
    try:
        tree = ast.parse(content)
    # Written for another Python, and imported where that one runs: here it only counts as it is.
    except (SyntaxError, ValueError):
        return Source(hashlib.sha256(content).hexdigest()[:16])
    sha = hashlib.sha256()
    for piece in _canonical(tree):
        sha.update(piece.encode(errors="surrogatepass") + b"\0")
    running = {id(node) for node in _as_it_runs(tree)}
    imports, froms = [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) in running:
            imports += [Import(alias.name, alias.asname or "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple((alias.name, alias.asname or alias.name) for alias in node.names)
            froms.append(From(node.level, node.module or "", names, id(node) in running))
    taken = _taken(tree, {name for one in imports for name in names_given(one)})
    return Source(sha.hexdigest()[:16], tuple(imports), tuple(froms), taken, _acts(tree.body))


def names_given(statement: Import) -> dict[str, str]:
    """The names that an import gives to modules: `import a.b` gives `a` and `a.b`."""
    if statement.alias:
        return {statement.alias: statement.module}
    parts = statement.module.split(".")
    reached = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return {name: name for name in reached}


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


def _as_it_runs(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and _dotted(node.test) in FOR_TYPES:
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _taken(tree: ast.Module, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The attributes that a file takes from each of these names: `nets.small_vgg`."""
    taken: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = _dotted(node.value)
            if name in names:
                taken.setdefault(str(name), set()).add(node.attr)
    return {name: tuple(sorted(attributes)) for name, attributes in taken.items()}


def _acts(body: Iterable[ast.stmt]) -> bool:
    """Whether statements do anything but import, define and give names to values."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            inside = [*node.body, *node.orelse]
            if isinstance(node, ast.Try):
                inside += [*node.finalbody, *(one for h in node.handlers for one in h.body)]
            if _acts(inside):
                return True
        elif isinstance(node, ast.Expr):
            if not isinstance(node.value, ast.Constant):
                return True
        elif isinstance(node, ast.Assign):
            if not all(isinstance(target, ast.Name) for target in node.targets):
                return True
        elif not isinstance(node, PASSING_ON):
            return True
    return False


def _dotted(node: ast.AST) -> str | None:
    """A name with dots, such as `typing.TYPE_CHECKING`; None for any other expression."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else None


# ---------------------------------------------------------------------- the cache


class _Cache:
    """Sources by the SHA-256 of their files' bytes, as JSON in one file of a folder.

    A file that is not what some process wrote counts as none. Each writer replaces the file in one
    step; of two at once, what one has added may be lost, and is parsed again.
    """

    def __init__(self, folder: Path | None) -> None:
        self._files = Folder(folder) if folder else None
        # By what reads (this file) and by the version of Python, whose syntax trees differ.
        reader = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
        self._path = f"code/python{sys.version_info[0]}.{sys.version_info[1]}-{reader}.json"
        self.sources = self._read()
        self._is_new = False

    def add(self, name: str, source: Source) -> None:
        """Keep a source in this process, and for the next `write`."""
        self.sources[name] = source.to_json()
        self._is_new = True

    def write(self) -> None:
        """Write what was added since the last time, if anything."""
        if self._files is None or not self._is_new:
            return
        self._is_new = False
        sources = {**self._read(), **self.sources}  # others may have written meanwhile
        kept = dict(list(sources.items())[-MOST_KEPT:])
        content = json.dumps(kept, separators=(",", ":")).encode()
        with contextlib.suppress(StoreError):  # a full or read-only cache only costs time
            self._files.publish(self._path, _seal(content) + content, replace=True)

    def _read(self) -> dict[str, Any]:
        """What is in the file, or nothing where it is not whole."""
        stored = b""
        if self._files is not None:
            with contextlib.suppress(StoreError):
                stored = self._files.read(self._path) or b""
        seal, content = stored[:65], stored[65:]
        return dict(json.loads(content)) if content and seal == _seal(content) else {}


@lru_cache(maxsize=4)
def _cache(folder: Path | None) -> _Cache:
    return _Cache(folder)


def _folder() -> Path | None:
    """Where the cache lies, or None for a user without a home."""
    try:
        return cache_folder()
    except RuntimeError:
        return None


def _seal(content: bytes) -> bytes:
    """A line with the SHA-256 of what follows it, by which a torn or altered file is known."""
    return hashlib.sha256(content).hexdigest().encode() + b"\n"
