"""A sweep's metrics against each other, as its methods declare them: what an accuracy costs,
say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from orchestrator.analysis.figures import Line, lines
from orchestrator.analysis.results import Group, Results, estimate
from orchestrator.spec.declarations import Curve, Plot

Kind = TypeVar("Kind", Plot, Curve)


def series(results: Results) -> Iterator[tuple[Plot, list[Line]]]:
    """Every plot that a method of the sweep declares, with its lines. Cells that leave both metrics
    are in it, whatever their method; means over seeds. Cells that differ in the plot's setting
    `along` only are one line."""
    groups = results.groups()
    for plot in _declared(results, Plot):
        found: dict[str, dict[str, list[Group]]] = {}
        drawn = [g for g in groups if g.metric(plot.against).n and g.metric(plot.metric).n]
        constant = {
            a
            for a in (groups[0].labels if groups else ())
            if len({g.labels[a] for g in drawn}) == 1
        }
        for group in drawn:
            place = next(
                (
                    str(v)
                    for axis, v in group.labels.items()
                    if axis.rpartition(".")[2] == plot.along
                ),
                "",
            )
            found.setdefault(_name(group, plot, constant), {}).setdefault(place, []).append(group)
        if found:
            yield (
                plot,
                [
                    Line(name, [_point(many, plot) for many in places.values()])
                    for name, places in found.items()
                ],
            )


def curves(results: Results) -> Iterator[tuple[Curve, list[Line]]]:
    """Every curve that a method of the sweep declares, with a line for each group that has it:
    means over the seeds that got so far.
    """
    groups = results.groups()
    for curve in _declared(results, Curve):
        drawn = {i: points for i, group in enumerate(groups) if (points := _course(group, curve))}
        constant = {
            a
            for a in (groups[0].labels if groups else ())
            if len({groups[i].labels[a] for i in drawn}) == 1
        }
        if drawn:
            yield (
                curve,
                [
                    Line(_name(groups[i], Plot("", ""), constant), points)
                    for i, points in drawn.items()
                ],
            )


def _course(group: Group, curve: Curve) -> list[tuple[float, float, float]]:
    by_epoch: dict[int, list[float]] = {}
    for result in group.results:
        for name, epoch, value, _ in result.record["curves"]:
            if name == curve.name and value is not None:
                by_epoch.setdefault(epoch, []).append(value)
        if by_epoch and curve.begins:
            by_epoch.setdefault(0, []).extend(
                m["value"]
                for m in result.metrics
                if m["name"] == curve.begins and m["value"] is not None
            )
    found = {epoch: estimate(values) for epoch, values in sorted(by_epoch.items())}
    return [
        (float(epoch), one.mean, float(np.nan_to_num(one.half)))
        for epoch, one in found.items()
        if one.n
    ]


def _declared(results: Results, kind: type[Kind]) -> list[Kind]:
    """What the sweep's methods declare of this kind, each once."""
    return list(
        dict.fromkeys(
            plot
            for cell in results.plan.cells
            for plot in cell.trial.method.plots
            if isinstance(plot, kind)
        )
    )


def _point(groups: Sequence[Group], plot: Plot) -> tuple[float, float, float]:
    """Where these groups stand together: means of both metrics, and the half-width of the second's
    interval over seeds.
    """
    by_seed: dict[object, list[float]] = {}
    for group in groups:
        for result in group.results:
            by_seed.setdefault(result.record["trial"]["seed"], []).extend(
                m["value"]
                for m in result.metrics
                if m["name"] == plot.metric and m["value"] is not None
            )
    y = estimate([float(np.mean(values)) for values in by_seed.values() if values])
    return (
        float(np.mean([g.metric(plot.against).mean for g in groups])),
        y.mean,
        float(np.nan_to_num(y.half)),
    )


def plots(results: Results) -> Iterator[tuple[str, bytes]]:
    """Title and PNG of each of them."""
    for plot, found in series(results):
        title, (x, y) = f"{plot.metric} against {plot.against}", (plot.against, plot.metric)
        yield title.replace("_", " "), lines(found, x.replace("_", " "), y.replace("_", " "))
    for curve, found in curves(results):
        y = curve.name.rpartition("/")[2].replace("_", " ")
        yield f"{y} over epochs", lines(found, "epoch", y)


def _name(group: Group, plot: Plot, constant: set[str]) -> str:
    """The labels that tell this line from the others."""
    parts = [
        f"{value}" if axis in ("method", "tasks", "network") else f"{axis} {value}"
        for axis, value in group.labels.items()
        if axis not in constant
        and axis.rpartition(".")[2] not in (plot.along, *plot.over)
        and str(value) != "-"
    ]
    return ", ".join(parts) or "all cells"
