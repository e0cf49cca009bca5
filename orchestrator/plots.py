"""A sweep's metrics against each other, as its methods declare them: what an accuracy costs, say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from orchestrator.declarations import Plot
from orchestrator.figures import Line, lines
from orchestrator.results import Group, Results


def series(results: Results) -> Iterator[tuple[Plot, list[Line]]]:
    """Every plot that a method of the sweep declares, with its lines. Cells that leave both metrics are in it, whatever their method; means over
    seeds. Cells that differ in the plot's setting `along` only are one line."""
    groups = results.groups()
    for plot in dict.fromkeys(plot for cell in results.plan.cells for plot in cell.trial.method.plots):
        found: dict[str, list[tuple[float, float, float]]] = {}
        drawn = [(g, x, y) for g in groups if (x := g.metric(plot.against)).n and (y := g.metric(plot.metric)).n]
        constant = {a for a in (groups[0].labels if groups else ()) if len({g.labels[a] for g, _, _ in drawn}) == 1}
        for group, x, y in drawn:
            found.setdefault(_name(group, plot, constant), []).append((x.mean, y.mean, float(np.nan_to_num(y.half))))
        if found:
            yield plot, [Line(name, points) for name, points in found.items()]


def plots(results: Results) -> Iterator[tuple[str, bytes]]:
    """Title and PNG of each of them."""
    for plot, found in series(results):
        title, (x, y) = f"{plot.metric} against {plot.against}", (plot.against, plot.metric)
        yield title.replace("_", " "), lines(found, x.replace("_", " "), y.replace("_", " "))


def _name(group: Group, plot: Plot, constant: set[str]) -> str:
    """The labels that tell this line from the others."""
    parts = [f"{value}" if axis in ("method", "tasks", "network") else f"{axis} {value}" for axis, value in group.labels.items()
             if axis not in constant and axis.rpartition(".")[2] != plot.along and str(value) != "-"]  # fmt: skip
    return ", ".join(parts) or "all cells"
