"""A sweep's results as pandas data frames: cells, means over seeds, curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from orchestrator.analysis.groups import Column, Group
from orchestrator.errors import InputError, nearest
from orchestrator.store.records import label_text

if TYPE_CHECKING:
    import pandas as pd

CURVE_COLUMNS = {
    "stage": "str",
    "name": "str",
    "epoch": "int64",
    "value": "float64",
    "seconds": "float64",
}

MetricEntry = Mapping[str, Any]
"""One value of a metric as a record has it: name, value, labels."""


def typed_frame(table: pa.Table) -> pd.DataFrame:
    """A table as a data frame in which whole numbers stay whole and truth values true or false,
    where rows have none, too.
    """
    import pandas as pd

    columns = {}
    for name in table.column_names:
        column = table[name]
        # With a gap in it, pandas would make floats of whole numbers, and objects of truth values.
        plain = column.to_pandas()
        if column.null_count and pa.types.is_integer(column.type):
            plain = pd.Series(column.to_pylist(), dtype="Int64")
        elif column.null_count and pa.types.is_boolean(column.type):
            plain = pd.Series(column.to_pylist(), dtype="boolean")
        columns[name] = plain
    return pd.DataFrame(columns)


def with_metrics(cells: pa.Table, metrics: Sequence[Sequence[MetricEntry]]) -> pd.DataFrame:
    """A row a cell, beside its columns one for each metric and label: `accuracy`, or
    `accuracy[task=a]`. NaN where a cell has no such value.
    """
    frame = typed_frame(cells)
    # By name, [cells]; added at once, since a frame that grows by single columns is slow.
    columns: dict[str, Any] = {}
    for place, entries in enumerate(metrics):
        for entry in entries:
            name = column_name(entry["name"], label_text(entry["labels"]), frame.columns)
            if name not in columns:
                columns[name] = np.full(len(frame), np.nan)
            if entry["value"] is not None:
                columns[name][place] = entry["value"]
    return frame.assign(**columns)


def column_name(metric: str, label: str, taken: Iterable[str]) -> str:
    """`accuracy`, `accuracy[task=a]`; `threshold[]` for a metric that is called what an axis is."""
    if label or metric in taken:
        return f"{metric}[{label}]"
    return metric


def means_frame(
    settings: pa.Table, groups: Sequence[Group], columns: Sequence[Column]
) -> pd.DataFrame:
    """A row a setting: axes, n, planned, missing, needs; for each metric its mean, and behind it
    `_half` and `_n` of the same name.
    """
    frame = typed_frame(settings)
    frame["n"] = [group.n for group in groups]
    frame["planned"] = [group.num_planned for group in groups]
    frame["missing"] = [group.missing for group in groups]
    frame["needs"] = [group.num_needs for group in groups]
    found: dict[str, Any] = {}
    for column in columns:
        values = [group.value(column) for group in groups]
        # A metric that none of these settings has would be three columns of nothing.
        if not any(value.n for value in values):
            continue
        name = column_name(column.metric, label_text(dict(column.label or ())), frame.columns)
        found[name] = [value.mean for value in values]
        found[f"{name}_half"] = [value.half for value in values]
        found[f"{name}_n"] = [value.n for value in values]
    return frame.assign(**found)


def curves_frame(
    rows: pa.Table, records: Sequence[Mapping[str, Any]], wanted: str | None
) -> pd.DataFrame:
    """A row a point of a curve, behind the columns of the row that it belongs to: stage, name,
    epoch, value, seconds since the trial began. `wanted` is a curve's name, with or without its
    stage and what it is of (`val_accuracy` is `val_accuracy/a`, too); raises InputError where no
    record has it.
    """
    import pandas as pd

    points: dict[str, list[Any]] = {name: [] for name in CURVE_COLUMNS}
    places = []  # of every point the row that it stands behind
    known: dict[str, None] = {}
    for place, record in enumerate(records):
        for point in _points(record):
            full_name = f"{point[0]}/{point[1]}"
            known[full_name] = None
            # `val_accuracy` is all that are called so: `val_accuracy/a` of the task a, too.
            is_named = wanted in (None, full_name) or f"{point[1]}/".startswith(f"{wanted}/")
            if is_named:
                places.append(place)
                for column, one in zip(points.values(), point, strict=True):
                    column.append(one)
    if wanted is not None and not places:
        raise InputError(f"there is no curve {wanted!r}. {nearest(wanted, known)}")
    # Types are said: without any point, numpy and pandas would guess others.
    frame = typed_frame(rows).take(np.array(places, dtype=np.int64)).reset_index(drop=True)
    columns = {name: pd.Series(points[name], dtype=kind) for name, kind in CURVE_COLUMNS.items()}
    return frame.assign(**columns)


def _points(record: Mapping[str, Any]) -> Iterator[tuple[str, str, int, float, float]]:
    began = record["timings"]["began"]
    stages = record["timings"].get("fits", ())
    for full_name, epoch, value, time in record["curves"]:
        # Stages and curves may both have slashes in their names; the fits are known.
        own = [stage for stage in stages if full_name.startswith(f"{stage}/")]
        stage = max(own, key=len, default=full_name.rpartition("/")[0])
        name = full_name.removeprefix(f"{stage}/")
        yield stage, name, epoch, float("nan") if value is None else value, time - began
