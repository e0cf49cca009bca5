"""plan, status, results, track: what is known of a sweep. Nothing is started."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from orchestrator.cli.options import (
    FAILED,
    AsJson,
    DataFolder,
    HomeFolder,
    Only,
    SiteOption,
    StorePlace,
    SweepFile,
    Tracking,
    console,
    errors,
    load,
    print_json,
    setting,
    short,
)


def plan(
    sweep: SweepFile,
    only: Only = None,
    why: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Say what differs from the nearest result.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Show what a sweep would run, what it shares and what is done. Starts nothing."""
    from orchestrator.cli.json_values import plan_view
    from orchestrator.cli.tables import print_explanation, print_plan
    from orchestrator.planning.explain import explain
    from orchestrator.planning.plan import make_plan
    from orchestrator.store.store import Store

    home = setting(home_folder, store, None, data, site_file).home
    name, _, part = load(sweep, only)
    opened = Store(home.store)
    made = make_plan(name, part, opened)
    if why is not None:
        print_explanation(console, explain(made, opened, why))
    elif as_json:
        print_json(plan_view(made))
    else:
        print_plan(console, made)


def status(
    sweep: SweepFile,
    only: Only = None,
    as_json: AsJson = False,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Say how much of a sweep is done. Exit status 0 only when all of it is."""
    from orchestrator.cli.json_values import status_view
    from orchestrator.planning.plan import make_plan
    from orchestrator.store.store import Store

    home = setting(home_folder, store, None, data, site_file).home
    name, _, part = load(sweep, only)
    opened = Store(home.store)
    made = make_plan(name, part, opened)
    if as_json:
        print_json(status_view(made, opened))
    else:
        _print_status(made, opened)
    if not made.is_complete:
        raise typer.Exit(FAILED)


def _print_status(made: Any, store: Any) -> None:
    finished = sum(cell.trial.key in made.outcomes for cell in made.cells)
    failed = [t for t in made.todo if t.key in made.failures]
    counts = f"trials: {len(made.outcomes)} of {len(made.trials)} done, {len(failed)} failed"
    console.print(f"{made.name}: {finished} of {len(made.cells)} cells done; {counts}")
    for trial in failed:
        console.print(
            Text(
                f"  failed: {trial.label}\n    {made.failures[trial.key].splitlines()[0]}",
                style="red",
            )
        )
        console.print(f"    spolia logs {trial.key[:12]}")
    running = store.under_way()
    for trial in made.todo:
        if trial.key in running and (now := store.progress(trial.key)) is not None:
            console.print(
                Text(
                    f"  under way: {trial.label}\n    {now['stage']}: epoch {now['epoch']} of {now['epochs']}"
                )
            )


def results(
    sweep: SweepFile,
    only: Only = None,
    as_json: AsJson = False,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Show the results of a sweep and write its tables as Parquet."""
    from orchestrator.analysis.results import Results
    from orchestrator.cli.json_values import results_view
    from orchestrator.cli.tables import print_results
    from orchestrator.planning.plan import make_plan
    from orchestrator.store.store import Store

    home = setting(home_folder, store, None, data, site_file).home
    name, _, part = load(sweep, only)
    opened = Store(home.store)
    found = Results(make_plan(name, part, opened), opened)
    if as_json:
        print_json(results_view(found))
        return
    print_results(console, found)
    if only is not None:
        return
    console.print("\nTables")
    for path in found.write(home.tables(name)):
        console.print(f"  {short(path)}", soft_wrap=True)


def report(
    sweep: SweepFile,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the page goes.", show_default="HOME/tables/SWEEP/report.html"),
    ] = None,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Write one HTML page: question, verdicts on claims, results with intervals, matrices, use of
    the machines.
    """
    from orchestrator.analysis.report import write
    from orchestrator.analysis.results import Results
    from orchestrator.planning.plan import make_plan
    from orchestrator.store.store import Store

    home = setting(home_folder, store, None, data, site_file).home
    name, whole, _ = load(sweep)
    opened = Store(home.store)
    path = out or home.tables(name) / "report.html"
    write(Results(make_plan(name, whole, opened), opened), opened, path)
    console.print(short(path), soft_wrap=True)


def track(
    sweep: SweepFile,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    tracking: Tracking = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Bring MLflow level with the store: after an outage, a deletion, a half-written run."""
    from orchestrator.cli.progress import TerminalDisplay
    from orchestrator.errors import InputError
    from orchestrator.planning.plan import make_plan
    from orchestrator.session import track as level
    from orchestrator.store.store import Store

    home = setting(home_folder, store, tracking, data, site_file).home
    if home.tracking is None:
        raise InputError(
            "--tracking none says to track nothing; name an MLflow address, or leave it out"
        )
    name, whole, _ = load(sweep)
    made = make_plan(name, whole, Store(home.store))
    written, error = level(made, home, TerminalDisplay(console))
    if error:
        errors.print(
            Text(
                f"MLflow is behind the store ({error}). Nothing is lost: run the same command again.",
                style="red",
            ),
            soft_wrap=True,
        )
        raise typer.Exit(FAILED)
    console.print(
        f"{name}: {written} runs written now; MLflow is level with the store ({len(made.outcomes)} of {len(made.trials)} trials done)"
    )
