"""What the command line prints of how a sweep stands: a table of methods and states, what runs,
what failed and why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.cli.options import STYLES, again
from orchestrator.cli.plans import standing_lines
from orchestrator.session.status import Failed, Status
from orchestrator.spec.wording import duration

WATCHED_EVERY = 2.0  # seconds between two looks
KEYS_SHOWN = 3  # of trials that failed for one reason


def print_status(console: Console, status: Status) -> None:
    """How a sweep stands now."""
    console.print(as_renderable(status))


def watch(console: Console, look: Callable[[], Status]) -> Status:
    """Show how a sweep stands until nothing can change any more, or somebody interrupts; what was
    seen last. Who watches before the run begins waits for it; once a run was seen, its end is one.
    """
    status = look()
    # Where there is no terminal, each look would be appended to the one before.
    if not console.is_terminal:
        print_status(console, status)
        return status
    was_at_work = status.is_at_work
    with Live(as_renderable(status), console=console, auto_refresh=False) as live:
        while status.can_go_on and (status.is_at_work or not was_at_work):
            try:
                time.sleep(WATCHED_EVERY)
            except KeyboardInterrupt:  # how one leaves it
                return status
            status = look()
            was_at_work = was_at_work or status.is_at_work
            live.update(as_renderable(status), refresh=True)
    if not status.is_complete:
        console.print("Nothing goes on here any more; the same `spolia run` does.", style="yellow")
    return status


def as_renderable(status: Status) -> Group:
    """Counts, a row a method, what runs, what failed and why, what cannot be said here."""
    parts: list[RenderableType] = []
    if status.plan is None:
        parts.append(Text(status.headline))
    else:
        parts += standing_lines(status.plan)
        parts.append(_methods(status))
    if status.under_way:
        parts += [Text("\nunder way", style="bold"), _under_way(status)]
    parts += _failures(status)
    parts += [Text(str(missing), style="yellow") for missing in status.missing]
    return Group(*parts)


def _methods(status: Status) -> Table:
    """A row for each method of cells and needs, a column for each state that occurs."""
    heads, rows = status.counted_by_method()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, head in enumerate(heads):
        style = STYLES.get(head, "") if number > 1 else ""
        table.add_column(head, justify="right" if number > 1 else "left", style=style)
    for row in rows:
        table.add_row(*row)
    return table


def _under_way(status: Status) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("key", "trial", "epoch", "loss", "for"):
        table.add_column(heading, no_wrap=heading != "trial", overflow="fold")
    for one in status.under_way:
        loss = "" if one.loss is None else f"{one.loss:.4g}"
        lasts = duration(max(0.0, time.time() - one.began))
        epoch = f"{one.stage} {one.epoch}/{one.epochs}"
        table.add_row(one.key[:12], Text(one.label), epoch, loss, lasts)
    return table


def _failures(status: Status) -> Iterator[Text]:
    """Each reason once, with the first trials that it ended."""
    by_reason = sorted(status.failed, key=lambda one: (one.state, one.reason))
    for (state, reason), trials in groupby(by_reason, key=lambda one: (one.state, one.reason)):
        yield _failed_alike(state, reason, list(trials))


def _failed_alike(state: str, reason: str, trials: list[Failed]) -> Text:
    count = "1 trial" if len(trials) == 1 else f"{len(trials)} trials"
    lines = [f"\n{count} {state}: {reason}"]
    lines += [f"  {one.label}\n    {again('logs', one.key[:12])}" for one in trials[:KEYS_SHOWN]]
    if len(trials) > KEYS_SHOWN:
        lines.append(f"  and {len(trials) - KEYS_SHOWN} more: {again('list SWEEP --state', state)}")
    return Text("\n".join(lines), style=STYLES[state])
