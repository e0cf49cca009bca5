"""submit: a sweep handed in at the head of a cluster, from anywhere, and followed there."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from orchestrator.cli.options import (
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
    Where,
    console,
    errors,
    with_places,
)
from orchestrator.session.choices import refuse_beside_smoke

if TYPE_CHECKING:
    from orchestrator.session.session import Session
    from orchestrator.submission.head import Head, Job
    from orchestrator.submission.places import Given

SweepToSubmit = Annotated[
    str | None, typer.Argument(metavar="SWEEP", help="A sweep file, such as sweeps/quickstart.py.")
]
HeadAddress = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The head's Ray dashboard, http://HEAD:8265.",
        show_default="'head' in the site file",
    ),
]
Follow = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="Follow a job, from its beginning.",
        show_default=False,
    ),
]
Stop = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="Stop a job; what is done is kept.",
        show_default=False,
    ),
]


@with_places("home", "store", "tracking", "data", "site")
def submit(
    where: Where,
    sweep: SweepToSubmit = None,
    address: HeadAddress = None,
    follow: Follow = None,
    stop: Stop = None,
    only: Only = None,
    limit: Limit = None,
    smoke: Smoke = False,
    seeds_first: SeedsFirst = False,
    stale: StaleOption = None,
    retry: RetryOption = None,
    slots: Slots = None,
    checkpoint_every: CheckpointEvery = None,
) -> None:
    """Run a sweep as a job of a cluster, and follow it. It is handed in at the head with what it
    uses of your own modules, and needs nobody who follows it; the same command again follows it.
    Exit status: that of `spolia run` there.
    """
    _one_of_three(sweep, follow, stop)
    if smoke:
        refuse_beside_smoke(limit=limit, stale=stale, retry=retry, seeds_first=seeds_first)
    # Before there is a session, which sets variables for its own workers.
    given = _given(where)
    # The head first: a sweep file that names a method loads torch.
    head = _head(address, where.session())
    again = _this_command(address, where)
    if sweep is None:
        _stop(head, stop) if stop is not None else _follow(head, str(follow), again)
        return
    options = _options(
        only=only,
        limit=limit,
        smoke=smoke,
        seeds_first=seeds_first,
        stale=stale and stale.value,
        retry=[one.value for one in retry or ()],
        slots=slots,
        checkpoint_every=checkpoint_every,
    )
    _follow(head, _handed_in(head, where.session(sweep), given, options, only), again)


def _given(where: Where) -> Given:
    """What was said of places for this command, as far as it counts for the head."""
    from orchestrator.submission.places import Given

    return Given.without_own_folders(
        home=where.home, store=where.store, tracking=where.tracking, data=where.data
    )


def _one_of_three(sweep: str | None, follow: str | None, stop: str | None) -> None:
    from orchestrator.errors import InputError

    if [sweep, follow, stop].count(None) != 2:
        raise InputError("spolia submit takes one of three: a sweep file, --follow ID or --stop ID")


def _head(address: str | None, session: Session) -> Head:
    from orchestrator.submission.head import Head
    from orchestrator.submission.places import address_of_head

    return Head(address_of_head(address, session.places))


def _this_command(address: str | None, where: Where) -> str:
    """`spolia submit` with what it takes to find the head again, for a line to paste."""
    said = _options(address=address) if address else _options(site=where.site)
    return shlex.join(["spolia", "submit", *said])


def _options(**given: object) -> list[str]:
    """Options of `spolia run` as they were given here."""
    words = []
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [word for one in value for word in (option, str(one))]
        elif value is not None and value is not False:
            words += [option, str(value)]
    return words


def _handed_in(
    head: Head, session: Session, given: Given, options: Sequence[str], only: str | None
) -> str:
    """The job that runs the sweep: a new one, or the same that runs already."""
    from orchestrator.submission import submit as submission
    from orchestrator.submission.packing import in_words

    prepared = submission.prepare(session, given, options, only)
    for note in prepared.notes:
        errors.print(Text(note, style="yellow"), soft_wrap=True)
    running = submission.running_already(prepared, head)
    if running is not None:
        _say(f"{running.id} is just this and runs since {running.since}: following it.")
        return running.id
    job = prepared.new_id()
    submission.hand_in(prepared, head, job, console.width)
    _say(f"{job} is handed in at {head.address}: {in_words(prepared.package)}.")
    return job


def _follow(head: Head, job: str, again: str) -> None:
    """Show what a job prints until it has ended; ends the command as it ended."""
    from orchestrator.submission.following import follow
    from orchestrator.submission.submit import how_it_failed

    try:
        ended = follow(head, job, _write, _say)
    except KeyboardInterrupt:
        _say(
            f"\n{job} goes on without you. Follow it again: {again} --follow {job}. "
            f"Stop it: {again} --stop {job}."
        )
        raise typer.Exit(INTERRUPTED) from None
    if why := how_it_failed(ended):
        errors.print(Text(why, style="red"), soft_wrap=True)
    raise typer.Exit(_exit_status(ended))


def _exit_status(job: Job) -> int:
    """The job's own where it had one, which is that of `spolia run`."""
    if job.status == "SUCCEEDED":
        return 0
    if job.status == "STOPPED":
        return INTERRUPTED
    status = FAILED if job.exit_code is None else job.exit_code
    # Others are no program's own: killed, never started, or the shell did not find it.
    return status if 0 < status < 127 or status == INTERRUPTED else FAILED


def _stop(head: Head, job: str) -> None:
    """Stop a job and wait until it has ended."""
    from orchestrator.submission.following import follow

    found = head.job(job)
    if found.has_ended:
        _say(f"{job} had ended already ({found.status.lower()}).")
        return
    head.stop(job)
    with console.status(Text("waiting for it to leave everything in order")):
        ended = follow(head, job, lambda text: None, _say)
    _say(f"{job} has ended ({ended.status.lower()}). What is done is kept.")


def _write(text: str) -> None:
    """What a job prints, as it is: it was made for this terminal's width."""
    sys.stdout.write(text)
    sys.stdout.flush()


def _say(text: str) -> None:
    errors.print(Text(text), soft_wrap=True)
