"""run: what a sweep lacks, on this machine or on a cluster."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from orchestrator.cli.options import (
    ENDED_OTHERWISE,
    FAILED,
    INTERRUPTED,
    DataFolder,
    ExecutorName,
    HomeFolder,
    Only,
    Retry,
    Setting,
    SiteOption,
    Stale,
    StorePlace,
    SweepFile,
    Tracking,
    console,
    errors,
    finite,
    load,
    setting,
    short,
)

if TYPE_CHECKING:
    from orchestrator.executors.site import Site
    from orchestrator.planning.plan import Plan
    from orchestrator.session import RunSummary
    from orchestrator.spec.sweep import Sweep
    from orchestrator.store.home import Home
    from orchestrator.training.outcome import Outcome

SHOWN = 3  # trials that failed for one reason, and reasons of others, that are shown


Limit = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Run at most N unfinished cells.", show_default=False),
]
Smoke = Annotated[
    bool,
    typer.Option(help="Try every method at its smoke values on 256 images, in a temporary store."),
]
StaleOption = Annotated[
    Stale | None,
    typer.Option(
        help="Results made with other code: keep them, run one of each kind again to check whether "
        "its bits agree, or rerun all.",
        show_default=False,
    ),
]
RetryOption = Annotated[
    list[Retry] | None,
    typer.Option(help="Also rerun trials with this outcome.", show_default=False),
]
ExecutorOption = Annotated[
    ExecutorName, typer.Option(help="Ray Tune, or one trial after another in this process.")
]
Pdb = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Run one trial under the debugger (needs --executor inline).",
        show_default=False,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster: 'auto' or HOST:PORT.", show_default="a private Ray here"),
]
Slots = Annotated[
    int | None, typer.Option(min=1, help="Trials to run at once.", show_default="one per CPU")
]
CheckpointEvery = Annotated[
    float | None,
    typer.Option(
        min=0, callback=finite, help="Seconds between a trial's checkpoints.", show_default="60"
    ),
]


def run(
    sweep: SweepFile,
    only: Only = None,
    limit: Limit = None,
    smoke: Smoke = False,
    stale: StaleOption = None,
    retry: RetryOption = None,
    executor: ExecutorOption = ExecutorName.ray,
    pdb: Pdb = None,
    address: Address = None,
    slots: Slots = None,
    checkpoint_every: CheckpointEvery = None,
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

    chosen = setting(home_folder, store, tracking, data, site_file)
    if pdb is not None and executor is not ExecutorName.inline:
        raise InputError("--pdb works in this process only: add --executor inline")
    name, full_sweep, selected = load(sweep, only)
    if smoke:
        _smoke(name, selected, chosen, executor, slots)
        return
    _claim_name(name, sweep, chosen.home)
    site = _site(chosen, executor, address, slots, checkpoint_every)
    make = partial(_make_plan, name, selected, chosen.home, limit, stale, retry or ())
    plan = _settle_stale(make, stale, partial(_check_stale, chosen.home, site, executor))
    if pdb is not None:
        _debug(plan, chosen.home, pdb)
        return
    summary = _run_and_print(plan, full_sweep, chosen.home, site, executor)
    _print_addresses(summary, chosen.home)
    _exit_unless_complete(summary)


def _claim_name(name: str, file: str, home: Home) -> None:
    """In one store a sweep's name belongs to one file."""
    from orchestrator.store.store import Store

    store = Store(home.store)
    store.prepare()
    store.claim_sweep(name, Path(file))


def _make_plan(
    name: str,
    sweep: Sweep,
    home: Home,
    limit: int | None,
    stale: Stale | None,
    retry: Sequence[Retry],
) -> Plan:
    """The plan of what is asked for, printed."""
    from orchestrator.cli.tables import print_plan
    from orchestrator.planning import choose
    from orchestrator.planning.plan import make_plan
    from orchestrator.store.store import Store

    store = Store(home.store)
    store.prepare()
    rerun_stale, outcomes = stale is Stale.rerun, [outcome.value for outcome in retry]
    plan = make_plan(name, sweep, store, rerun_stale=rerun_stale, retry=outcomes)
    if limit is not None:
        # Planned twice: which cells are the first without a result is known from the first plan.
        few = choose.limit(sweep, plan, limit)
        plan = make_plan(name, few, store, rerun_stale=rerun_stale, retry=outcomes)
    print_plan(console, plan)
    return plan


