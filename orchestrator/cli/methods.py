"""methods: which there are, and one with its axes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from orchestrator.cli.options import console

if TYPE_CHECKING:
    from orchestrator.spec.method import Method


def _names(incomplete: str) -> list[str]:
    from orchestrator.spec.registry import discover

    return [name for name in discover() if name.startswith(incomplete)]


def methods(
    name: Annotated[
        str | None,
        typer.Argument(
            help="One method, with its axes.", show_default=False, autocompletion=_names
        ),
    ] = None,
) -> None:
    """List the methods that are installed, or one with its axes."""
    from orchestrator.errors import InputError, nearest
    from orchestrator.spec.registry import discover

    installed = discover()
    if name is None:
        _print_list(installed)
    elif name in installed:
        _print_method(installed[name])
    else:
        raise InputError(f"no method is called {name!r}. {nearest(name, installed)}")


def _print_list(installed: Mapping[str, type[Method]]) -> None:
    table = _table("method", "tasks", "what it does")
    for method in installed.values():
        tasks = ", ".join(method.tasks.names)
        table.add_row(method.name, tasks, _first_sentence(method.__doc__))
    console.print(table)
    console.print("\nspolia methods NAME shows its axes.", style="dim")


def _print_method(method: type[Method]) -> None:
    import dataclasses

    from orchestrator.spec.canonical import show
    from orchestrator.spec.settings import settings_default

    module = sys.modules[method.__module__]
    about = f" (revision {method.revision}, {method.__module__})\n"
    console.print(Text.assemble((method.name, "bold"), about))
    # The module's docstring is the method's page: paper, costs, what departs from the paper.
    paragraphs = (module.__doc__ or "").strip().split("\n\n")
    for paragraph in [*paragraphs, method.__doc__ or ""]:
        console.print(Text(" ".join(paragraph.split()) + "\n"))
    table = _table("axis", "default", "worth trying", "meaning")
    for field in dataclasses.fields(method):
        default = settings_default(method, field.name)
        values = field.metadata["over"]
        if isinstance(default, frozenset):
            # Written as tuples, shown as the sets that they are.
            values = [frozenset(value) for value in values]
        worth_trying = "  ".join(show(value) for value in values)
        table.add_row(field.name, show(default), worth_trying, field.metadata["help"])
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column)
    return table


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).split(". ")[0].rstrip(".") + "."
