"""What cells are called: the values of their axes as people read them, and short names of axes."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.spec.canonical import show
from orchestrator.spec.trial import Cell


def shown(cell: Cell, axis: str) -> str:
    """An axis's value in a cell as people read it; '-' where the cell has no such axis."""
    if axis == "tasks":
        return " + ".join(t.name for t in cell.trial.tasks)
    return show(cell.labels[axis]) if axis in cell.labels else "-"


def short_names(axes: Sequence[str]) -> dict[str, str]:
    """Axis names without the setting they are in, where that leaves no doubt: `of.split` is
    `split`. Fixed columns keep their names.
    """
    last = [a.rsplit(".", 1)[-1] for a in axes]
    taken = {
        "cell",
        "key",
        "outcome",
        "metric",
        "label",
        "value",
        "matrix",
        "row",
        "column",
        "count",
        "chance",
        "note",
        "row_component",
        "column_component",
    }
    return {
        a: short if last.count(short) == 1 and short not in taken else a
        for a, short in zip(axes, last, strict=True)
    }
