"""A sweep's metrics against each other, as its methods declare them: what an accuracy costs,
say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from orchestrator.analysis.averages import in_words
from orchestrator.analysis.estimates import Estimate, estimate
from orchestrator.analysis.groups import NAMED_BY_VALUE, Column, Group
from orchestrator.analysis.results import Results
from orchestrator.spec.declarations import Curve, Plot

Kind = TypeVar("Kind", Plot, Curve)
Point = tuple[float, float, float]
"""x, y, and the half-width of y's interval."""


@dataclass(frozen=True)
class Line:
    """One line of a plot: its name and its points; a single point stands alone."""

    name: str
    points: Sequence[Point]


def series(results: Results) -> Iterator[tuple[Plot, list[Line]]]:
    """Every plot that a method of the sweep declares, with its lines. Cells that leave both metrics
    are in it, whatever their method; means over seeds. Cells that differ in the plot's setting
    `along` only are one line. A metric whose labels not all cells share has lines for each label.
    """
    for plot in _declared(results, Plot):
        plot_lines: list[Line] = []
        for y in results.columns(plot.metric):
            for x in _columns_beside(results, plot, y):
                plot_lines += _lines(results, plot, x, y)
        if plot_lines:
            yield plot, plot_lines


def _lines(results: Results, plot: Plot, x: Column, y: Column) -> Iterator[Line]:
    """The lines of a plot for one column of each of its metrics."""
    # Names leave out what is the same in all that is drawn, not in all that the sweep has.
    drawn = [group for group in results.groups() if group.value(x).n and group.value(y).n]
    constant = _constant(drawn)
    # By the name of a line, and the value of `along`, the groups that stand there together.
    by_line: dict[str, dict[str, list[Group]]] = {}
    for group in drawn:
        name = _line_name(group, constant, left_out=(plot.along, *plot.over))
        by_value = by_line.setdefault(name, {})
        by_value.setdefault(_value_along(group.labels, plot.along), []).append(group)
    # Both metrics may be by the same label, which is said once.
    label = in_words([tuple(dict.fromkeys((*(y.label or ()), *(x.label or ()))))])
    for name, by_value in by_line.items():
        points = [_point(many, x, y) for many in by_value.values()]
        points = [point for point in points if np.isfinite(point[1])]
        if points:
            yield Line(f"{name}, {label}" if label else name, points)


def _columns_beside(results: Results, plot: Plot, y: Column) -> list[Column]:
    """What a plot's metric stands against: the value under the same label where there is one, else
    every column that says nothing else, such as the only one. A mean over labels that the rows do
    not share is none of them.
    """
    columns = results.columns(plot.against)
    # Includes two means: both columns have no label then.
    same = [column for column in columns if column.label == y.label]
    if same:
        return same
    label = dict(y.label or ())
    return [
        column
        for column in columns
        if all(label.get(axis, value) == value for axis, value in column.label or ())
    ]


def curves(results: Results) -> Iterator[tuple[Curve, list[Line]]]:
    """Every curve that a method of the sweep declares, with a line for each group that has it:
    means over the seeds that got so far.
    """
    groups = results.groups()
    for curve in _declared(results, Curve):
        # Means before names, since a name depends on which groups have something to draw.
        by_group = [(group, _mean_curve(group, curve)) for group in groups]
        drawn = [(group, points) for group, points in by_group if points]
        constant = _constant([group for group, _ in drawn])
        if drawn:
            yield curve, [Line(_line_name(group, constant), points) for group, points in drawn]


def _declared(results: Results, kind: type[Kind]) -> list[Kind]:
    """What the sweep's methods declare of this kind, each once."""
    declared = [plot for cell in results.plan.cells for plot in cell.trial.method.plots]
    return list(dict.fromkeys(plot for plot in declared if isinstance(plot, kind)))


def _constant(groups: Sequence[Group]) -> set[str]:
    """Axes on which all of these groups have one value."""
    axes = groups[0].labels if groups else ()
    return {axis for axis in axes if len({group.labels[axis] for group in groups}) == 1}


def _value_along(labels: Mapping[str, Any], setting: str) -> str:
    """The value of the axis that is this setting of a method, whatever method it is of."""
    for axis, value in labels.items():
        if axis.rpartition(".")[2] == setting:
            return str(value)
    return ""


def _line_name(group: Group, constant: set[str], left_out: Sequence[str] = ()) -> str:
    """The labels that tell this line from the others; settings `left_out` vary along it."""
    labels = []
    for axis, value in group.labels.items():
        if axis in constant or axis.rpartition(".")[2] in left_out or str(value) == "-":
            continue
        labels.append(f"{value}" if axis in NAMED_BY_VALUE else f"{axis} {value}")
    return ", ".join(labels) or "all cells"


def _point(groups: Sequence[Group], x: Column, y: Column) -> Point:
    """Where these groups stand together: means of both columns, and the half-width of the second's
    interval over seeds. A seed that one of the groups lacks, in either column, is in neither mean,
    so that all seeds are means over the same groups. Groups of the same trials are one.
    """
    # Settings that make no difference to what is run would weigh their trials twice.
    distinct = list({frozenset(group.trials): group for group in groups}.values())
    xs = [group.by_seed(x) for group in distinct]
    ys = [group.by_seed(y) for group in distinct]  # by group, then by seed
    full = [seed for seed in ys[0] if all(seed in one for one in (*xs, *ys))]
    if not full:
        return np.nan, np.nan, np.nan
    # Groups are averaged within a seed; the interval is over seeds alone.
    mean = estimate([float(np.mean([one[seed] for one in ys])) for seed in full])
    return _as_point(float(np.mean([one[seed] for one in xs for seed in full])), mean)


def _mean_curve(group: Group, curve: Curve) -> list[Point]:
    """A curve's mean over a group's seeds at each epoch; at epoch 0 the metric that it begins with,
    if it names one.
    """
    by_epoch: dict[int, list[float]] = {}
    for result in group.results:
        for name, epoch, value, _ in result.record["curves"]:
            if name == curve.name and value is not None:
                by_epoch.setdefault(epoch, []).append(value)
    # A beginning without a curve behind it is no curve.
    if by_epoch and curve.begins:
        by_epoch[0] = list(group.by_seed(Column(curve.begins)).values())
    means = {epoch: estimate(values) for epoch, values in sorted(by_epoch.items())}
    return [_as_point(float(epoch), mean) for epoch, mean in means.items() if mean.n]


def _as_point(x: float, y: Estimate) -> Point:
    return x, y.mean, float(np.nan_to_num(y.half))