def _settle_stale(
    make: Callable[[], Plan], stale: Stale | None, check: Callable[[Plan], Sequence[str]]
) -> Plan:
    """The plan of what is asked for, once stale results have been dealt with as `stale` says.
    Raises InputError where they would be mixed with new ones.
    """
    plan = make()
    problems: Sequence[str] = ()
    if stale is Stale.check and plan.kinds:
        problems = check(plan)
        plan = make()
    if stale is not Stale.keep:
        _refuse_stale(plan, problems)
    return plan


def _check_stale(home: Home, site: Site, executor: ExecutorName, plan: Plan) -> Sequence[str]:
    """Run one stale result of each kind again; what was found of the kinds that do not agree."""
    from orchestrator.cli.progress import TerminalDisplay
    from orchestrator.session import check_stale

    num_kinds = len(set(plan.kinds.values()))
    console.print(f"\nChecking {num_kinds} of {len(plan.kinds)} stale results, one of each kind.")
    check = check_stale(plan, home, site, executor.value, TerminalDisplay(console))
    console.print(
        f"{check.num_equal} of {num_kinds} kinds come out the same to the bit with the code of "
        "today; their results are kept.\n"
    )
    return check.problems


def _refuse_stale(plan: Plan, problems: Sequence[str] = ()) -> None:
    """Raise InputError where results would be mixed that different code made. `problems` are what
    `--stale check` has found.
    """
    from orchestrator.errors import InputError

    if not plan.stale:
        return
    ways = "Say --stale keep, or --stale rerun"
    if not problems and plan.kinds:
        ways = "Say --stale check to run one of each kind again, --stale keep, or --stale rerun"
    reasons = problems or list(dict.fromkeys(plan.stale.values()))
    raise InputError(
        f"{len(plan.stale)} results are stale and would be mixed with new ones. {ways}",
        reasons[:5],
    )


def _site(
    chosen: Setting,
    executor: ExecutorName,
    address: str | None,
    slots: int | None,
    checkpoint_every: float | None,
) -> Site:
    """Where and how trials run: the command line's word goes before the site file's. Raises
    InputError for methods in the site file that do not exist.
    """
    from orchestrator.errors import InputError
    from orchestrator.executors.site import Site, unknown_methods
    from orchestrator.spec.registry import discover

    file = chosen.site
    problems = unknown_methods(file, discover()) if file.gpus or file.cpus else []
    if problems:
        raise InputError("the site file names methods that are not there:", problems)
    cluster = address or file.address
    if executor is ExecutorName.inline:
        slots = 1
    elif cluster:
        slots = slots or file.slots  # None on a cluster: as many as it has CPUs
    else:
        slots = slots or file.slots or os.cpu_count() or 1
    return Site(
        scratch=chosen.home.scratch,
        slots=slots,
        checkpoint_every=file.checkpoint_every if checkpoint_every is None else checkpoint_every,
        address=cluster,
        device=file.device,
        gpus=file.gpus,
        cpus=file.cpus,
    )


def _run_and_print(
    plan: Plan, sweep: Sweep, home: Home, site: Site, executor: ExecutorName
) -> RunSummary:
    """Run what the plan lacks, and print results and problems."""
    from orchestrator.cli.progress import TerminalDisplay
    from orchestrator.cli.tables import print_results
    from orchestrator.session import run_sweep

    summary = run_sweep(plan, sweep, home, site, executor.value, TerminalDisplay(console))
    if not summary.num_executed and not summary.problems and summary.plan.is_complete:
        console.print("Nothing to run: every cell has its result in the store.")
    if summary.results.by_key:
        print_results(console, summary.results)
    else:
        console.print("No cell has a result.")
    _print_problems(summary)
    return summary


def _exit_unless_complete(summary: RunSummary) -> None:
    if summary.is_interrupted:
        raise typer.Exit(INTERRUPTED)
    if not summary.is_complete:
        raise typer.Exit(FAILED)
    if not summary.plan.is_done:
        raise typer.Exit(ENDED_OTHERWISE)


