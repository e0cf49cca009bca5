"""What cells are called: the values of their axes as people read them, and short names of axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.spec.canonical import show
from orchestrator.spec.trial import Cell

_METRIC_COLUMNS = ("cell", "key", "outcome", "metric", "label", "value")
_MATRIX_COLUMNS = ("matrix", "row", "column", "count", "chance", "note")
_COMPONENT_COLUMNS = ("row_component", "column_component")
COLUMNS = frozenset({*_METRIC_COLUMNS, *_MATRIX_COLUMNS, *_COMPONENT_COLUMNS})
"""Columns of the tables of results beside the axes; no axis is shortened to one of these names."""


def shown(cell: Cell, axis: str) -> str:
    """An axis's value in a cell as people read it; '-' where the cell has no such axis."""
    if axis == "tasks":
        return " + ".join(task.name for task in cell.trial.tasks)
    return show(cell.labels[axis]) if axis in cell.labels else "-"


def short_names(axes: Sequence[str]) -> dict[str, str]:
    """The short name of each axis: without the setting that it is in, where that leaves no doubt.

    Example: `short_names(["of.split", "of.lr", "lr"])` is `{"of.split": "split", "of.lr": "of.lr",
    "lr": "lr"}`.
    """
    last_parts = [axis.rsplit(".", 1)[-1] for axis in axes]
    names = {}
    for axis, last in zip(axes, last_parts, strict=True):
        is_clear = last_parts.count(last) == 1 and last not in COLUMNS
        names[axis] = last if is_clear else axis
    return names


def axes_by_name(axes: Iterable[str]) -> dict[str, str]:
    """The full name of each axis by its short name and by itself: all that people may write."""
    distinct = list(dict.fromkeys(axes))
    by_short_name = {short: axis for axis, short in short_names(distinct).items()}
    return by_short_name | {axis: axis for axis in distinct}
