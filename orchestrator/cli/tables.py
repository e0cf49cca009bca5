"""What the command line prints of results: matrices, means, verdicts, at 80 columns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich.columns import Columns
from rich.console import Console
from rich.console import Group as Renderables
from rich.table import Table
from rich.text import Text

from orchestrator.analysis import definitions
from orchestrator.analysis.claims import verdicts
from orchestrator.analysis.estimates import Estimate
from orchestrator.analysis.groups import Column, Group, Section
from orchestrator.analysis.matrix_pictures import Panel, panels
from orchestrator.analysis.results import Results
from orchestrator.analysis.selection import check_metric
from orchestrator.errors import InputError, nearest, option
from orchestrator.planning.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

Bests = Mapping[Column, float]  # the best mean of each metric

MATRICES_SHOWN = 4
ENTRIES_SHOWN = 8  # rows and columns of each
ACROSS = 5  # values of an axis that fit beside each other


def print_results(
    console: Console,
    results: Results,
    *,
    sort: str | None = None,
    columns: Sequence[str] | None = None,
) -> None:
    """The headline matrix of some groups, means with intervals over seeds, and verdicts; of a part
    of a sweep, that it is one. `columns` are the metrics to show (None: those of headlines), `sort`
    is the one by which rows go, the best first. Raises InputError for metrics that there are not.
    """
    plan = results.plan
    sections = [_asked_for(results, one, sort, columns) for one in results.sections()]
    if plan.is_part:
        print_part(console, plan)
    shown = _print_matrices(console, results) if columns is None else []
    for section in sections:
        _print_section(console, results, section, is_sorted=sort is not None)
    print_verdicts(console, results)
    about = "Mean ± half-width of the 95 % interval over the n distinct trials that are done."
    if any(_bests(results, section) for section in sections):
        about += " * is the best mean of its metric: no test, see claims."
    console.print(about, style="dim", highlight=False)
    _print_definitions(console, results, sections, shown)


def _print_definitions(
    console: Console, results: Results, sections: Sequence[Section], matrices: Sequence[Panel]
) -> None:
    """What was shown, in a sentence each; what its method does not say is left out."""
    told = {}
    for spec in definitions.matrices(results) if matrices else []:
        if spec.name == matrices[0].mean.name:
            # Methods may call a metric so, too.
            said = filter(None, [spec.help, _chance(matrices)])
            told[f"{spec.name} (matrix)"] = " ".join(said)
    # A dictionary for its order: sections may show the same metric.
    for name in dict.fromkeys(c.metric for section in sections for c in section.columns):
        told.setdefault(name, definitions.metric(results, name).sentence)
    lines = [f"{name}: {sentence}" for name, sentence in told.items() if sentence]
    if lines:
        console.print(Text("\nwhat the numbers are", style="bold"))
    for line in lines:
        folded = textwrap.fill(line, console.width, subsequent_indent="  ")
        console.print(Text(folded, style="dim"))


def _chance(matrices: Sequence[Panel]) -> str:
    """What guessing scores in every entry of some matrices, or nothing where entries differ."""
    known = {float(chance) for one in matrices for chance in np.unique(one.mean.chance)}
    is_one = len(known) == 1 and not math.isnan(min(known))
    return f"Guessing gives {known.pop():.3g}." if is_one else ""


def _asked_for(
    results: Results, section: Section, sort: str | None, columns: Sequence[str] | None
) -> Section:
    """A section with the columns that are asked for, in the order that is."""
    known = results.metrics()
    for name in [*(columns or ()), *([sort] if sort else [])]:
        check_metric(name, known, results.matrix_names())
    if columns is not None:
        chosen = [one for name in columns for one in results.columns(name)]
        # Metrics of other methods would be columns of dashes.
        measured = [one for one in chosen if any(g.value(one).n for g in section.groups)]
        section = replace(section, columns=tuple(measured or chosen))
    if sort is not None:
        (first, *_) = results.columns(sort)
        way = -1.0 if results.is_higher_better(sort) else 1.0
        means = {id(group): group.value(first).mean for group in section.groups}
        # Who has no value comes last; the sort is stable.
        order = sorted(
            section.groups,
            key=lambda group: (math.isnan(means[id(group)]), way * means[id(group)]),
        )
        section = replace(section, groups=tuple(order))
    return section


def _bests(results: Results, section: Section) -> Bests:
    """The best mean of each metric that has a better side, where groups differ in it."""
    found = {}
    for column in section.columns:
        values = [group.value(column) for group in section.groups]
        means = {value.mean for value in values if value.n}
        is_higher_better = results.is_higher_better(column.metric)
        if len(means) > 1 and is_higher_better is not None:
            found[column] = max(means) if is_higher_better else min(means)
    return found


def print_part(console: Console, plan: Plan) -> None:
    """That this is a part of a sweep, and why no claim has a verdict."""
    words = f"\nA part of {plan.name}: {len(plan.cells)} of its {plan.num_whole} cells."
    if plan.num_claims:
        count = "Its claim is" if plan.num_claims == 1 else f"Its {plan.num_claims} claims are"
        words += f" {count} undecided: verdicts are on the whole sweep."
    console.print(words, style="bold", highlight=False)


def _print_matrices(console: Console, results: Results) -> Sequence[Panel]:
    """The headline matrix of a few groups, spread over all of them; what was shown."""
    name = results.headline_matrix()
    all_panels = panels(results, name) if name else []
    if not all_panels:
        return []
    shown = comparable(all_panels, MATRICES_SHOWN)
    down, across = shown[0].mean.axes
    how_many = f"({len(shown)} of {len(all_panels)} settings; all are in the tables)"
    about = f": {down} down, {across} across, mean over trials {how_many}"
    console.print(Text.assemble("\n", (str(name), "bold"), about))
    console.print(Columns([_matrix(panel) for panel in shown], padding=(1, 3)))
    return shown


def comparable(panels: Sequence[Panel], most: int) -> Sequence[Panel]:
    """At most so many panels that differ in one axis only, along as much of it as fits: one split
    with all ingredients, not some of each. The axis that the sweep writes first wins.
    """
    if len(panels) <= most:
        return panels
    first = panels[0]
    best: Sequence[Panel] = [first]
    for axis in first.labels:
        others = {name: value for name, value in first.labels.items() if name != axis}
        along = [
            panel
            for panel in panels
            if {name: value for name, value in panel.labels.items() if name != axis} == others
        ]
        chosen = [along[i] for i in _spread(len(along), most)]
        if len(chosen) > len(best):
            best = chosen
    return best


def _print_section(
    console: Console, results: Results, section: Section, *, is_sorted: bool
) -> None:
    """A table a metric with one axis down and one across, where there are two axes, every row is
    whole and it fits; else, and where rows are sorted, tables with a row a group.
    """
    bests = _bests(results, section)
    if section.common:
        console.print(Text("\n" + section.title, style="bold"))
    pivots = [] if is_sorted else _pivots(section, bests)
    if pivots and max(_width(console, pivot) for pivot in pivots) <= console.width:
        console.print(*pivots, sep="\n")
    else:
        _print_rows(console, section, bests)
    for note in section.notes():
        console.print(Text(note, style="dim"))


def _pivots(section: Section, bests: Bests) -> list[Table]:
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
    return [_pivot(section, column, bests) for column in section.columns]


def _print_rows(console: Console, section: Section, bests: Bests) -> None:
    """One row a group: as many columns in a table as the width allows, the others in tables of
    their own below.
    """
    left = list(section.columns)
    while left:
        fitting = len(left)
        while (
            fitting > 1 and _width(console, _flat(section, left[:fitting], bests)) > console.width
        ):
            fitting -= 1
        console.print(_flat(section, left[:fitting], bests))
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


def _matrix(panel: Panel) -> Renderables:
    """The first rows and columns of a matrix below its heading, which is never cut."""
    matrix = panel.mean
    num_rows, num_columns = matrix.values.shape
    title = panel.heading
    if max(num_rows, num_columns) > ENTRIES_SHOWN:
        title += f" (the first {ENTRIES_SHOWN} of {num_rows} x {num_columns})"
    table = Table(box=None, padding=(0, 1), show_edge=False)
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
    return Renderables(Text(title, no_wrap=True), table)


def _shade(value: float) -> Text:
    if np.isnan(value):
        return Text("–", style="dim")
    style = "green" if value >= 0.8 else "yellow" if value >= 0.4 else "red"
    return Text(f"{value:.2f}", style=style)


def _pivot(section: Section, column: Column, bests: Bests) -> Table:
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
        row[str(group.labels[across])] = _marked(group, column, digits, bests)
    n = str(section.groups[0].n)  # the same in all groups, or there would be no such table
    for label, row in rows.items():
        table.add_row(label, *(row.get(value, "") for value in columns), n)
    return table


def _marked(group: Group, column: Column, digits: int, bests: Bests) -> str:
    """A mean, with a star where it is the best of its metric."""
    text = group.text(column, digits)
    if column not in bests:
        return text
    # A blank for the others, so that numbers stand below each other.
    return text + ("*" if group.value(column).mean == bests[column] else " ")


def _flat(section: Section, columns: Sequence[Column], bests: Bests) -> Table:
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
        means = [_marked(group, column, digits, bests) for column in columns]
        counting = section.counting(group)
        table.add_row(*labels, *(Text(mean, no_wrap=True) for mean in means), *counting)
    return table


def as_csv_or_markdown(
    results: Results,
    wanted: Literal["csv", "markdown"],
    *,
    sort: str | None = None,
    columns: Sequence[str] | None = None,
) -> str:
    """Means of all settings: axes, n, and of each metric its mean, half-width and n; in Markdown,
    which people read, mean and half-width in one column. Raises InputError for metrics that there
    are not.
    """
    names = results.headline()
    frame = results.means(list(columns) if columns is not None else names)
    if sort is not None:
        check_metric(sort, results.metrics(), results.matrix_names())
        by = [name for name in frame.columns if name == sort or name.startswith(f"{sort}[")]
        by = [name for name in by if not name.endswith(("_half", "_n"))]
        if not by:  # it is not among those that are shown
            raise InputError(
                f"{option('sort', sort)} is not among what is shown. {nearest(sort, frame.columns)}"
            )
        is_higher_better = results.is_higher_better(sort)
        frame = frame.sort_values(by[0], ascending=is_higher_better is False, kind="stable")
    if wanted == "csv":
        return str(frame.to_csv(index=False))
    return _markdown_table(frame)


def _markdown_table(frame: pd.DataFrame) -> str:
    """A table of means, in Markdown."""
    metrics = [name for name in frame.columns if f"{name}_half" in frame.columns]
    halves = [f"{name}_half" for name in metrics]
    heads = [name for name in frame.columns if name not in halves]
    rows = []
    for row in frame.to_dict("records"):
        for name in metrics:
            row[name] = str(Estimate(row[name], row[f"{name}_half"], row[f"{name}_n"]))
        rows.append([_in_markdown(row[name]) for name in heads])
    rules = ["---:" if name in ("n", *metrics) else "---" for name in heads]
    lines = [[_in_markdown(name) for name in heads], rules, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _in_markdown(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value).replace("|", "\\|").replace("\n", " ")
