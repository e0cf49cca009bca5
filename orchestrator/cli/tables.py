"""What the command line prints of results: matrices, means, verdicts, at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.analysis.claims import verdicts
from orchestrator.analysis.groups import Column, Section
from orchestrator.analysis.matrix_pictures import Panel, panels
from orchestrator.analysis.results import Results
from orchestrator.planning.plan import Plan

MATRICES_SHOWN = 4
ENTRIES_SHOWN = 8  # rows and columns of each
ACROSS = 5  # values of an axis that fit beside each other


def print_results(console: Console, results: Results) -> None:
    """The headline matrix of some groups, means with intervals over seeds, and verdicts; of a part
    of a sweep, that it is one.
    """
    plan = results.plan
    if plan.is_part:
        print_part(console, plan)
    _print_matrices(console, results)
    for section in results.sections():
        _print_section(console, section)
    print_verdicts(console, results)
    console.print(
        "Mean ± half-width of the 95 % interval over the n distinct trials that are done.",
        style="dim",
        highlight=False,
    )


def print_part(console: Console, plan: Plan) -> None:
    """That this is a part of a sweep, and why no claim has a verdict."""
    words = f"\nA part of {plan.name}: {len(plan.cells)} of its {plan.num_whole} cells."
    if plan.num_claims:
        count = "Its claim is" if plan.num_claims == 1 else f"Its {plan.num_claims} claims are"
        words += f" {count} undecided: verdicts are on the whole sweep."
    console.print(words, style="bold", highlight=False)


def _print_matrices(console: Console, results: Results) -> None:
    """The headline matrix of a few groups, spread over all of them."""
    name = results.headline_matrix()
    all_panels = panels(results, name) if name else []
    if not all_panels:
        return
    shown = [all_panels[i] for i in _spread(len(all_panels), MATRICES_SHOWN)]
    down, across = shown[0].mean.axes
    how_many = f"({len(shown)} of {len(all_panels)} settings; all are in the tables)"
    about = f": {down} down, {across} across, mean over trials {how_many}"
    console.print(Text.assemble("\n", (str(name), "bold"), about))
    console.print(Columns([_matrix(panel) for panel in shown], padding=(1, 3)))


def _print_section(console: Console, section: Section) -> None:
    """A table a metric with one axis down and one across, where there are two axes, every row is
    whole and it fits; else tables with a row a group.
    """
    if section.common:
        console.print(Text("\n" + section.title, style="bold"))
    pivots = _pivots(section)
    if pivots and max(_width(console, pivot) for pivot in pivots) <= console.width:
        console.print(*pivots, sep="\n")
    else:
        _print_rows(console, section)
    for note in section.notes():
        console.print(Text(note, style="dim"))


def _pivots(section: Section) -> list[Table]:
    """Two axes against each other, a table a column. None where trials are missing, or means rest
    on other numbers of trials: then each row has to say so.
    """
    if len(section.axes) != 2:
        return []
    across = {group.labels[section.axes[1]] for group in section.groups}
    values = [group.value(column).n for group in section.groups for column in section.columns]
    is_whole = not section.has_missing and not section.has_shared_needs
    if len(across) > ACROSS or not is_whole or len(set(values)) > 1:
        return []
    return [_pivot(section, column) for column in section.columns]


def _print_rows(console: Console, section: Section) -> None:
    """One row a group: as many columns in a table as the width allows, the others in tables of
    their own below.
    """
    left = list(section.columns)
    while left:
        fitting = len(left)
        while fitting > 1 and _width(console, _flat(section, left[:fitting])) > console.width:
            fitting -= 1
        console.print(_flat(section, left[:fitting]))
        left = left[fitting:]


def _width(console: Console, table: Table) -> int:
    """The least width in which no value is cut or folded."""
    return console.measure(table, options=console.options.update(width=1000)).minimum


def print_verdicts(console: Console, results: Results) -> None:
    """Every claim of the sweep and what became of it."""
    if not results.plan.claims:
        return
    colours = {"reproduced": "green", "not reproduced": "red"}
    table = Table(
        title="\nclaims", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0)
    )
    for column in ("", "claim", "verdict", "n"):
        table.add_column(column, overflow="fold", justify="right" if column == "n" else "left")
    found = verdicts(results.plan.claims, results)
    for one in found:
        verdict = Text(one.verdict, style=colours.get(one.verdict, "yellow"))
        if one.after_holm != one.verdict:
            verdict.append("\n(alone)", style="dim")
        # What is missing or does not match stands on lines of its own.
        words = Text(f"{one.claim}:\n" + "\n".join(one.evidence.split("; ")))
        table.add_row(one.paper, words, verdict, str(one.n))
    console.print(table)
    console.print(
        f"n counts seeds. {found[0].num_tested} of {len(found)} claims were tested; (alone): not "
        "after Holm's correction for all of them.",
        style="dim",
        highlight=False,
    )


def _spread(total: int, most: int) -> list[int]:
    """At most `most` places spread evenly over `total`."""
    if total <= most:
        return list(range(total))
    # The first and the last among them.
    return [round(i * (total - 1) / (most - 1)) for i in range(most)]


def _matrix(panel: Panel) -> Table:
    """The first rows and columns of a matrix."""
    matrix = panel.mean
    num_rows, num_columns = matrix.values.shape
    title = panel.heading
    if max(num_rows, num_columns) > ENTRIES_SHOWN:
        title += f" (the first {ENTRIES_SHOWN} of {num_rows} x {num_columns})"
    table = Table(
        title=title, title_justify="left", title_style="", box=None, padding=(0, 1), show_edge=False
    )
    rows = list(matrix.rows[:ENTRIES_SHOWN])
    columns = list(matrix.columns[:ENTRIES_SHOWN])
    if rows == columns and max(map(len, rows)) > 9:
        # Long names stand once, with a number, and columns go by it.
        columns = [str(number) for number in range(1, len(rows) + 1)]
        rows = [f"{number} {label}" for number, label in enumerate(rows, 1)]
    table.add_column("", no_wrap=True, min_width=min(12, max(map(len, rows))))
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for label, values in zip(rows, matrix.values, strict=False):
        table.add_row(label, *(_shade(value) for value in values[:ENTRIES_SHOWN]))
    return table


def _shade(value: float) -> Text:
    if np.isnan(value):
        return Text("–", style="dim")
    style = "green" if value >= 0.8 else "yellow" if value >= 0.4 else "red"
    return Text(f"{value:.2f}", style=style)


def _pivot(section: Section, column: Column) -> Table:
    """Two axes: one down, the other across, and n, which is the same everywhere."""
    down, across = section.axes
    columns = list(dict.fromkeys(str(group.labels[across]) for group in section.groups))
    is_wide = len(columns) > 3  # then a digit less, to stay within 80 columns
    digits = 2 if is_wide else 3
    table = Table(
        title=f"\n{column.title}",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1 if is_wide else 2, 0, 0),
    )
    table.add_column(down, no_wrap=True)
    for number, value in enumerate(columns):
        heading = value if number else f"{across}={value}"
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    rows: dict[str, dict[str, str]] = {}
    for group in section.groups:
        row = rows.setdefault(str(group.labels[down]), {})
        row[str(group.labels[across])] = group.text(column, digits)
    n = str(section.groups[0].n)  # the same in all groups, or there would be no such table
    for label, row in rows.items():
        table.add_row(label, *(row.get(value, "") for value in columns), n)
    return table


def _flat(section: Section, columns: Sequence[Column]) -> Table:
    """One row a group; long names fold, values never do."""
    is_crowded = len(section.axes) + len(columns) > 5
    digits, width = (2, 10) if is_crowded else (3, 12)
    table = Table(box=None, padding=(0, 1 if is_crowded else 2, 0, 0))
    for axis in section.axes:
        table.add_column(axis, overflow="fold")
    for column in columns:
        heading = column.title.split()  # the label below the name
        least = max(width, *map(len, heading))
        table.add_column("\n".join(heading), justify="right", min_width=least)
    for head in section.counting_heads:
        table.add_column(head, justify="left" if head == "missing" else "right", overflow="fold")
    for group in section.groups:
        labels = [str(group.labels[axis]) for axis in section.axes]
        means = [group.text(column, digits) for column in columns]
        counting = section.counting(group)
        table.add_row(*labels, *(Text(mean, no_wrap=True) for mean in means), *counting)
    return table
