"""A sweep's matrices as pictures: every group's, averaged over its trials."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.analysis.figures import heat_map
from orchestrator.analysis.groups import NAMED_BY_VALUE, Group
from orchestrator.analysis.mean_matrix import MeanMatrix
from orchestrator.analysis.results import Results

PANELS = 36  # matrices in one picture; more cannot be read

# Entries up to which a matrix is drawn, unless it is the headline: curves over many epochs are for
# other pictures.
ENTRIES = 900

NAMED = 3  # matrices of which the same is said in a line each


@dataclass(frozen=True)
class Panel:
    """One group's matrix: by axis the words that tell it from the others, and the group's labels.
    Its means are made when they are asked for: a sweep may have more large ones than fit into
    memory.
    """

    parts: Mapping[str, str]
    labels: Mapping[str, Any]
    group: Group
    name: str

    @property
    def heading(self) -> str:
        """What tells it from the others."""
        return " · ".join(self.parts.values()) or self.name

    @property
    def mean(self) -> MeanMatrix:
        """Means with half-widths of 95 % intervals."""
        found = self.group.matrix(self.name)
        assert found is not None, "a panel is made of a matrix that is there"
        return found


@dataclass(frozen=True)
class _Measured:
    """A group that has the matrix, how many entries that has, and whether rows or columns are
    called what the group's tasks are.
    """

    group: Group
    size: int
    names_tasks: bool


def panels(results: Results, name: str) -> list[Panel]:
    """A matrix of every group that has it, the largest first."""
    most = math.inf if name == results.headline_matrix() else ENTRIES
    measured = []
    for group in results.groups():
        # A single number is no picture; what is too large for one is not even averaged.
        if not 1 < group.matrix_size(name) <= most:
            continue
        matrix = group.matrix(name)
        if matrix is not None:
            tasks = set(str(group.labels.get("tasks", "")).split(" + ")[1:])
            names_tasks = bool(tasks & {*matrix.rows, *matrix.columns})
            measured.append(_Measured(group, matrix.values.size, names_tasks))
    measured.sort(key=lambda one: -one.size)
    groups = [one.group for one in measured]
    varying: dict[Any, list[str]] = {}  # by method
    found = []
    for one in measured:
        method = one.group.labels.get("method")
        if method not in varying:
            varying[method] = _varying(one.group, groups)
        parts = _parts(one, varying[method])
        found.append(Panel(parts, one.group.labels, one.group, name))
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
    pictures = [(panel.heading, panel.mean) for panel in drawn]
    with_halves = [(heading, mean, mean.half) for heading, mean in pictures]
    return heat_map(with_halves, name.replace("_", " "), columns)


def unscored(results: Results, name: str | None = None) -> list[str]:
    """Of which settings the matrix (default: the headline one) has entries without a value, how
    many, and why: a line for each, or one for more than `NAMED` of which the same is to be said.
    """
    name = name or results.headline_matrix()
    if not name:
        return []
    headings: dict[str, list[str]] = {}  # by what is to be said
    shown = panels(results, name)
    num_called = Counter(panel.heading for panel in shown)
    for panel in shown:
        mean, heading = panel.mean, panel.heading
        if num_called[heading] > 1:
            # Beside a matrix its labels tell orders of tasks apart; here nothing else does.
            heading = f"{heading} · {panel.labels.get('tasks', name)}"
        empty = mean.without_value
        if not empty:
            continue
        reasons = Counter(empty.values())
        counted = "; ".join(f"{why} ({count})" for why, count in reasons.most_common())
        said = f"{len(empty)} of {mean.values.size} entries have no value: {counted}"
        headings.setdefault(said, []).append(heading)
    lines = []
    for said, of in headings.items():
        if len(of) > NAMED:
            lines.append(f"{len(of)} matrices, in each {said}")
        else:
            lines += [f"{heading}: {said}" for heading in of]
    return lines


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


def _parts(measured: _Measured, varying: Sequence[str]) -> dict[str, str]:
    """By axis what tells this group from the others, less the tasks where rows or columns are
    their names.
    """
    all_labels = measured.group.labels
    labels = {axis: str(all_labels[axis]) for axis in varying if all_labels[axis] != "-"}
    if measured.names_tasks:
        labels.pop("tasks", None)
    return {
        axis: value if axis in NAMED_BY_VALUE else f"{axis}={value}"
        for axis, value in labels.items()
    }
