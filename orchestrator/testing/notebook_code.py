"""A notebook's class as a module of its own: the class, and of the notebook what it uses."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import InputError, nearest


@dataclass(frozen=True)
class _Statement:
    """A statement at the top of a cell: what it defines, what it reads, its text."""

    defines: frozenset[str]
    reads: frozenset[str]
    text: str
    node: ast.stmt


def method_from_notebook(path: Path, name: str = "") -> str:
    """The text of a module with the method called `name` (the only one, where nothing is said) that
    a notebook defines, and everything at the top of its cells that the class uses.

    Raises InputError where the notebook cannot be read, has no such class, or several.
    """
    statements = list(_statements(path))
    methods = {_name_of_method(s.node): s for s in statements}
    methods.pop("", None)  # all that is no method
    if name and name not in methods:
        raise InputError(f"{path} defines no method called {name!r}. {nearest(name, methods)}")
    if len(methods) != 1 and not name:
        listed = ", ".join(methods) or "none"
        raise InputError(f"{path} defines {listed}; say which method is meant by its name")
    wanted = methods[name or next(iter(methods))]
    chosen = _with_all_it_uses(wanted, statements)
    imports = [s.text for s in chosen if isinstance(s.node, ast.Import | ast.ImportFrom)]
    others = [s.text for s in chosen if not isinstance(s.node, ast.Import | ast.ImportFrom)]
    assert isinstance(wanted.node, ast.ClassDef)
    about = ast.get_docstring(wanted.node) or f"The method {name}."
    heading = f'"""{about}\n\nPaper: none.\n\nDeparts from the paper: nothing known.\n"""'
    return "\n\n".join([heading, "\n".join(imports), *(f"\n{text}" for text in others)]) + "\n"


def _statements(path: Path) -> Iterator[_Statement]:
    try:
        cells = json.loads(path.read_text())["cells"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read as a notebook: {error}") from error
    for cell in cells:
        if cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        lines = "".join(source).splitlines()
        # What only a notebook understands: magic, and commands of a shell.
        code = "\n".join("" if line.lstrip()[:1] in ("%", "!") else line for line in lines)
        try:
            nodes = ast.parse(code).body
        except SyntaxError:
            continue  # a cell that is half written has nothing that could be used
        for node in nodes:
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            text = "\n".join(code.splitlines()[first - 1 : node.end_lineno])
            yield _Statement(_defined(node), _read(node), text, node)


def _defined(node: ast.stmt) -> frozenset[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return frozenset((a.asname or a.name).partition(".")[0] for a in node.names)
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return frozenset({node.name})
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return frozenset(n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
    return frozenset()


def _read(node: ast.stmt) -> frozenset[str]:
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    # Annotations may be written as texts.
    texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
    names |= {text.partition(".")[0] for text in texts if isinstance(text, str)}
    return frozenset(names)


def _name_of_method(node: ast.stmt) -> str:
    """The method's name, where a statement is a class with a name and a `train`."""
    if not isinstance(node, ast.ClassDef):
        return ""
    names = [
        inner.value.value
        for inner in node.body
        if isinstance(inner, ast.Assign) and isinstance(inner.value, ast.Constant)
        if [ast.unparse(target) for target in inner.targets] == ["name"]
    ]
    trains = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "train"]
    return str(names[0]) if names and trains else ""


def _with_all_it_uses(wanted: _Statement, statements: list[_Statement]) -> list[_Statement]:
    """In the notebook's order; of what is defined twice, the last before the class counts."""
    place = statements.index(wanted)
    last = {name: s for s in statements[:place] for name in s.defines}
    chosen, waiting = {id(wanted)}, [wanted]
    while waiting:
        for name in waiting.pop().reads:
            used = last.get(name)
            if used is not None and id(used) not in chosen:
                chosen.add(id(used))
                waiting.append(used)
    return [s for s in statements if id(s) in chosen]
