"""run: what a sweep lacks, on this machine or on a cluster."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from orchestrator.cli.options import (
    ENDED_OTHERWISE,
    FAILED,
    INTERRUPTED,
    CheckpointEvery,
    Limit,
    Only,
    RetryOption,
    SeedsFirst,
    Slots,
    Smoke,
    StaleOption,
    SweepFile,
    Where,
    again,
    console,
    errors,
    with_places,
)
from orchestrator.session.choices import ExecutorName
from orchestrator.spec.wording import short
from orchestrator.store.home import DEFAULT_HOME

if TYPE_CHECKING:
    from orchestrator.planning.plan import Plan
    from orchestrator.session.running import RunSummary
    from orchestrator.session.session import Session
    from orchestrator.store.home import Home
    from orchestrator.training.outcome import Outcome

SHOWN = 3  # trials that failed for one reason, and reasons of others, that are shown


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
    typer.Option(
        metavar="ADDRESS",
        help="Ray cluster: 'auto' or HOST:PORT.",
        show_default="a private Ray here",
    ),
]


@with_places("home", "store", "tracking", "data", "site")
def run(
    where: Where,
    sweep: SweepFile,
    only: Only = None,
    limit: Limit = None,
    smoke: Smoke = False,
    seeds_first: SeedsFirst = False,
    stale: StaleOption = None,
    retry: RetryOption = None,
    executor: ExecutorOption = ExecutorName.ray,
    pdb: Pdb = None,
    address: Address = None,
    slots: Slots = None,
    checkpoint_every: CheckpointEvery = None,
) -> None:
    """Run what a sweep lacks, and show its results. Runs are tracked to MLflow. The same command
    again goes on where it stopped.
    """
    session = _opened(where, sweep)
    from orchestrator.cli.progress import TerminalDisplay

    display = TerminalDisplay(console, [] if smoke else _hints(session, sweep))
    if pdb is not None:
        _refuse_beside_pdb(executor, smoke)
        again: dict[str, Any] = {"limit": limit, "stale": stale, "retry": retry or ()}
        _debug(session, session.prepare(only, executor=executor, display=display, **again), pdb)
        return
    summary = session.run(
        only,
        executor=executor,
        slots=slots,
        limit=limit,
        stale=stale,
        retry=retry or (),
        smoke=smoke,
        seeds_first=seeds_first,
        address=address,
        checkpoint_every=checkpoint_every,
        display=display,
    )
    _print_end(summary, None if smoke else session.home, sweep)


def _opened(where: Where, sweep: str) -> Session:
    """The session of a run, which may be a job from elsewhere."""
    # Torch is loaded, which takes seconds.
    with console.status("reading the sweep") if console.is_terminal else nullcontext():
        session = where.session(sweep)
        from orchestrator.submission.arrival import check_arrival

    check_arrival(session)
    return session


def _hints(session: Session, sweep: str) -> list[str]:
    """Where more is to be seen while trials run."""
    hints = [f"more in another terminal: {again('status', _named(sweep), '--watch')}"]
    if (pages := _pages(session.home, sweep)) is not None:
        hints.append(f"live curves: {pages}")
    return hints


def _pages(home: Home, sweep: str) -> str | None:
    """The command that shows a sweep in MLflow, to paste; None where nothing is tracked, and where
    a server does, whose address is said when it has the sweep.
    """
    if home.tracking is None or home.tracking.startswith("http"):
        return None
    # A database has no pages until a server is started on it.
    is_usual = home.root == Path.cwd() / DEFAULT_HOME
    options = "" if is_usual else f" --home {shlex.quote(short(home.root))}"
    return f"spolia ui {_named(sweep)}{options}"


def _named(sweep: str) -> str:
    """A sweep file as a command takes it, in this folder."""
    return shlex.quote(short(Path(sweep).absolute()))


def _print_end(summary: RunSummary, home: Home | None, sweep: str) -> None:
    """What came of a run, and where it is (None: thrown away); ends the command with its status."""
    _print_summary(summary)
    if home is not None:
        _print_addresses(summary, home, sweep)
        if summary.results.by_key:
            named = _named(sweep)
            console.print(f"Page: {again('report', named)}", soft_wrap=True)
            console.print(f"These results again: {again('results', named)}", soft_wrap=True)
    _exit_unless_complete(summary)


def _refuse_beside_pdb(executor: ExecutorName, smoke: bool) -> None:
    from orchestrator.errors import InputError

    if executor is not ExecutorName.inline:
        raise InputError("--pdb works in this process only: add --executor inline")
    if smoke:
        raise InputError("--pdb runs one trial of the sweep as written: leave out --smoke")


def _print_summary(summary: RunSummary) -> None:
    """Results and problems."""
    from orchestrator.cli.tables import print_results

    if not summary.num_executed and not summary.problems and summary.plan.is_complete:
        console.print("Nothing to run: every cell has its result in the store.")
    if summary.results.by_key:
        print_results(console, summary.results)
    else:
        console.print("No cell has a result.")
    _print_problems(summary)


def _exit_unless_complete(summary: RunSummary) -> None:
    # In this order: what was interrupted is not complete either, and what is not complete is not
    # done.
    if summary.is_interrupted:
        raise typer.Exit(INTERRUPTED)
    if not summary.is_complete:
        raise typer.Exit(FAILED)
    if not summary.plan.is_done:
        raise typer.Exit(ENDED_OTHERWISE)


def _debug(session: Session, plan: Plan, key: str) -> None:
    """Run one trial in this process; an exception opens the debugger where it happened."""
    import pdb
    import traceback

    from orchestrator.planning.explain import explain
    from orchestrator.training.execute import execute, run_with_needs

    # For its search only: the key may be shortened, and has to be one of the plan's.
    trial = explain(plan, session.store, key).trial
    console.print(f"Running {trial.label} under the debugger.")
    run_with_needs(trial, session.store)
    try:
        # Without scratch: nothing that was interrupted is gone on with.
        outcome = execute(trial, session.store, raise_errors=True)
    except Exception as error:
        traceback.print_exc()
        pdb.post_mortem(error.__traceback__)
        raise typer.Exit(FAILED) from error
    reason = f": {outcome.reason}" if outcome.reason else ""
    console.print(f"{outcome.kind} in {outcome.seconds:.1f} s{reason}")


def _print_problems(summary: RunSummary) -> None:
    """Failures by reason, what is blocked, and which cells ended otherwise than done."""
    from orchestrator.cli.plans import print_standing

    by_reason: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in summary.problems:
        reason = outcome.reason.splitlines()[0]
        by_reason.setdefault((outcome.kind, reason), []).append(outcome)
    for (kind, reason), outcomes in by_reason.items():
        for outcome in outcomes[:SHOWN]:  # a thousand trials fail for one reason as a rule
            label = summary.plan.trials[outcome.key].label
            _print_error(f"{kind}: {label}\n  {reason}\n  {again('logs', outcome.key[:12])}")
        num_more = len(outcomes) - SHOWN
        if num_more > 0:
            _print_error(
                f"{num_more} more {kind} for this reason; "
                f"`{again('list SWEEP --state', kind)}` lists them"
            )
    if summary.stopped:
        _print_error(f"error: {summary.stopped}", soft_wrap=True)
    print_standing(console, summary.plan, most=SHOWN)


def _print_error(text: str, *, soft_wrap: bool | None = None) -> None:
    errors.print(Text(text, style="red"), soft_wrap=soft_wrap)


def _print_addresses(summary: RunSummary, home: Home, sweep: str) -> None:
    """Where MLflow is; the tables were named when they were written."""
    console.print()
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
    if page := summary.page or _pages(home, sweep):
        console.print(f"  {page}", soft_wrap=True)
