"""methods: which there are, and one with its axes."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from orchestrator.cli.options import console


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

    found = discover()
    if name is None:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("method")
        table.add_column("tasks")
        table.add_column("what it does")
        for method in found.values():
            table.add_row(
                method.name, ", ".join(method.tasks.names), _first_sentence(method.__doc__)
            )
        console.print(table)
        console.print("\nspolia methods NAME shows its axes.", style="dim")
        return
    if name not in found:
        raise InputError(f"no method is called {name!r}. {nearest(name, found)}")
    _print_method(found[name])


def _print_method(method: Any) -> None:
    import dataclasses

    from orchestrator.spec.canonical import show
    from orchestrator.spec.settings import settings_default

    module = sys.modules[method.__module__]
    console.print(f"[bold]{method.name}[/] (revision {method.revision}, {method.__module__})\n")
    for paragraph in (module.__doc__ or "").strip().split("\n\n"):
        console.print(Text(" ".join(paragraph.split()) + "\n"))
    console.print(Text(" ".join((method.__doc__ or "").split()) + "\n"))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("axis", "default", "worth trying", "meaning"):
        table.add_column(column)
    for field in dataclasses.fields(method):
        over = "  ".join(
            show(frozenset(v) if isinstance(settings_default(method, field.name), frozenset) else v)
            for v in field.metadata["over"]
        )
        table.add_row(
            field.name, show(settings_default(method, field.name)), over, field.metadata["help"]
        )
    console.print(table)


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).split(". ")[0].rstrip(".") + "."
