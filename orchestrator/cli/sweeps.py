"""plan, status, results, report, track: what is known of a sweep. Nothing is started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.text import Text

from orchestrator.cli.options import (
    ENDED_OTHERWISE,
    FAILED,
    AsJson,
    Only,
    SeedsFirst,
    SweepFile,
    Where,
    console,
    errors,
    print_json,
    short_lived,
    with_places,
)
from orchestrator.errors import InputError
from orchestrator.spec.wording import short

Format = Literal["csv", "markdown"]
Shares = Annotated[
    bool,
    typer.Option(
        "--shares", help="Show the memory that such trials took, and [gpus] for spolia.toml."
    ),
]

if TYPE_CHECKING:
    from orchestrator.analysis.results import Results
    from orchestrator.session.cells import MissingData
    from orchestrator.session.session import Session


@with_places("home", "store", "data", "site")
@short_lived
def plan(
    where: Where,
    sweep: SweepFile,
    only: Only = None,
    seeds_first: SeedsFirst = False,
    why: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Show how a trial differs from the nearest result.",
            show_default=False,
        ),
    ] = None,
    with_shares: Shares = False,
    as_json: AsJson = False,
) -> None:
    """Show what a sweep would run, shares, and has done. Starts nothing."""
    session = where.session(sweep)
    if with_shares:
        if why is not None:
            raise InputError("--shares and --why are two questions; ask one of them")
        _show_shares(session, only, as_json)
        return
    # Late, as all that follows: these load torch, and a wrong sweep file is told without it.
    from orchestrator.cli.json_values import plan_view
    from orchestrator.cli.plans import print_explanation, print_plan

    if why is not None:
        print_explanation(console, session.explain(why, only))
        return
    known = session.known_cells(only)
    found = known.plan_of(session.name)
    _print_left_out(known.missing)
    if as_json:
        print_json(plan_view(found, known.missing))
    else:
        slots = session.places.site.slots or os.cpu_count() or 1
        print_plan(console, found, slots, seeds_first=seeds_first)


def _show_shares(session: Session, only: str | None, as_json: bool) -> None:
    from orchestrator.cli.json_values import shares_view
    from orchestrator.cli.plans import print_shares

    found = session.shares(only)
    if as_json:
        print_json(shares_view(found))
    else:
        print_shares(console, found)


@with_places("home", "store", "data", "site")
@short_lived
def status(
    where: Where,
    sweep: SweepFile,
    only: Only = None,
    keep_watching: Annotated[
        bool,
        typer.Option(
            "--watch", help="Look again every two seconds, until nothing goes on any more."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say how much of a sweep is done. A row a method; what runs, what failed and why. Exit status
    0 only when all of it is done, 3 when all has ended but some diverged or is infeasible.
    """
    from orchestrator.cli.json_values import status_view
    from orchestrator.cli.statuses import print_status, watch

    session = where.session(sweep)
    if keep_watching and not as_json:
        found = watch(console, lambda: session.status(only))
    else:
        found = session.status(only)
        print_json(status_view(found)) if as_json else print_status(console, found)
    if not found.is_complete:
        raise typer.Exit(FAILED)
    if not found.is_done:
        raise typer.Exit(ENDED_OTHERWISE)


