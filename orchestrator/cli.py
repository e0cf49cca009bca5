"""The command `spolia`: plan, run, status, results, methods.

Exit status: 0 all that was asked for is done; 1 something failed, is blocked or not tracked; 2 bad input; 130 interrupted.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.errors import CorruptError, InputError, MethodError, SpoliaError, StoreError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
UsageError: Any = typer.BadParameter.__mro__[1]  # click's, which newer typers bring along under a private name

app = typer.Typer(
    help="Sweeps of experiments on neural networks whose parts can be reused.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


class ExecutorName(str, Enum):  # noqa: UP042 - typer shows the values of a str enum
    """Where trials run."""

    ray = "ray"
    inline = "inline"


SweepFile = Annotated[str, typer.Argument(help="A sweep file, such as sweeps/quickstart.py.", show_default=False)]
HomeFolder = Annotated[Path, typer.Option("--home", envvar="SPOLIA_HOME", help="Folder for store, MLflow database, tables and scratch.")]
StoreFolder = Annotated[Path | None, typer.Option("--store", envvar="SPOLIA_STORE", help="Folder of the store.", show_default="HOME/store")]
Tracking = Annotated[
    str | None, typer.Option("--tracking", envvar="SPOLIA_TRACKING", help="MLflow address, or 'none'.", show_default="sqlite:///HOME/mlflow.db")
]
DataFolder = Annotated[Path | None, typer.Option("--data", envvar="SPOLIA_DATA", help="Folder of image sets.", show_default=False)]
DEFAULT_HOME = Path("spolia-home")


def _prepare(sweep: str, home_folder: Path, store: Path | None, tracking: str | None, data: Path | None) -> tuple[str, Any, Any]:
    """Name, sweep and places; the data folder goes to the variable that workers inherit."""
    from orchestrator.launch import home
    from orchestrator.sweep import load_sweep

    if data is not None:
        os.environ["SPOLIA_DATA"] = str(data.expanduser().absolute())
    name, loaded = load_sweep(sweep)
    return name, loaded, home(home_folder, store, tracking)


@app.command()
def plan(sweep: SweepFile, home_folder: HomeFolder = DEFAULT_HOME, store: StoreFolder = None, data: DataFolder = None) -> None:
    """Show what a sweep would run, what it shares and what is done. Starts nothing."""
    from orchestrator.console import print_plan
    from orchestrator.plan import make_plan
    from orchestrator.store import Store

    name, loaded, place = _prepare(sweep, home_folder, store, None, data)
    print_plan(console, make_plan(name, loaded, Store(place.store)))


@app.command()
def run(
    sweep: SweepFile,
    home_folder: HomeFolder = DEFAULT_HOME,
    store: StoreFolder = None,
    tracking: Tracking = None,
    data: DataFolder = None,
    executor: Annotated[ExecutorName, typer.Option(help="Ray Tune, or one trial after another in this process.")] = ExecutorName.ray,
    slots: Annotated[int | None, typer.Option(min=1, help="Trials at once.", show_default="one a CPU")] = None,
    checkpoint_every: Annotated[float, typer.Option(min=0, help="Seconds between the checkpoints of a trial.")] = 60.0,
) -> None:
    """Run what a sweep lacks, track it to MLflow, and show its results. The same command again goes on where it stopped."""
    from orchestrator.console import print_plan, print_results
    from orchestrator.launch import launch
    from orchestrator.plan import make_plan
    from orchestrator.site import Site
    from orchestrator.store import Store

    name, loaded, place = _prepare(sweep, home_folder, store, tracking, data)
    store_here = Store(place.store)
    store_here.prepare()
    made = make_plan(name, loaded, store_here)
    print_plan(console, made)
    count = slots or (1 if executor is ExecutorName.inline else os.cpu_count() or 1)
    report = launch(made, loaded, place, Site(place.root / "scratch", count, checkpoint_every), executor.value, console)
    if not report.executed and not report.problems and report.plan.is_complete:
        console.print("Nothing to run: every cell has its result in the store.")
    print_results(console, report.results)
    _print_problems(report)
    _print_places(report, place)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not report.is_complete:
        raise typer.Exit(FAILED)


def _print_problems(report: Any) -> None:
    for outcome in report.problems:
        trial = report.plan.trials[outcome.key]
        errors.print(Text(f"{outcome.kind}: {trial.label}\n  {outcome.reason.splitlines()[0]}", style="red"))
    reasons = list(dict.fromkeys(report.blocked.values()))
    if reasons:
        errors.print(Text(f"{len(report.blocked)} trials are blocked, the first because {reasons[0]}", style="red"))
    kinds = [k for k in report.plan.outcomes.values() if k != "done"]
    if kinds:
        listed = ", ".join(f"{kinds.count(k)} {k}" for k in dict.fromkeys(kinds))
        console.print(f"{len(kinds)} trials ended without training through: {listed}.")


def _print_places(report: Any, place: Any) -> None:
    console.print("\nTables")
    for path in report.tables:
        console.print(f"  {_short(path)}", soft_wrap=True)
    if place.tracking is None:
        return
    if report.tracking_error:
        again = "Nothing is lost: the same command, run again, writes what is missing."
        errors.print(Text(f"MLflow is behind the store ({report.tracking_error}). {again}", style="red"), soft_wrap=True)
        return
    console.print(f"MLflow ({report.tracked} runs written now)" if report.tracked else "MLflow (up to date)")
    if place.tracking.startswith("sqlite:"):
        console.print("  " + mlflow_command(place.tracking), soft_wrap=True)
        console.print("  then open http://127.0.0.1:5000")
    else:
        console.print(f"  {place.tracking}", soft_wrap=True)


def mlflow_command(tracking: str) -> str:
    """The command that opens the MLflow UI on a database, ready to paste."""
    program = Path(sys.executable).with_name("mlflow")
    return shlex.join([_short(program) if program.exists() else "mlflow", "ui", "--backend-store-uri", tracking])


def _short(path: Path) -> str:
    """Relative to here where it lies below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@app.command()
