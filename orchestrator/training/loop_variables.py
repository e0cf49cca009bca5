"""Variables of a method's own loop that a resumed trial would not have: found while the loop runs
for the first time, so that they are not lost in the one trial in a thousand that is killed.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from orchestrator.errors import MethodError

LARGEST_ARRAY = 10**6  # bytes; what is larger is not compared
DEEPEST = 3  # containers in containers


@dataclass(frozen=True)
class Names:
    """Of a loop's body: names that it sets and that are `carried` on, since they are read behind
    the loop or in the next epoch before they are set again; and names that it only `uses`.
    """

    carried: frozenset[str]
    used: frozenset[str]


class LoopVariables:
    """The variables of the function that runs a loop over `run.epochs`, as they were before it."""

    def __init__(self, frame: FrameType | None, state: Mapping[str, Any]) -> None:
        self._frame = frame
        names = None if frame is None else names_of_loop(frame.f_code, frame.f_lineno)
        self._names = names or Names(frozenset(), frozenset())
        self._safe = frozenset(_ids_of(state.values()))
        self._before = dict(self._prints())

    def _prints(self) -> Iterator[tuple[str, Any]]:
        if self._frame is None:
            return
        found = dict(self._frame.f_locals)
        for name in sorted((self._names.carried | self._names.used) & found.keys()):
            yield name, _print_of(found[name], self._safe)

    def check(self, stage: str) -> None:
        """Raise MethodError where the body, as far as it ran, changed what is not in the state."""
        # A name that the body only uses has the same object still, so what differs was changed in
        # place, for the next epoch or for what comes behind.
        lost = [name for name, now in self._prints() if now != self._before.get(name)]
        if lost:
            raise MethodError(_told(stage, lost))

    def forget(self) -> None:
        """Let go of the function's variables."""
        self._frame, self._before = None, {}


def _told(stage: str, lost: Sequence[str]) -> str:
    listed = ", ".join(lost)
    given = ", ".join(f"{name}={name}" for name in lost)
    return (
        f"stage {stage!r}: a resumed trial does not execute again what this loop has done, so what "
        f"it leaves in {listed} would be lost. Name it in the loop's state, "
        f"run.epochs({stage!r}, ..., {given}), as a module, an optimiser, a tensor that is changed "
        "in place, or a dictionary or list; or set it anew behind the loop"
    )


# ---------------------------------------------------------------------- what changed


def _ids_of(parts: Iterable[Any]) -> Iterator[int]:
    """What is saved with the state, by identity: the parts, and the weights of modules."""
    for part in parts:
        yield id(part)
        if isinstance(part, nn.Module):
            yield from map(id, (*part.parameters(), *part.buffers()))


def _print_of(value: Any, safe: frozenset[int], depth: int = 0) -> tuple[Any, Any]:
    """Which object a value is, and what shows whether it was changed in place; of what is safe, the
    same always.
    """
    if id(value) in safe:
        return "safe", None
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return "value", repr(value)
    for kind, content_of in _CONTENTS.items():
        if isinstance(value, kind):
            return id(value), content_of(value)
    inner: list[Any] = []
    if isinstance(value, nn.Module):
        inner = [*value.parameters(), *value.buffers()]
    elif isinstance(value, torch.optim.Optimizer):
        inner = list(value.state.values())
    elif isinstance(value, dict):
        inner = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set):
        inner = list(value)
    elif hasattr(value, "state_dict"):  # a scheduler, an average of weights
        inner = [value.state_dict()]
    if depth == DEEPEST:
        return id(value), len(inner)
    return id(value), [_print_of(one, safe, depth + 1) for one in inner]


def _version(tensor: Tensor) -> int:
    """How often a tensor was changed in place."""
    return 0 if tensor.is_inference() else int(tensor._version)


def _content_of_array(array: NDArray[Any]) -> bytes:
    return array.tobytes() if array.nbytes <= LARGEST_ARRAY else b""


_CONTENTS: dict[type, Callable[[Any], Any]] = {
    Tensor: _version,
    np.ndarray: _content_of_array,
    np.random.Generator: lambda generator: repr(generator.bit_generator.state),
    torch.Generator: lambda generator: generator.get_state().numpy().tobytes(),
}


# ---------------------------------------------------------------------- what is read


