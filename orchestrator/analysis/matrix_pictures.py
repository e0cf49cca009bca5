"""A sweep's matrices as pictures: every group's, averaged over its trials."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.analysis.figures import heat_map
from orchestrator.analysis.results import Group, Results
from orchestrator.parts.matrix import Matrix

PANELS = 36  # matrices in a picture; more cannot be read
# Of a matrix that is drawn unless it is the headline; curves over many epochs are for other
# pictures.
ENTRIES = 900


@dataclass(frozen=True)
class Panel:
    """One group's matrix: a heading that tells it from the others, means and half-widths of 95 %
    intervals, and the group's labels.
    """

    heading: str
    mean: Matrix
    half: Matrix
    labels: Mapping[str, Any]


def panels(results: Results, name: str) -> list[Panel]:
    """A matrix of every group that has it, the largest first."""
    most = math.inf if name == results.headline_matrix() else ENTRIES
    found = [
        (group, pair)
        for group in results.groups()
        if (pair := group.matrix(name)) and 1 < pair[0].values.size <= most
    ]
    found.sort(key=lambda one: -one[1][0].values.size)
    groups = [group for group, _ in found]
    return [
        Panel(_heading(group, _varying(group, groups), mean) or name, mean, half, group.labels)
        for group, (mean, half) in found
    ]


def overview(results: Results, name: str | None = None) -> bytes | None:
    """A matrix (default: the headline one) of every group as one PNG; None where there is none."""
    name = name or results.headline_matrix()
    shown = panels(results, name)[:PANELS] if name else []
    if not shown or name is None:
        return None
    # Where the last axis has few values, they stand beside each other, so that the picture reads as
    # a table.
    varying = _varying(shown[0], shown)
    last = len({p.labels[varying[-1]] for p in shown}) if varying else 1
    return heat_map(
        [(p.heading, p.mean, p.half.values) for p in shown],
        name.replace("_", " "),
        columns=last if 1 < last <= 6 else 4,
    )


def unscored(results: Results, name: str | None = None) -> list[str]:
    """A line for each group whose matrix (default: the headline one) has entries without a value:
    how many, and why.
    """
    lines = []
    for panel in panels(results, name) if (name := name or results.headline_matrix()) else ():
        empty = [(int(i), int(j)) for i, j in np.argwhere(np.isnan(panel.mean.values))]
        if empty:
            reasons = Counter(panel.mean.notes.get(place, "not measured") for place in empty)
            told = "; ".join(f"{why} ({count})" for why, count in reasons.most_common())
            lines.append(
                f"{panel.heading}: {len(empty)} of {panel.mean.values.size} entries have no value: {told}"
            )
    return lines


def others(results: Results) -> Iterator[tuple[str, bytes]]:
    """Title and picture of every matrix but the headline one that the sweep's methods declare."""
    names = dict.fromkeys(
        m.name
        for cell in results.plan.cells
        for m in cell.trial.method.matrices
        if m.name != results.headline_matrix()
    )
    for name in names:
        if (picture := overview(results, name)) is not None:
            yield name.replace("_", " "), picture


def _varying(one: Group | Panel, groups: Sequence[Group | Panel]) -> list[str]:
    """Axes that tell this group from the others: the method, and those in which groups of its
    method differ.
    """
    alike = [g for g in groups if g.labels.get("method") == one.labels.get("method")]
    several = len(alike) < len(groups)
    return [
        a
        for a in one.labels
        if (a == "method" and several) or len({g.labels[a] for g in alike}) > 1
    ]


def _heading(group: Group, varying: list[str], matrix: Matrix) -> str:
    """What tells this group from the others, less the tasks where rows or columns are their
    names.
    """
    named = {*matrix.rows, *matrix.columns}
    shown = {a: str(group.labels[a]) for a in varying if group.labels[a] != "-"}
    if set(shown.get("tasks", "").split(" + ")[1:]) & named:
        del shown["tasks"]
    return " · ".join(
        v if a in ("method", "network", "tasks") else f"{a}={v}" for a, v in shown.items()
    )