@with_places("home", "store", "data", "site")
@short_lived
def results(
    where: Where,
    sweep: SweepFile,
    only: Only = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC", help="Rows by this metric, the best first.", show_default=False
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="METRICS",
            help="These metrics, with commas between them.",
            show_default="headline metrics",
        ),
    ] = None,
    as_format: Annotated[
        Format | None,
        typer.Option("--format", help="Means of settings as a table for other programs."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the results of a sweep, and write its tables. They are Parquet; of a part, nothing is
    written. Exit status 1, and nothing written, where nothing has a result yet.
    """
    from orchestrator.cli.json_values import results_view
    from orchestrator.cli.tables import as_csv_or_markdown, print_results

    session = where.session(sweep)
    found, missing = _found_results(session, only)
    names = None if columns is None else [name.strip() for name in columns.split(",")]
    if as_json:
        print_json(results_view(found))
        return
    if as_format is not None:
        typer.echo(as_csv_or_markdown(found, as_format, sort=sort, columns=names), nl=False)
        return
    print_results(console, found, sort=sort, columns=names)
    # Tables are the sweep's, and a part would overwrite them.
    if only is None and not missing:
        _write_tables(session, found)


def _write_tables(session: Session, found: Results) -> None:
    """Write a sweep's tables, or say why they are not written: who looks at somebody else's home
    may not write there.
    """
    try:
        paths = found.write(session.home.tables(session.name))
    except OSError as error:
        folder, reason = short(session.home.tables(session.name)), error.strerror or str(error)
        words = f"No tables were written: {folder} cannot be written ({reason})."
        errors.print(Text(words, style="yellow"), soft_wrap=True)
        return
    console.print("\nTables")
    for path in paths:
        console.print(f"  {short(path)}", soft_wrap=True)


@with_places("home", "store", "data", "site")
def report(
    where: Where,
    sweep: SweepFile,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write.", show_default="HOME/tables/SWEEP/report.html"),
    ] = None,
) -> None:
    """Write one HTML page of all results. It has the question, verdicts on claims, means with
    intervals, matrices, and how the machines were used. Exit status 1, and no page, where nothing
    has a result yet.
    """
    session = where.session(sweep)
    # Read here and handed on, so that records are read once.
    found, _ = _found_results(session, None)
    console.print(short(session.report(out, results=found)), soft_wrap=True)


def _found_results(session: Session, only: str | None) -> tuple[Results, Sequence[MissingData]]:
    """The results of a sweep, and what data it lacks here. Ends the command where there is no
    store, and where no cell has a result: what it would write would be empty.
    """
    from orchestrator.analysis.results import Results
    from orchestrator.planning.standing import of_total

    session.part(only)  # what is wrong with it is told first
    # Reading makes no store, so a mistyped --home looks like a sweep that nobody has run: the
    # message names the store.
    if not session.store.exists:
        _stop(f"{session.name}: nothing has run yet that would be in {session.store.name}")
    known = session.known_cells(only)
    _print_left_out(known.missing)
    if known.plan is None:
        _stop(f"{session.name}: no cell can be looked up here")
    found = Results(known.plan, session.store)
    if not found.by_key:
        counts = of_total(found.plan.cell_counts, "cells")
        _stop(f"{session.name}: no cell has a result yet ({counts})")
    return found, known.missing


def _print_left_out(missing: Sequence[MissingData]) -> None:
    """The cells that nothing is said of, since their data is not known here."""
    for one in missing:
        errors.print(Text(f"left out: {one}", style="yellow"), soft_wrap=True)


def _stop(why: str) -> NoReturn:
    errors.print(Text(f"{why}. Nothing was written.", style="yellow"), soft_wrap=True)
    raise typer.Exit(FAILED)


@with_places("home", "store", "tracking", "data", "site")
def track(where: Where, sweep: SweepFile) -> None:
    """Bring MLflow level with the store. For after an outage, a deletion, a half-written run."""
    from orchestrator.cli.progress import TerminalDisplay
    from orchestrator.planning.standing import of_total

    session = where.session(sweep)
    tracked = session.track(display=TerminalDisplay(console))
    if not tracked.is_level:
        message = (
            f"MLflow is behind the store ({tracked.error}). Nothing is lost: run the same command "
            "again."
        )
        errors.print(Text(message, style="red"), soft_wrap=True)
        raise typer.Exit(FAILED)
    done = of_total(tracked.plan.trial_counts, "trials")
    console.print(
        f"{session.name}: {tracked.num_written} runs written now; "
        f"MLflow is level with the store ({done})"
    )
    if tracked.page:
        console.print(f"  {tracked.page}", soft_wrap=True)