def status(sweep: SweepFile, home_folder: HomeFolder = DEFAULT_HOME, store: StoreFolder = None, data: DataFolder = None) -> None:
    """Say how much of a sweep is done. Exit status 0 only when all of it is."""
    from orchestrator.plan import make_plan
    from orchestrator.store import Store

    name, loaded, place = _prepare(sweep, home_folder, store, None, data)
    made = make_plan(name, loaded, Store(place.store))
    finished = sum(cell.trial.key in made.outcomes for cell in made.cells)
    failed = [t for t in made.todo if t.key in made.failures]
    console.print(
        f"{name}: {finished} of {len(made.cells)} cells done; trials: {len(made.outcomes)} of {len(made.trials)} done, {len(failed)} failed"
    )
    for trial in failed:
        console.print(Text(f"  failed: {trial.label}\n    {made.failures[trial.key].splitlines()[0]}", style="red"))
    if not made.is_complete:
        raise typer.Exit(FAILED)


@app.command()
def results(sweep: SweepFile, home_folder: HomeFolder = DEFAULT_HOME, store: StoreFolder = None, data: DataFolder = None) -> None:
    """Show the results of a sweep and write its tables as Parquet."""
    from orchestrator.console import print_results
    from orchestrator.plan import make_plan
    from orchestrator.results import Results
    from orchestrator.store import Store

    name, loaded, place = _prepare(sweep, home_folder, store, None, data)
    found = Results(make_plan(name, loaded, opened := Store(place.store)), opened)
    print_results(console, found)
    console.print("\nTables")
    for path in found.write(place.tables(name)):
        console.print(f"  {_short(path)}", soft_wrap=True)


@app.command()
def methods(name: Annotated[str | None, typer.Argument(help="One method, with its axes.", show_default=False)] = None) -> None:
    """List the methods that are installed, or one with its axes."""
    from orchestrator.errors import nearest
    from orchestrator.registry import discover

    found = discover()
    if name is None:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("method")
        table.add_column("tasks")
        table.add_column("what it does")
        for method in found.values():
            table.add_row(method.name, ", ".join(method.tasks.names), _first_sentence(method.__doc__))
        console.print(table)
        console.print("\nspolia methods NAME shows its axes.", style="dim")
        return
    if name not in found:
        raise InputError(f"no method is called {name!r}. {nearest(name, found)}")
    _print_method(found[name])


def _print_method(method: Any) -> None:
    import dataclasses

    from orchestrator.canonical import show
    from orchestrator.method import settings_default

    module = sys.modules[method.__module__]
    console.print(f"[bold]{method.name}[/] (revision {method.revision}, {method.__module__})\n")
    for paragraph in (module.__doc__ or "").strip().split("\n\n"):
        console.print(Text(" ".join(paragraph.split()) + "\n"))
    console.print(Text(" ".join((method.__doc__ or "").split()) + "\n"))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("axis", "default", "worth trying", "meaning"):
        table.add_column(column)
    for field in dataclasses.fields(method):
        over = "  ".join(show(frozenset(v) if isinstance(settings_default(method, field.name), frozenset) else v) for v in field.metadata["over"])
        table.add_row(field.name, show(settings_default(method, field.name)), over, field.metadata["help"])
    console.print(table)


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).split(". ")[0].rstrip(".") + "."


def main() -> None:
    """The command's entry: errors as messages, not tracebacks."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a preempted driver stops like an interrupted one
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except UsageError as error:
        error.show()
        sys.exit(BAD_INPUT)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        errors.print("Interrupted.")
        sys.exit(INTERRUPTED)
    except SpoliaError as error:
        errors.print(Text(f"error: {error}", style="red"), soft_wrap=True)
        wrong = isinstance(error, InputError | MethodError | StoreError) and not isinstance(error, CorruptError)
        sys.exit(BAD_INPUT if wrong else FAILED)


if __name__ == "__main__":
    main()