def _smoke(
    name: str, sweep: Sweep, chosen: Setting, executor: ExecutorName, slots: int | None
) -> None:
    """Run the sweep in small in a temporary store: a minute before a thousand GPU hours."""
    import tempfile
    from dataclasses import replace

    from orchestrator.planning.choose import smoke

    made = smoke(sweep)
    small = made.sweep
    with tempfile.TemporaryDirectory(prefix="spolia-smoke-") as folder:
        root = Path(folder)
        # Nothing of it reaches MLflow: small results would stand beside real ones.
        home = replace(chosen.home, root=root, store=str(root / "store"), tracking=None)
        size = f"{len(small.cells)} settings of {len(sweep.cells)} cells"
        about = f": {size}, small, in a store that is thrown away."
        console.print(Text.assemble(("Smoke run", "bold"), about))
        if made.smaller:
            told = ", ".join(made.smaller)
            console.print(f"Smaller than the sweep means them: {told}.")
        site = _site(replace(chosen, home=home), executor, None, slots or os.cpu_count(), None)
        # On this machine whatever the site says: its other nodes would not see a store that is
        # thrown away.
        site = replace(site, address=None, device="auto")
        plan = _make_plan(name, small, home, None, None, ())
        _exit_unless_complete(_run_and_print(plan, small, home, site, executor))


def _debug(plan: Plan, home: Home, key: str) -> None:
    """Run one trial in this process; an exception opens the debugger where it happened."""
    import pdb
    import traceback

    from orchestrator.planning.explain import explain
    from orchestrator.store.store import Store
    from orchestrator.training.execute import execute, run_with_needs

    store = Store(home.store)
    trial = explain(plan, store, key).trial
    console.print(f"Running {trial.label} under the debugger.")
    run_with_needs(trial, store)
    try:
        # Without scratch: nothing that was interrupted is gone on with.
        outcome = execute(trial, store, raise_errors=True)
    except Exception as error:
        traceback.print_exc()
        pdb.post_mortem(error.__traceback__)
        raise typer.Exit(FAILED) from error
    reason = f": {outcome.reason}" if outcome.reason else ""
    console.print(f"{outcome.kind} in {outcome.seconds:.1f} s{reason}")


def _print_problems(summary: RunSummary) -> None:
    """Failures by reason, what is blocked, and which cells ended otherwise than done."""
    from orchestrator.cli.tables import print_standing

    by_reason: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in summary.problems:
        reason = outcome.reason.splitlines()[0]
        by_reason.setdefault((outcome.kind, reason), []).append(outcome)
    for (kind, reason), outcomes in by_reason.items():
        for outcome in outcomes[:SHOWN]:  # a thousand trials fail for one reason as a rule
            label = summary.plan.trials[outcome.key].label
            _print_error(f"{kind}: {label}\n  {reason}\n  spolia logs {outcome.key[:12]}")
        num_more = len(outcomes) - SHOWN
        if num_more > 0:
            _print_error(f"{num_more} more {kind} for this reason; `spolia status` lists them")
    if summary.blocked:
        first = next(iter(summary.blocked.values()))
        _print_error(f"{len(summary.blocked)} trials are blocked, the first because {first}")
    print_standing(console, summary.plan, most=SHOWN)


def _print_error(text: str, *, soft_wrap: bool | None = None) -> None:
    errors.print(Text(text, style="red"), soft_wrap=soft_wrap)


def _print_addresses(summary: RunSummary, home: Home) -> None:
    """Where tables and MLflow are."""
    if summary.tables:
        console.print("\nTables")
    for path in summary.tables:
        console.print(f"  {short(path)}", soft_wrap=True)
    if home.tracking is None:
        return
    if summary.tracking_error:
        _print_error(
            f"MLflow is behind the store ({summary.tracking_error}). Nothing is lost: "
            "`spolia track` with this sweep, or the same command run again, writes what is "
            "missing.",
            soft_wrap=True,
        )
        return
    news = f"{summary.num_tracked} runs written now" if summary.num_tracked else "up to date"
    console.print(f"MLflow ({news})")
    if home.tracking.startswith("sqlite:"):
        console.print("  " + mlflow_command(home.tracking), soft_wrap=True)
        console.print("  then open http://127.0.0.1:5000")
    else:
        console.print(f"  {home.tracking}", soft_wrap=True)


def mlflow_command(tracking: str) -> str:
    """The command that opens the MLflow UI on a database, ready to paste."""
    beside_python = Path(sys.executable).with_name("mlflow")
    program = short(beside_python) if beside_python.exists() else "mlflow"
    return shlex.join([program, "ui", "--backend-store-uri", tracking])
