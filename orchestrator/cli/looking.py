"""list, compare: the trials of a sweep with their keys, and two sides held against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from orchestrator.cli.options import (
    STYLES,
    AsJson,
    Only,
    SweepFile,
    Where,
    console,
    print_json,
    short_lived,
    with_places,
)

if TYPE_CHECKING:
    from orchestrator.session.contrast import Contrast
    from orchestrator.session.trials import Trials

SHOWN_DIGITS = 12  # of a key: enough to name it everywhere
Role = Literal["cell", "need"]


@with_places("home", "store", "data", "site")
@short_lived
def list_trials(
    where: Where,
    sweep: SweepFile,
    only: Only = None,
    role: Annotated[
        Role | None,
        typer.Option(help="Only cells, or only what cells need.", show_default=False),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Only trials of this method.", show_default=False)
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            help="Only trials that stand so: done, open, failed, stale.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the trials of a sweep with their keys. Cells, and what they need; keys are what
    `spolia logs`, `spolia export`, `--why`, `--pdb` and `session.open` take.
    """
    chosen = {"role": role, "method": method, "state": state}
    asked = {name: value for name, value in chosen.items() if value is not None}
    found = where.session(sweep).trials(asked, only=only)
    if as_json:
        print_json([_view(found, number) for number in range(len(found))])
        return
    _print_trials(found)


def _view(trials: Trials, number: int) -> dict[str, object]:
    row = trials[number]
    return {
        "key": row.key,
        "role": row.role,
        "method": row.method,
        "label": row.label,
        "axes": row.values,
        "state": row.state,
        "seconds": row.seconds,
        "reason": row.reason,
    }


def _print_trials(trials: Trials) -> None:
    """A row a trial; cells and needs in tables of their own, since they differ in their axes."""
    from orchestrator.spec.formatting import counted
    from orchestrator.spec.wording import duration

    cells = [row for row in trials if row.role == "cell"]
    for role, title in (("cell", "cell"), ("need", "trial")):
        rows = [row for row in trials if row.role == role]
        if not rows:
            continue
        axes = [axis for axis in dict.fromkeys(a for row in rows for a in row.axes)]
        axes = [axis for axis in axes if axis != "method"]
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("key", no_wrap=True)
        table.add_column("method", overflow="fold")
        for axis in axes:
            table.add_column(axis, overflow="fold")
        table.add_column("state", no_wrap=True)
        table.add_column("time", no_wrap=True, justify="right")
        for row in rows:
            values = [row.axes[axis].text if axis in row.axes else "-" for axis in axes]
            took = "" if row.seconds is None or row.state == "open" else duration(row.seconds)
            state = Text(row.state, style=STYLES.get(row.state, "yellow"))
            table.add_row(row.key[:SHOWN_DIGITS], row.method, *values, state, took)
        more = " that they need" if role == "need" and cells else ""
        console.print(Text(counted(len(rows), title) + more, style="bold"))
        console.print(table)
    if not trials:
        console.print("No trial is like this.")


@with_places("home", "store", "data", "site")
@short_lived
def compare(
    where: Where,
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="SIDE...",
            help="A sweep file and two settings of it, two sweep files, one sweep file with "
            "--with-home, two keys, or the key of a result that has replaced another.",
            show_default=False,
        ),
    ],
    with_home: Annotated[
        str | None,
        typer.Option(help="The other home that has the sweep, too.", show_default=False),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Only this metric.", show_default="all headline metrics"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how much two sides differ, beyond chance or not.

    \b
    spolia compare sweeps/quickstart.py "split=stem" "split=pool"
    spolia compare sweeps/first.py sweeps/second.py
    spolia compare sweeps/quickstart.py --with-home ../theirs/spolia-home
    spolia compare 8c1f20 77ab03
    """
    found = _contrast(where, sides, with_home, metric)
    if as_json:
        print_json({"first": found.first, "second": found.second, "gaps": _gap_views(found)})
        return
    _print_contrast(found)


def _contrast(
    where: Where, sides: list[str], with_home: str | None, metric: str | None
) -> Contrast:
    from dataclasses import replace

    from orchestrator.errors import InputError
    from orchestrator.planning.choose import labels_in

    files = [side for side in sides if _is_sweep_file(side)]
    others = [side for side in sides if side not in files]
    is_of_settings = bool(others) and all("=" in side for side in others)
    if with_home is not None:
        if len(files) != 1 or others:
            raise InputError("--with-home compares one sweep in two homes: name one sweep file")
        # Its own store, said in so many words: a variable or the site file may name another, which
        # would be held against itself.
        theirs = replace(where, home=with_home, store=str(Path(with_home, "store")))
        other = theirs.session(files[0])
        return where.session(files[0]).compare(other, metric=metric)
    if len(files) == 2 and not others:
        first_sweep, second_sweep = (where.session(file) for file in files)
        return first_sweep.compare(second_sweep, metric=metric)
    if len(files) == 1 and len(others) == 2 and is_of_settings:
        session = where.session(files[0])
        first, second = (labels_in(session.sweep, side) for side in others)
        return session.compare(first, second, metric=metric)
    if not files and 1 <= len(others) <= 2 and not is_of_settings:
        return where.session().compare(*others, metric=metric)
    raise InputError(
        f"{' '.join(map(repr, sides))}: compare takes a sweep file and two settings of it, two "
        "sweep files, one sweep file with --with-home, two keys, or one key"
    )


def _is_sweep_file(side: str) -> bool:
    return side.endswith(".py") or Path(side).is_file()


def _gap_views(found: Contrast) -> list[dict[str, object]]:
    from orchestrator.cli.json_values import estimate_view

    return [
        {
            "at": gap.at,
            "metric": gap.metric,
            "first": estimate_view(gap.first),
            "second": estimate_view(gap.second),
            "difference": estimate_view(gap.difference),
            "is_beyond_chance": gap.is_beyond_chance,
            "problems": list(gap.problems),
        }
        for gap in found.gaps
    ]


def _print_contrast(found: Contrast) -> None:
    """A row a metric and setting; what moved beyond its interval is marked, and told last."""
    console.print(Text.assemble(("first   ", "bold"), found.first), soft_wrap=True)
    console.print(Text.assemble(("second  ", "bold"), found.second), soft_wrap=True)
    has_settings = any(gap.at for gap in found.gaps)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in (["setting"] if has_settings else []) + ["metric"]:
        table.add_column(heading, overflow="fold")
    for heading in ("first", "second", "second - first", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for gap in found.gaps:
        style = "bold" if gap.is_beyond_chance else ""
        names = [gap.at, gap.metric] if has_settings else [gap.metric]
        numbers = [str(gap.first), str(gap.second), str(gap.difference), str(gap.n)]
        table.add_row(*names, *numbers, "*" if gap.is_beyond_chance else "", style=style)
    console.print(table)
    for line in found.remarks():
        console.print(Text(line), soft_wrap=True)
