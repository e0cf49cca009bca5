"""The command line is a thin skin: typed, and each option is said once."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from orchestrator import cli
from orchestrator.cli.options import Where, with_places

FILES = sorted(Path(cli.__file__).parent.glob("*.py"))
PLACES = {f"--{one.name}" for one in fields(Where)}


def functions(path):
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def annotations(function):
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += filter(None, [arguments.vararg, arguments.kwarg])
    found = {one.arg: one.annotation for one in every if one.arg != "self"}
    return {**found, "return": function.returns}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_signature_is_typed_and_none_by_any(path):
    for function in functions(path):
        for name, annotation in annotations(function).items():
            where = f"{function.name}({name}) in line {function.lineno}"
            assert annotation is not None, f"{where} has no type"
            named = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
            assert "Any" not in named, where


def test_where_things_lie_is_said_once():
    said = Counter(
        node.value
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in PLACES
    )
    assert said == dict.fromkeys(PLACES, 1)


def test_a_command_has_the_places_that_it_asks_for_behind_its_own_options():
    found = {}

    @with_places("home", "site")
    def command(where: Where, key: str, number: int = 3) -> None:
        """What it does."""
        found.update(where=where, key=key, number=number)

    assert list(inspect.signature(command).parameters) == ["key", "number", "home", "site"]
    assert command.__doc__ == "What it does."
    app = typer.Typer()
    app.command()(command)
    app(["abc", "--home", "there", "--number", "4"], standalone_mode=False)
    assert found == {"where": Where(home="there"), "key": "abc", "number": 4}
