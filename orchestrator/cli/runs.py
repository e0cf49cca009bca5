"""run: what a sweep lacks, on this machine or on a cluster."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from orchestrator.cli.options import (
    FAILED,
    INTERRUPTED,
    DataFolder,
    ExecutorName,
    HomeFolder,
    Only,
    Retry,
    SiteOption,
    Stale,
    StorePlace,
    SweepFile,
    Tracking,
    console,
    errors,
    load,
    setting,
    short,
)

ALIKE = 3  # trials that failed for one reason and are shown


def run(
    sweep: SweepFile,
    only: Only = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many cells that are not done.", show_default=False),
    ] = None,
    smoke: Annotated[
        bool,
        typer.Option(
            help="Every method at its smoke values on 256 images, in a store that is thrown away."
        ),
    ] = False,
    stale: Annotated[
        Stale | None,
        typer.Option(
            help="Results that other code made: keep them, or run them again.", show_default=False
        ),
    ] = None,
    retry: Annotated[
        list[Retry] | None, typer.Option(help="Run these outcomes again, too.", show_default=False)
    ] = None,
    executor: Annotated[
        ExecutorName, typer.Option(help="Ray Tune, or one trial after another in this process.")
    ] = ExecutorName.ray,
    pdb: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Run one trial under the debugger (with inline).",
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster: 'auto' or HOST:PORT.", show_default="a private Ray here"),
    ] = None,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Trials at once.", show_default="one a CPU")
    ] = None,
    checkpoint_every: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds between a trial's checkpoints.", show_default="60"),
    ] = None,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    tracking: Tracking = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Run what a sweep lacks, track it to MLflow, and show its results. The same command again goes
    on where it stopped.
    """
    from orchestrator.errors import InputError

    here = setting(home_folder, store, tracking, data, site_file)
    if pdb is not None and executor is not ExecutorName.inline:
        raise InputError("--pdb works in this process only: add --executor inline")
    name, whole, part = load(sweep, only)
    if smoke:
        _smoke(name, part, here, executor, slots)
        return
    _claim(name, sweep, here)
    made = _planned(name, part, here, limit, stale, retry or ())
    if pdb is not None:
        _debug(made, here, pdb)
        return
    site = _site(here, executor, address, slots, checkpoint_every)
    _launch(made, whole, here.place, site, executor)


def _claim(name: str, sweep: str, here: Any) -> None:
    from orchestrator.store.store import Store

    opened = Store(here.place.store)
    opened.prepare()
    opened.claim_sweep(name, Path(sweep))


def _planned(
    name: str, part: Any, here: Any, limit: int | None, stale: Stale | None, retry: Sequence[Retry]
) -> Any:
    """The plan of what is asked for, printed. Raises InputError for stale results of which nobody
    said what to do.
    """
    from orchestrator.cli.tables import print_plan
    from orchestrator.errors import InputError
    from orchestrator.planning.choose import limit as limited
    from orchestrator.planning.plan import make_plan
    from orchestrator.store.store import Store

    opened = Store(here.place.store)
    opened.prepare()

    def plan(sweep: Any) -> Any:
        return make_plan(
            name, sweep, opened, rerun_stale=stale is Stale.rerun, retry=[r.value for r in retry]
        )

    made = plan(part)
    made = plan(limited(part, made, limit)) if limit else made
    print_plan(console, made)
    if made.stale and stale is None:
        reasons = list(dict.fromkeys(made.stale.values()))
        raise InputError(
            f"{len(made.stale)} results are stale and would be mixed with new ones. Say --stale keep, or --stale rerun",
            reasons[:5],
        )
    return made


def _site(
    here: Any,
    executor: ExecutorName,
    address: str | None,
    slots: int | None,
    checkpoint_every: float | None,
) -> Any:
    from orchestrator.errors import InputError
    from orchestrator.executors.site import Site, unknown_methods
    from orchestrator.spec.registry import discover

    file = here.site
    if problems := unknown_methods(file, discover()) if file.gpus or file.cpus else []:
        raise InputError("the site file names methods that are not there:", problems)
    cluster = address or file.address
    given = slots or file.slots
    count = (
        1
        if executor is ExecutorName.inline
        else given or (None if cluster else os.cpu_count() or 1)
    )
    every = file.checkpoint_every if checkpoint_every is None else checkpoint_every
    return Site(here.place.scratch, count, every, cluster, file.device, file.gpus, file.cpus)


