"""A sweep's metrics against each other, as its methods declare them: what an accuracy costs, say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from orchestrator.declarations import Plot
from orchestrator.figures import Line, lines
from orchestrator.results import Group, Results, estimate


def series(results: Results) -> Iterator[tuple[Plot, list[Line]]]:
    """Every plot that a method of the sweep declares, with its lines. Cells that leave both metrics are in it, whatever their method; means over
    seeds. Cells that differ in the plot's setting `along` only are one line."""
    groups = results.groups()
    for plot in dict.fromkeys(plot for cell in results.plan.cells for plot in cell.trial.method.plots):
        found: dict[str, dict[str, list[Group]]] = {}
        drawn = [g for g in groups if g.metric(plot.against).n and g.metric(plot.metric).n]
        constant = {a for a in (groups[0].labels if groups else ()) if len({g.labels[a] for g in drawn}) == 1}
        for group in drawn:
            place = next((str(v) for axis, v in group.labels.items() if axis.rpartition(".")[2] == plot.along), "")
            found.setdefault(_name(group, plot, constant), {}).setdefault(place, []).append(group)
        if found:
            yield plot, [Line(name, [_point(many, plot) for many in places.values()]) for name, places in found.items()]


def _point(groups: Sequence[Group], plot: Plot) -> tuple[float, float, float]:
    """Where these groups stand together: means of both metrics, and the half-width of the second's interval over seeds."""
    by_seed: dict[object, list[float]] = {}
    for group in groups:
        for result in group.results:
            by_seed.setdefault(result.record["trial"]["seed"], []).extend(
                m["value"] for m in result.metrics if m["name"] == plot.metric and m["value"] is not None
            )
    y = estimate([float(np.mean(values)) for values in by_seed.values() if values])
    return float(np.mean([g.metric(plot.against).mean for g in groups])), y.mean, float(np.nan_to_num(y.half))


def plots(results: Results) -> Iterator[tuple[str, bytes]]:
    """Title and PNG of each of them."""
    for plot, found in series(results):
        title, (x, y) = f"{plot.metric} against {plot.against}", (plot.against, plot.metric)
        yield title.replace("_", " "), lines(found, x.replace("_", " "), y.replace("_", " "))


def _name(group: Group, plot: Plot, constant: set[str]) -> str:
    """The labels that tell this line from the others."""
    parts = [f"{value}" if axis in ("method", "tasks", "network") else f"{axis} {value}" for axis, value in group.labels.items()
             if axis not in constant and axis.rpartition(".")[2] not in (plot.along, *plot.over) and str(value) != "-"]  # fmt: skip
    return ", ".join(parts) or "all cells"
