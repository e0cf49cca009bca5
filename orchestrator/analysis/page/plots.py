"""The plots of a page: the headline metrics along an axis, what methods declare, and the curves of
trainings. A plot is a mapping of `title`, `names` of its lines, `colours` and `dashes` of these,
and the `spec` that draws it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.analysis import plots
from orchestrator.analysis.along import AlongLine, lines_along, places
from orchestrator.analysis.best import BestSetting, best_of
from orchestrator.analysis.estimates import Estimate
from orchestrator.analysis.groups import NAMED_BY_VALUE, Column
from orchestrator.analysis.page import vega
from orchestrator.analysis.plots import Line
from orchestrator.analysis.results import Results
from orchestrator.errors import InputError
from orchestrator.spec.canonical import is_number
from orchestrator.spec.labels import AxisValue, axes_by_name

Plot = dict[str, Any]

MOST_LINES = 60  # of a plot along an axis; more cannot be told apart
PLOTS_ALONG = 16  # plots of headline metrics along axes


def plot_of(title: str, names: Sequence[str], spec: vega.Spec) -> Plot:
    """A plot as the page takes it."""
    numbers = range(len(names))
    return {
        "title": title,
        "names": list(names),
        "colours": [vega.colour_of(number) for number in numbers],
        "dashes": [vega.dash_of(number) != vega.DASHES[0] for number in numbers],
        "spec": spec,
    }


# ------------------------------------------------------------------------- along an axis


def axes_in_question(results: Results) -> list[str]:
    """Full names of the axes along which settings differ, the one that the sweep's question is
    about first: along which its claims go, or whose values they hold against each other; where
    there are no claims, an axis of numbers, then the one with the most values.
    """
    values = results.values
    axes = [axis for axis in values.names if axis != "seed" and len(values.values(axis)) > 1]
    along, apart = _named_by_claims(results)

    def rank(axis: str) -> tuple[float, ...]:
        own = values.values(axis)
        is_scale = all(is_number(value.value) for value in own)
        is_setting = results.axes[axis] not in NAMED_BY_VALUE
        return (-along[axis], -apart[axis], -is_setting, -is_scale, -len(own))

    return sorted(axes, key=rank)


def _named_by_claims(results: Results) -> tuple[Counter[str], Counter[str]]:
    """How many claims go along each axis, and in how many the sides differ on it."""
    full = axes_by_name(results.plan.axes)
    along: Counter[str] = Counter()
    apart: Counter[str] = Counter()
    for claim in results.plan.claims:
        along.update(full[axis] for axis in claim.along if axis in full)
        wanted = [results.wanted(side) for side in claim.apart]
        axes = {axis for side in wanted for axis in side}
        apart.update(a for a in axes if len({str(side.get(a)) for side in wanted}) > 1)
    return along, apart


def best_setting(results: Results, column: Column) -> BestSetting | None:
    """The best setting in a column; None where methods disagree which end is the best, or nothing
    has a value.
    """
    ways = {one.higher_is_better for one in results.declared(column.metric)}
    if len(ways) != 1:
        return None
    try:
        return best_of(column, results.groups(), highest=ways.pop())
    except InputError:
        return None


def answers(results: Results) -> Iterator[tuple[str, str, Plot]]:
    """Every headline metric along every axis: the titles of metric and axis, and the plot; those
    along the axis in question first. Where settings differ in nothing, there is none.
    """
    columns = [column for name in results.headline() for column in results.columns(name)]
    pairs = [(axis, column) for axis in axes_in_question(results) for column in columns]
    for axis, column in pairs[:PLOTS_ALONG]:
        plot = _along(results, axis, column)
        if plot is not None:
            yield column.title, results.axes[axis], plot


def _along(results: Results, axis: str, column: Column) -> Plot | None:
    ticks, name = results.values.values(axis), results.axes[axis]
    groups = [group for group in results.groups() if group.value(column).n]
    lines = lines_along(name, ticks, groups, [column])[:MOST_LINES] if groups else []
    if not lines:
        return None
    best = best_setting(results, column)
    is_scale = all(is_number(tick.value) for tick in ticks)
    labels = {place: tick.text for place, tick in zip(places(ticks), ticks, strict=True)}
    x = vega.along(list(labels)) if is_scale else _ordered(ticks)
    data: dict[str, list[dict[str, Any]]] = {"means": [], "seeds": [], "levels": []}
    for number, line in enumerate(lines):
        for row in _rows(line, number, best):
            where = row.pop("where")
            if where == "levels":
                data["levels"].append(row)
            else:
                data[where].append({**row, "x": row["x"] if is_scale else labels[row["x"]]})
    chance = results.chance_of(column.metric)
    told = [] if chance is None else [{"y": chance, "t": f"chance {chance:g}"}]
    # Methods and tasks are no scale: nothing lies between two of them.
    is_joined = name not in NAMED_BY_VALUE and any(len(line.places) > 1 for line in lines)
    title, names = words(column.title), [line.name for line in lines]
    spec = vega.spec_of(
        names, {**x, "title": name}, title, {**data, "chance": told}, is_joined=is_joined
    )
    return plot_of(f"{title} along {name}", names, spec)


def _ordered(ticks: Sequence[AxisValue]) -> vega.Spec:
    """How an axis is encoded whose values are no numbers: as they stand in the sweep."""
    texts = [tick.text for tick in ticks]
    angle = 0 if sum(map(len, texts)) < 60 else -30
    return {"field": "x", "type": "ordinal", "sort": texts, "axis": {"labelAngle": angle}}


def _rows(line: AlongLine, number: int, best: BestSetting | None) -> Iterator[dict[str, Any]]:
    """The rows of one line: its means, and every seed."""
    found = zip(line.places, line.values, line.groups, strict=True)
    for place, value, group in found:
        row = {"l": line.name, "d": number // len(vega.COLOURS) % len(vega.DASHES)}
        row |= {**interval(value), "n": value.n, "t": group.text(line.column)}
        if not line.is_level:
            row["x"] = place
        if best is not None and group.title == best.title:
            row["best"] = True
        yield {**row, "where": "levels" if line.is_level else "means"}
        if line.is_level:
            continue
        for seed, of_seed in group.by_seed(line.column).items():
            yield {"l": line.name, "x": place, "y": of_seed, "s": seed, "where": "seeds"}


def interval(value: Estimate) -> dict[str, float]:
    """A mean and the ends of its interval; a single value is its own interval."""
    half = 0.0 if math.isnan(value.half) else value.half
    return {"y": value.mean, "lo": value.mean - half, "hi": value.mean + half}


# ------------------------------------------------------------------------- what methods declare


def declared(results: Results) -> Iterator[Plot]:
    """The plots of metrics against each other, then the curves, that the sweep's methods declare.
    Both are means over seeds.
    """
    for plot, drawn in plots.series(results):
        x, y = words(plot.against), words(plot.metric)
        yield lines_plot(f"{y} against {x}", drawn, x, y)
    for curve, drawn in plots.curves(results):
        y = words(curve.name.rpartition("/")[2])
        yield lines_plot(f"{y} over epochs", drawn, "epoch", y)


def lines_plot(title: str, drawn: Sequence[Line], x: str, y: str) -> Plot:
    """Lines with bands over numbers."""
    lines = drawn[:MOST_LINES]
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines):
        dash = number // len(vega.COLOURS) % len(vega.DASHES)
        for place, mean, half in sorted(line.points):
            row = {"l": line.name, "d": dash, "x": place, "y": rounded(mean), "h": rounded(half)}
            rows.append(row)
    names = [line.name for line in lines]
    encoded = {**vega.along([row["x"] for row in rows]), "title": x}
    if x == "epoch":  # epochs are steps of one size, however many there are
        encoded["scale"] = {"zero": False, "nice": False, "padding": 4}
    spec = vega.spec_of(names, encoded, y, {"means": rows})
    return plot_of(title, names, spec)


def rounded(value: float) -> float:
    """To the digits that a plot can show: a page has thousands of points of curves."""
    return float(f"{value:.5g}")


def words(name: str) -> str:
    """A name as people read it: `own accuracy`."""
    return name.replace("_", " ")