def _launch(
    made: Any, whole: Any, place: Any, site: Any, executor: ExecutorName, *, kept: bool = True
) -> None:
    from orchestrator.cli.progress import TerminalDisplay
    from orchestrator.cli.tables import print_results
    from orchestrator.session import launch

    report = launch(made, whole, place, site, executor.value, TerminalDisplay(console))
    if not report.executed and not report.problems and report.plan.is_complete:
        console.print("Nothing to run: every cell has its result in the store.")
    print_results(console, report.results)
    _print_problems(report)
    if kept:
        _print_places(report, place)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not report.is_complete:
        raise typer.Exit(FAILED)


def _smoke(name: str, part: Any, here: Any, executor: ExecutorName, slots: int | None) -> None:
    """The whole sweep in small, somewhere else: a minute before a thousand GPU hours."""
    import tempfile
    from dataclasses import replace

    from orchestrator.planning.choose import smoke

    small = smoke(part)
    with tempfile.TemporaryDirectory(prefix="spolia-smoke-") as folder:
        place = replace(
            here.place, root=Path(folder), store=str(Path(folder) / "store"), tracking=None
        )
        there = replace(here, place=place)
        console.print(
            f"[bold]Smoke run[/]: {len(small.cells)} settings of {len(part.cells)} cells, small, in a store that is thrown away."
        )
        # On this machine whatever the site says: its other nodes would not see a store that is
        # thrown away.
        site = replace(
            _site(there, executor, None, slots or os.cpu_count(), None), address=None, device="auto"
        )
        _launch(
            _planned(name, small, there, None, None, ()), small, place, site, executor, kept=False
        )


def _debug(made: Any, here: Any, start: str) -> None:
    """One trial in this process; an exception opens the debugger where it happened."""
    import pdb
    import traceback

    from orchestrator.planning.explain import explain
    from orchestrator.store.store import Store
    from orchestrator.training.execute import execute, run_with_needs

    opened = Store(here.place.store)
    trial = explain(made, opened, start).trial
    console.print(f"Running {trial.label} under the debugger.", markup=False)
    run_with_needs(trial, opened)
    try:
        outcome = execute(trial, opened, raise_errors=True)
    except Exception as error:
        traceback.print_exc()
        pdb.post_mortem(error.__traceback__)
        raise typer.Exit(FAILED) from error
    console.print(
        f"{outcome.kind} in {outcome.seconds:.1f} s"
        + (f": {outcome.reason}" if outcome.reason else "")
    )


def _print_problems(report: Any) -> None:
    by_reason: dict[tuple[str, str], list[Any]] = {}
    for outcome in report.problems:
        by_reason.setdefault((outcome.kind, outcome.reason.splitlines()[0]), []).append(outcome)
    for (kind, reason), alike in by_reason.items():
        for outcome in alike[:ALIKE]:
            label = report.plan.trials[outcome.key].label
            errors.print(
                Text(f"{kind}: {label}\n  {reason}\n  spolia logs {outcome.key[:12]}", style="red")
            )
        if len(alike) > ALIKE:
            errors.print(
                Text(
                    f"{len(alike) - ALIKE} more {kind} for this reason; `spolia status` lists them",
                    style="red",
                )
            )
    reasons = list(dict.fromkeys(report.blocked.values()))
    if reasons:
        errors.print(
            Text(
                f"{len(report.blocked)} trials are blocked, the first because {reasons[0]}",
                style="red",
            )
        )
    kinds = [
        report.plan.outcomes[k]
        for k in report.plan.trials
        if report.plan.outcomes.get(k, "done") != "done"
    ]
    if kinds:
        listed = ", ".join(f"{kinds.count(k)} {k}" for k in dict.fromkeys(kinds))
        console.print(f"{len(kinds)} trials ended without training through: {listed}.")


def _print_places(report: Any, place: Any) -> None:
    console.print("\nTables")
    for path in report.tables:
        console.print(f"  {short(path)}", soft_wrap=True)
    if place.tracking is None:
        return
    if report.tracking_error:
        again = "Nothing is lost: `spolia track` with this sweep, or the same command run again, writes what is missing."
        errors.print(
            Text(f"MLflow is behind the store ({report.tracking_error}). {again}", style="red"),
            soft_wrap=True,
        )
        return
    console.print(
        f"MLflow ({report.tracked} runs written now)" if report.tracked else "MLflow (up to date)"
    )
    if place.tracking.startswith("sqlite:"):
        console.print("  " + mlflow_command(place.tracking), soft_wrap=True)
        console.print("  then open http://127.0.0.1:5000")
    else:
        console.print(f"  {place.tracking}", soft_wrap=True)


def mlflow_command(tracking: str) -> str:
    """The command that opens the MLflow UI on a database, ready to paste."""
    program = Path(sys.executable).with_name("mlflow")
    return shlex.join(
        [short(program) if program.exists() else "mlflow", "ui", "--backend-store-uri", tracking]
    )