@lru_cache(maxsize=64)
def names_of_loop(code: CodeType, line: int) -> Names | None:
    """The names of the loop over `run.epochs` at a line of a function; None where there is no
    source, or no such loop: a list made of the epochs, say.
    """
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except SyntaxError:
        return None
    ways = list(_ways_to_loops(tree, line, ()))
    if not ways:
        return None
    *above, loop = ways[-1]  # the innermost
    assert isinstance(loop, ast.For)
    body = _in_order([loop.target, *loop.body])
    set_in_it = {name for name, is_read in body if not is_read}
    behind = _in_order(_what_follows(loop, above))
    read = _read_first(body) | _read_first(behind)
    used = {name for name, _ in body} - set_in_it
    return Names(frozenset(set_in_it & read), frozenset(used))


def _ways_to_loops(
    node: ast.AST, line: int, above: tuple[ast.AST, ...]
) -> Iterator[tuple[ast.AST, ...]]:
    """Loops over epochs whose head is at a line, each behind what it stands in, outermost first."""
    if isinstance(node, ast.For) and node.lineno <= line < node.body[0].lineno:
        attributes = (n.attr for n in ast.walk(node.iter) if isinstance(n, ast.Attribute))
        if "epochs" in attributes:
            yield (*above, node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        above = ()  # variables are a function's
    for child in ast.iter_child_nodes(node):
        yield from _ways_to_loops(child, line, (*above, node))


def _what_follows(loop: ast.AST, above: Sequence[ast.AST]) -> list[ast.AST]:
    """What may be executed behind a loop: the statements after it, and where it stands in another
    loop, that one's next turn.
    """
    following: list[ast.AST] = []
    child = loop
    for outer in reversed(above):
        for block in (getattr(outer, field, None) for field in ("body", "orelse", "finalbody")):
            if isinstance(block, list) and child in block:
                place = block.index(child)
                following += block[place + 1 :]
                if isinstance(outer, ast.For | ast.While):
                    head = outer.target if isinstance(outer, ast.For) else outer.test
                    following += [head, *block[:place]]
        if isinstance(outer, ast.Try):
            following += outer.finalbody
        child = outer
    return following


def _read_first(occurrences: Iterable[tuple[str, bool]]) -> set[str]:
    """Names that are read before they are set."""
    first: dict[str, bool] = {}
    for name, is_read in occurrences:
        first.setdefault(name, is_read)
    return {name for name, is_read in first.items() if is_read}


def _in_order(nodes: Iterable[ast.AST]) -> list[tuple[str, bool]]:
    """Every name in the order in which it is read (true) or set."""
    reader = _Reader()
    for node in nodes:
        reader.visit(node)
    return reader.found


class _Reader(ast.NodeVisitor):
    """Python writes what is set in front of what is read for it; this turns that round."""

    def __init__(self) -> None:
        self.found: list[tuple[str, bool]] = []

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            self._visit_comprehension(node)
        else:
            super().visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.found.append((node.id, isinstance(node.ctx, ast.Load)))

    def _visit_all(self, *nodes: ast.AST | None) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._visit_all(node.value, *node.targets)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._visit_all(node.value, node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._visit_all(node.value, node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):  # `total += x` reads it first
            self.found.append((node.target.id, True))
        self._visit_all(node.value, node.target)

    def visit_For(self, node: ast.For) -> None:
        self._visit_all(node.iter, node.target, *node.body, *node.orelse)

    def _visit_scope(self, own: Iterable[str], *nodes: ast.AST | None) -> None:
        """What a scope of its own reads of the names outside it."""
        inner = _Reader()
        inner._visit_all(*nodes)
        local = {*own, *(name for name, is_read in inner.found if not is_read)}
        self.found += [(name, True) for name, is_read in inner.found if name not in local]

    def _visit_comprehension(self, node: Any) -> None:
        parts = [part for clause in node.generators for part in (clause.iter, clause.target)]
        conditions = [condition for clause in node.generators for condition in clause.ifs]
        made = [getattr(node, field, None) for field in ("key", "value", "elt")]
        self._visit_scope((), *parts, *conditions, *made)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_scope([a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)], node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.found.append((node.name, False))
        self._visit_scope(
            [a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)], *node.body
        )
