"""One file of Python: the digest of its code, and what it imports. Both follow from the bytes of
the file alone, so they are kept by the hash of these in a cache that all processes share.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from orchestrator.errors import StoreError
from orchestrator.store.files import Folder, cache_folder

FOR_TYPES = ("TYPE_CHECKING", "typing.TYPE_CHECKING")  # what follows such an `if` never runs
MOST_KEPT = 2_000  # files in the cache; some 300 bytes each


@dataclass(frozen=True)
class Import:
    """`import package as name`: the module, what it is called, and which names are taken from it
    anywhere in the file.
    """

    module: str
    called: str
    names: tuple[str, ...]


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
    differ in comments, docstrings or layout, and its imports. Of `imports` those that run; of
    `froms` all.
    """

    digest: str
    imports: tuple[Import, ...]
    froms: tuple[From, ...]

    @cached_property
    def passed_on(self) -> Mapping[str, tuple[From, str]]:
        """For each name that any `from` brings in: which one, and what it is called there."""
        found: dict[str, tuple[From, str]] = {}
        for statement in self.froms:
            for name, alias in statement.names:
                found.setdefault(alias, (statement, name))
        return found

    def to_json(self) -> list[Any]:
        """Nested lists, as they are in the cache."""
        imports = [[one.module, one.called, one.names] for one in self.imports]
        froms = [[one.level, one.module, one.names, one.runs] for one in self.froms]
        return [self.digest, imports, froms]

    @staticmethod
    def from_json(value: list[Any]) -> Source:
        """A source from its `to_json()`."""
        digest, imports, froms = value
        return Source(
            digest,
            tuple(Import(module, called, tuple(names)) for module, called, names in imports),
            tuple(
                From(level, module, tuple(map(tuple, names)), runs)
                for level, module, names, runs in froms
            ),
        )


def read_source(content: bytes) -> Source:
    """What the bytes of a file say. Raises SyntaxError where they are no Python."""
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
    tree = ast.parse(content)
    sha = hashlib.sha256()
    for piece in _canonical(tree):
        sha.update(piece.encode(errors="surrogatepass") + b"\0")
    running = {id(node) for node in _as_it_runs(tree)}
    imports, froms = [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) in running:
            for alias in node.names:
                called = alias.asname or alias.name
                imports.append(Import(alias.name, called, _names_taken(tree, called)))
        elif isinstance(node, ast.ImportFrom):
            names = tuple((alias.name, alias.asname or alias.name) for alias in node.names)
            froms.append(From(node.level, node.module or "", names, id(node) in running))
    return Source(sha.hexdigest()[:16], tuple(imports), tuple(froms))


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


def _names_taken(tree: ast.Module, called: str) -> tuple[str, ...]:
    """Names that a file takes from a module by what it is called there: `nets.small_vgg`."""
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return tuple(sorted({node.attr for node in attributes if _dotted(node.value) == called}))


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
