"""The notebooks in examples/notebooks run, at smoke size: after a cell with parameters comes what
its metadata has as `smoke`.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "examples/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ALL = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def sources(path: Path) -> Iterator[str]:
    """The code of each cell, and what makes it small after the parameters."""
    for cell in code_cells(path):
        yield "".join(cell["source"])
        yield "".join(cell["metadata"].get("smoke", ()))


def run_cell(source: str, names: dict[str, Any], where: str) -> None:
    """What a notebook does with a cell: execute it, and show the value of its last line."""
    statements = ast.parse(source).body
    last = statements.pop() if statements and isinstance(statements[-1], ast.Expr) else None
    exec(compile(ast.Module(statements, []), where, "exec"), names)
    if last is None:
        return
    value = eval(compile(ast.Expression(last.value), where, "eval"), names)
    for show in ("_repr_html_", "_repr_png_"):
        getattr(value, show, lambda: None)()
    repr(value)


@pytest.mark.slow
@ALL
def test_it_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(sources(path)):
        run_cell(source, names, f"{path.name}, cell {number}")


@ALL
def test_it_is_stored_without_outputs_and_for_any_kernel(path):
    book = json.loads(path.read_text())
    assert not [cell for cell in code_cells(path) if cell["outputs"] or cell["execution_count"]]
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    assert any(cell["metadata"].get("smoke") for cell in code_cells(path))
    assert path.read_text() == json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} == {
        "first_sweep",
        "joined_by_hand",
        "one_more_seed",
        "own_images",
    }
