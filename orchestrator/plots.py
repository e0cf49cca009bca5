"""A sweep's metrics against each other, as its methods declare them: what an accuracy costs, say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from orchestrator.declarations import Plot
from orchestrator.figures import Line, lines
from orchestrator.results import Group, Results


def plots(results: Results) -> Iterator[tuple[str, bytes]]:
    """Title and PNG of every plot that a method of the sweep declares. Cells that leave both metrics are in it, whatever their method; means over
    seeds. Cells that differ in the plot's setting `along` only are one line."""
    declared = dict.fromkeys(plot for cell in results.plan.cells for plot in cell.trial.method.plots)
    groups = results.groups()
    constant = {a for a in (groups[0].labels if groups else ()) if len({g.labels[a] for g in groups}) == 1}
    for plot in declared:
        found: dict[str, list[tuple[float, float, float]]] = {}
        for group in groups:
            x, y = group.metric(plot.against), group.metric(plot.metric)
            if x.n and y.n:
                found.setdefault(_name(group, plot, constant), []).append((x.mean, y.mean, float(np.nan_to_num(y.half))))
        if found:
            picture = lines([Line(name, points) for name, points in found.items()], plot.against.replace("_", " "), plot.metric.replace("_", " "))
            yield f"{plot.metric} against {plot.against}".replace("_", " "), picture


def _name(group: Group, plot: Plot, constant: set[str]) -> str:
    """The labels that tell this line from the others."""
    parts = [f"{value}" if axis in ("method", "tasks", "network") else f"{axis} {value}" for axis, value in group.labels.items()
             if axis not in constant and axis.rpartition(".")[2] != plot.along and str(value) != "-"]  # fmt: skip
    return ", ".join(parts) or "all cells"
