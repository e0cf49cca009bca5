"""plan, status, results, track: what is known of a sweep. Nothing is started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from orchestrator.cli.options import (
    ENDED_OTHERWISE,
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

if TYPE_CHECKING:
    from orchestrator.analysis.results import Results
    from orchestrator.planning.plan import Plan
    from orchestrator.store.home import Home
    from orchestrator.store.store import Store


def plan(
    sweep: SweepFile,
    only: Only = None,
    why: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Show how a trial differs from the nearest result.",
            show_default=False,
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

    home = setting(home_folder, store, None, data, site_file).home
    sweep_plan, sweep_store = _plan_and_store(sweep, only, home)
    if why is not None:
        print_explanation(console, explain(sweep_plan, sweep_store, why))
    elif as_json:
        print_json(plan_view(sweep_plan))
    else:
        print_plan(console, sweep_plan)


def _plan_and_store(file: str, only: str | None, home: Home) -> tuple[Plan, Store]:
    """A sweep file, or the part of it that `--only` chooses, held against the store."""
    from orchestrator.planning.plan import make_plan
    from orchestrator.store.store import Store

    store = Store(home.store)
    name, _, part = load(file, only)
    return make_plan(name, part, store), store


def status(
    sweep: SweepFile,
    only: Only = None,
    as_json: AsJson = False,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Say how much of a sweep is done. Exit status 0 only when all of it is, 3 when all has ended
    but some diverged or is infeasible.
    """
    from orchestrator.cli.json_values import status_view

    home = setting(home_folder, store, None, data, site_file).home
    sweep_plan, sweep_store = _plan_and_store(sweep, only, home)
    if as_json:
        print_json(status_view(sweep_plan, sweep_store))
    else:
        _print_status(sweep_plan, sweep_store)
    if not sweep_plan.is_complete:
        raise typer.Exit(FAILED)
    if not sweep_plan.is_done:
        raise typer.Exit(ENDED_OTHERWISE)


def _print_status(plan: Plan, store: Store) -> None:
    """Counts, why cells are not done, every trial that failed, every trial under way."""
    from orchestrator.cli.tables import print_standing

    print_standing(console, plan)
    for trial in plan.todo:
        if trial.key in plan.failures:
            state, reason = plan.standing(trial.key), plan.reason(trial.key)
            console.print(Text(f"  {state}: {trial.label}\n    {reason}", style="red"))
            console.print(f"    spolia logs {trial.key[:12]}")
    running = store.under_way()
    for trial in plan.todo:
        progress = store.progress(trial.key) if trial.key in running else None
        if progress is not None:
            epoch = f"epoch {progress['epoch']} of {progress['epochs']}"
            console.print(Text(f"  under way: {trial.label}\n    {progress['stage']}: {epoch}"))


def results(
    sweep: SweepFile,
    only: Only = None,
    as_json: AsJson = False,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Show the results of a sweep and write its tables as Parquet; of a part, show it only. Exit
    status 1, and nothing written, where nothing has a result yet.
    """
    from orchestrator.analysis.results import Results
    from orchestrator.cli.json_values import results_view
    from orchestrator.cli.tables import print_results

    home = setting(home_folder, store, None, data, site_file).home
    _stop_without_store(sweep, only, home)
    sweep_results = Results(*_plan_and_store(sweep, only, home))
    _stop_without_results(sweep_results)
    if as_json:
        print_json(results_view(sweep_results))
        return
    print_results(console, sweep_results)
    if only is not None:  # tables are the sweep's, and a part would overwrite them
        return
    console.print("\nTables")
    for path in sweep_results.write(home.tables(sweep_results.plan.name)):
        console.print(f"  {short(path)}", soft_wrap=True)


def report(
    sweep: SweepFile,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write.", show_default="HOME/tables/SWEEP/report.html"),
    ] = None,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Write one HTML page: question, verdicts on claims, results with intervals, matrices, use of
    the machines. Exit status 1, and no page, where nothing has a result yet.
    """
    from orchestrator.analysis.report import write
    from orchestrator.analysis.results import Results

    home = setting(home_folder, store, None, data, site_file).home
    _stop_without_store(sweep, None, home)
    sweep_plan, sweep_store = _plan_and_store(sweep, None, home)
    sweep_results = Results(sweep_plan, sweep_store)
    _stop_without_results(sweep_results)
    path = out or home.tables(sweep_plan.name) / "report.html"
    write(sweep_results, sweep_store, path)
    console.print(short(path), soft_wrap=True)


def _stop_without_store(file: str, only: str | None, home: Home) -> None:
    """End the command where no run has made the store yet: planning would begin one."""
    from orchestrator.store.store import Store

    store = Store(home.store)
    if not store.exists:
        name, _, _ = load(file, only)  # before the store: a file that is wrong is told first
        _stop(f"{name}: nothing has run yet that would be in {store.name}")


def _stop_without_results(results: Results) -> None:
    """End the command where no cell has a result: what it would write would be empty."""
    from orchestrator.planning.standing import of_total

    if not results.by_key:
        plan = results.plan
        _stop(f"{plan.name}: no cell has a result yet ({of_total(plan.cell_counts, 'cells')})")


def _stop(why: str) -> None:
    errors.print(Text(f"{why}. Nothing was written.", style="yellow"), soft_wrap=True)
    raise typer.Exit(FAILED)


def track(
    sweep: SweepFile,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    tracking: Tracking = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Bring MLflow level with the store: after an outage, a deletion, a half-written run."""
    from orchestrator import session
    from orchestrator.cli.progress import TerminalDisplay
    from orchestrator.errors import InputError
    from orchestrator.planning.standing import of_total

    home = setting(home_folder, store, tracking, data, site_file).home
    if home.tracking is None:
        raise InputError(
            "--tracking none says to track nothing; name an MLflow address, or leave it out"
        )
    sweep_plan, _ = _plan_and_store(sweep, None, home)
    num_written, error = session.track(sweep_plan, home, TerminalDisplay(console))
    if error:
        message = (
            f"MLflow is behind the store ({error}). Nothing is lost: run the same command again."
        )
        errors.print(Text(message, style="red"), soft_wrap=True)
        raise typer.Exit(FAILED)
    done = of_total(sweep_plan.trial_counts, "trials")
    console.print(
        f"{sweep_plan.name}: {num_written} runs written now; "
        f"MLflow is level with the store ({done})"
    )
