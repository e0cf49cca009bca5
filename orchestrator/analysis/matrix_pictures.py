"""A sweep's matrices as pictures: every group's, averaged over its trials."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.analysis.figures import heat_map
from orchestrator.analysis.groups import NAMED_BY_VALUE, Group
from orchestrator.analysis.results import Results
from orchestrator.parts.matrix import Matrix

PANELS = 36  # matrices in one picture; more cannot be read

# Entries up to which a matrix is drawn, unless it is the headline: curves over many epochs are for
# other pictures.
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
    measured = []
    for group in results.groups():
        matrices = group.matrix(name)
        # A single number is no picture.
        if matrices is not None and 1 < matrices[0].values.size <= most:
            measured.append((group, *matrices))
    measured.sort(key=lambda entry: -entry[1].values.size)
    groups = [group for group, _, _ in measured]
    found = []
    for group, mean, half in measured:
        heading = _heading(group, _varying(group, groups), mean) or name
        found.append(Panel(heading, mean, half, group.labels))
    return found


def overview(results: Results, name: str | None = None) -> bytes | None:
    """A matrix (default: the headline one) of every group as one PNG; None where there is none."""
    name = name or results.headline_matrix()
    if name is None:
        return None
    drawn = panels(results, name)[:PANELS]
    if not drawn:
        return None
    # Where the last axis has few values, they stand beside each other, so that the picture reads as
    # a table.
    varying = _varying(drawn[0], drawn)
    num_last = len({panel.labels[varying[-1]] for panel in drawn}) if varying else 1
    columns = num_last if 1 < num_last <= 6 else 4
    pictures = [(panel.heading, panel.mean, panel.half.values) for panel in drawn]
    return heat_map(pictures, name.replace("_", " "), columns)


def unscored(results: Results, name: str | None = None) -> list[str]:
    """A line for each group whose matrix (default: the headline one) has entries without a value:
    how many, and why.
    """
    name = name or results.headline_matrix()
    if not name:
        return []
    lines = []
    for panel in panels(results, name):
        empty = [(int(i), int(j)) for i, j in np.argwhere(np.isnan(panel.mean.values))]
        if not empty:
            continue
        reasons = Counter(panel.mean.notes.get(entry, "not measured") for entry in empty)
        counted = "; ".join(f"{why} ({count})" for why, count in reasons.most_common())
        total = panel.mean.values.size
        lines.append(f"{panel.heading}: {len(empty)} of {total} entries have no value: {counted}")
    return lines


def others(results: Results) -> Iterator[tuple[str, bytes]]:
    """Title and picture of every matrix but the headline one that the sweep's methods declare."""
    declared = [m.name for cell in results.plan.cells for m in cell.trial.method.matrices]
    headline = results.headline_matrix()
    for name in dict.fromkeys(declared):
        picture = overview(results, name) if name != headline else None
        if picture is not None:
            yield name.replace("_", " "), picture


def _varying(member: Group | Panel, members: Sequence[Group | Panel]) -> list[str]:
    """Axes that tell one group from the others: the method, and those in which groups of its
    method differ.
    """
    of_method = [m for m in members if m.labels.get("method") == member.labels.get("method")]
    has_other_methods = len(of_method) < len(members)
    varying = []
    for axis in member.labels:
        differs = len({other.labels[axis] for other in of_method}) > 1
        if differs or (axis == "method" and has_other_methods):
            varying.append(axis)
    return varying


def _heading(group: Group, varying: Sequence[str], matrix: Matrix) -> str:
    """What tells this group from the others, less the tasks where rows or columns are their
    names.
    """
    labels = {axis: str(group.labels[axis]) for axis in varying if group.labels[axis] != "-"}
    task_names = set(labels.get("tasks", "").split(" + ")[1:])
    if task_names & {*matrix.rows, *matrix.columns}:
        del labels["tasks"]
    return " · ".join(
        value if axis in NAMED_BY_VALUE else f"{axis}={value}" for axis, value in labels.items()
    )
