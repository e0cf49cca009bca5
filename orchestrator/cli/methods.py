"""methods: which there are, and one with its settings, what it leaves, and an example."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from orchestrator.cli.options import FAILED, console, errors

if TYPE_CHECKING:
    from orchestrator.spec.declarations import Roles
    from orchestrator.spec.method import Method
    from orchestrator.spec.registry import Installed


def _names(incomplete: str) -> list[str]:
    from orchestrator.spec.registry import discover

    return [name for name in discover() if name.startswith(incomplete)]


def methods(
    name: Annotated[
        str | None,
        typer.Argument(
            help="One method: its settings, what it leaves, an example.",
            show_default=False,
            autocompletion=_names,
        ),
    ] = None,
) -> None:
    """List the installed methods, or show one. Of one: its paper, its settings, what it leaves, and
    a sweep to begin with.
    """
    from orchestrator.errors import InputError, nearest
    from orchestrator.spec.registry import installed

    found = installed()
    if name is None:
        _print_list(found)
    elif name in found.methods:
        _print_method(found.methods[name])
    else:
        broken = "".join(f"\n{reason}" for reason in found.broken.values())
        raise InputError(f"no method is called {name!r}. {nearest(name, found.methods)}{broken}")


def _print_list(found: Installed) -> None:
    table = _table("method", "tasks", "what it does")
    for method in found.methods.values():
        tasks = ", ".join(method.tasks.names)
        table.add_row(method.name, tasks, _first_sentence(method.__doc__))
    console.print(table)
    console.print(
        "\nspolia methods NAME shows its settings, what it leaves, and an example.", style="dim"
    )
    if found.broken:
        errors.print("\nMethods are missing from what cannot be imported:", style="red")
        for reason in found.broken.values():
            errors.print(f"  {reason}", soft_wrap=True)
        raise typer.Exit(FAILED)


def _print_method(method: type[Method]) -> None:
    module = sys.modules[method.__module__]
    about = f" (revision {method.revision}, {method.__module__}{_package_of(method)})\n"
    console.print(Text.assemble((method.name, "bold"), about))
    # The module's docstring is the method's page: paper, costs, what departs from the paper.
    paragraphs = (module.__doc__ or "").strip().split("\n\n")
    for paragraph in [*paragraphs, method.__doc__ or ""]:
        console.print(Text(" ".join(paragraph.split()) + "\n"))
    _print_settings(method)
    _print_what_it_takes(method)
    _print_what_it_leaves(method)
    _print_example(method)


def _package_of(method: type[Method]) -> str:
    """The distribution whose entry point names the method's package, and its version."""
    from orchestrator.spec.registry import GROUP

    for entry in importlib.metadata.entry_points(group=GROUP):
        is_its = method.__module__ == entry.value or method.__module__.startswith(f"{entry.value}.")
        if is_its and entry.dist is not None:
            return f" of {entry.dist.name} {entry.dist.version}"
    return ""


def _print_settings(method: type[Method]) -> None:
    import dataclasses

    from orchestrator.spec.canonical import describe, show
    from orchestrator.spec.settings import settings_default, settings_of

    table = _table("setting", "default", "worth trying", "meaning")
    kinds = settings_of(method)
    for field in dataclasses.fields(method):
        default = settings_default(method, field.name)
        values = field.metadata["over"]
        if isinstance(default, frozenset):
            # Written as tuples, shown as the sets that they are.
            values = [frozenset(value) for value in values]
        worth_trying = "  ".join(show(value) for value in values)
        meaning = f"{field.metadata['help']} ({describe(kinds[field.name])})".strip()
        table.add_row(field.name, show(default), worth_trying, meaning)
    console.print(table)


def _print_what_it_takes(method: type[Method]) -> None:
    console.print(Text.assemble(("\ntakes", "bold")))
    if "tasks" in method.uses:
        console.print(f"  {_tasks_taken(method.tasks)}")
    for name in ("network", "seed"):
        if name in method.uses:
            console.print(f"  a {name}")


def _tasks_taken(roles: Roles) -> str:
    """How many tasks, and what they are to the method: `2 or more tasks: source, targets`."""
    more = " or more" if roles.more else ""
    noun = "task" if (roles.at_least, roles.more) == (1, False) else "tasks"
    return f"{roles.at_least}{more} {noun}: {', '.join(roles.names)}"


def _print_what_it_leaves(method: type[Method]) -> None:
    """Metrics, components and matrices; how each is asked for follows from its name and labels."""
    table = _table("leaves", "name", "by", "what it is")
    for kind, name, by, about in _left_by(method):
        table.add_row(kind, name, by, about)
    console.print()
    console.print(table)


def _left_by(method: type[Method]) -> Iterator[tuple[str, str, str, str]]:
    for metric in method.metrics:
        facts = [metric.help] if metric.help else []
        facts += [] if metric.higher_is_better else ["lower is better"]
        facts += [f"chance {metric.chance:g}"] if metric.chance is not None else []
        facts += ["with some settings only"] if metric.optional else []
        yield "metric", metric.name, ", ".join(metric.by), _in_a_row(facts)
    for kept in method.components:
        yield (
            "component",
            kept.name,
            ", ".join(kept.by),
            "with some settings only" if kept.optional else "",
        )
    for matrix in method.matrices:
        facts = [matrix.help] if matrix.help else []
        facts += ["with some settings only"] if matrix.optional else []
        yield "matrix", matrix.name, f"{matrix.rows} x {matrix.columns}", _in_a_row(facts)


def _in_a_row(facts: list[str]) -> str:
    """Facts behind each other; a help text may be a sentence."""
    return "; ".join(fact.rstrip(".") if facts[1:] else fact for fact in facts)


def _print_example(method: type[Method]) -> None:
    from orchestrator.spec.example import example_sweep

    console.print(Text.assemble(("\na sweep to begin with\n", "bold")))
    console.print(example_sweep(method), soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column)
    return table


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).split(". ")[0].rstrip(".") + "."
