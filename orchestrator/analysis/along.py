"""A metric along an axis: a line for each setting of the other axes, with bands over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.analysis.averages import in_words
from orchestrator.analysis.estimates import Estimate
from orchestrator.analysis.groups import NAMED_BY_VALUE, Column, Group
from orchestrator.parts.matrix_display import new_figure, without_formulas
from orchestrator.spec.canonical import is_number
from orchestrator.spec.labels import ABSENT, AxisValue

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class AlongLine:
    """One line: its name, and at each place along the axis the setting that stands there, with its
    mean. A line of cells without the axis has one value, which holds everywhere.
    """

    name: str
    places: Sequence[float]
    values: Sequence[Estimate]
    is_level: bool
    groups: Sequence[Group]
    column: Column


def lines_along(
    axis: str, ticks: Sequence[AxisValue], groups: Sequence[Group], columns: Sequence[Column]
) -> list[AlongLine]:
    """The lines of a plot along `axis`, whose values are `ticks`."""
    place_of = dict(zip([tick.key for tick in ticks], places(ticks), strict=True))
    # What all lines have in common is in no name.
    constant = {
        other for other in groups[0].labels if len({str(g.labels[other]) for g in groups}) == 1
    }
    # By name and whether it is level: cells with and without the axis may be called alike.
    by_name: dict[tuple[str, bool], dict[float, tuple[Estimate, Group, Column]]] = {}
    for column in columns:
        for group in groups:
            value = group.value(column)
            if not value.n:
                continue
            name = _name(group, constant | {axis}, column)
            at = group.values.get(axis)
            place = math.nan if at is None else place_of[at.key]  # a level line stands nowhere
            by_name.setdefault((name, at is None), {})[place] = (value, group, column)
    found = []
    for (name, is_level), standing in by_name.items():
        ordered = sorted(standing)
        values, theirs, of_column = zip(*(standing[place] for place in ordered), strict=True)
        found.append(AlongLine(name, ordered, values, is_level, theirs, of_column[0]))
    return found


def places(ticks: Sequence[AxisValue]) -> list[float]:
    """Where the values of an axis stand: numbers at themselves, anything else one after another."""
    # All or none: beside one value that is no number, the others have no scale in common.
    if all(is_number(tick.value) for tick in ticks):
        return [float(tick.value) for tick in ticks]
    return [float(number) for number in range(len(ticks))]


def draw(
    lines: Sequence[AlongLine],
    axis: str,
    ticks: Sequence[AxisValue],
    metric: str,
    chance: float | None,
) -> Figure:
    """The lines with a band of 95 % intervals each, and a dotted line where guessing is."""
    from matplotlib import colormaps

    # In inches; up to 14 lines, the legend fits beside a plot of the usual height.
    figure = new_figure(9, 4.6 + 0.12 * max(0, len(lines) - 14))
    plot = figure.subplots()
    colours = colormaps["tab10" if len(lines) <= 10 else "tab20"]
    for number, line in enumerate(lines):
        _draw_line(plot, line, colours(number % 20))
    if chance is not None:
        plot.axhline(chance, color="black", linestyle=":", linewidth=1, label=f"chance {chance:g}")
    if not all(is_number(tick.value) for tick in ticks):
        plot.set_xticks(range(len(ticks)), [tick.text for tick in ticks])
    plot.set_xlabel(axis)
    plot.set_ylabel(metric.replace("_", " "))
    plot.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=7)
    return without_formulas(figure)


def _draw_line(plot: Any, line: AlongLine, colour: Any) -> None:
    means = np.array([value.mean for value in line.values])
    # A mean of one seed has no interval: its band has no width.
    halves = np.nan_to_num([value.half for value in line.values])
    if line.is_level:
        plot.axhline(means[0], color=colour, linestyle="--", linewidth=1.2, label=line.name)
        plot.axhspan(means[0] - halves[0], means[0] + halves[0], color=colour, alpha=0.1)
        return
    plot.plot(line.places, means, "o-", color=colour, label=line.name, markersize=4, linewidth=1.4)
    plot.fill_between(
        line.places, means - halves, means + halves, color=colour, alpha=0.15, linewidth=0
    )
    if len(line.places) == 1:  # a band has no width there
        plot.errorbar(line.places, means, yerr=halves, color=colour, capsize=3)


def _name(group: Group, left_out: set[str], column: Column) -> str:
    """The labels that tell this line from the others."""
    labels = []
    for axis, value in group.labels.items():
        if axis not in left_out and str(value) != ABSENT:
            labels.append(f"{value}" if axis in NAMED_BY_VALUE else f"{axis} {value}")
    if column.label:
        labels.append(in_words([column.label]))
    return ", ".join(labels) or column.metric
