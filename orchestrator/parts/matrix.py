"""Matrices: measured scores whose rows and columns are components; stored as Parquet, one row an
entry.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.errors import MethodError

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Matrix:
    """`values[i, j]` is the score of row i with column j; NaN where the pair has none. `count` is
    how many images stand behind an entry, `chance` what guessing scores. `axes` says what rows and
    columns are, such as ("extractor", "head"). `notes` say by place what is to be known of an
    entry, above all why it has no value; `components` name the stored components that rows and
    columns are (`<key>/network?task=a`), where they are any."""

    name: str
    axes: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Values
    count: NDArray[np.int64]
    chance: Values
    notes: Mapping[tuple[int, int], str] = field(default_factory=dict)
    components: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    def to_parquet(self) -> bytes:
        """Columns row, column, value, count, chance; note where any entry has one; row_component
        and column_component where they are components. Rows vary slowest. What rows and columns are
        is in the schema's metadata."""
        num_rows, num_columns = self.values.shape
        more: dict[str, Any] = {}
        if self.notes:
            more["note"] = [
                self.notes.get((i, j), "") for i in range(num_rows) for j in range(num_columns)
            ]
        if self.components:
            more["row_component"] = np.repeat(
                np.array(self.components[0], dtype=object), num_columns
            )
            more["column_component"] = np.tile(np.array(self.components[1], dtype=object), num_rows)
        table = pa.table(
            {
                "row": np.repeat(np.array(self.rows, dtype=object), num_columns),
                "column": np.tile(np.array(self.columns, dtype=object), num_rows),
                "value": self.values.ravel(),
                "count": self.count.ravel(),
                "chance": self.chance.ravel(),
                **more,
            }
        ).replace_schema_metadata(
            {"matrix": self.name, "rows": self.axes[0], "columns": self.axes[1]}
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        return buffer.getvalue()

    @staticmethod
    def from_parquet(content: bytes) -> Matrix:
        table = pq.read_table(io.BytesIO(content))
        meta = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        rows, columns = (
            tuple(dict.fromkeys(table[name].to_pylist())) for name in ("row", "column")
        )
        shape = (len(rows), len(columns))
        values, count, chance = (
            table[name].to_numpy().reshape(shape) for name in ("value", "count", "chance")
        )
        found = table["note"].to_pylist() if "note" in table.column_names else []
        notes = {divmod(place, len(columns)): note for place, note in enumerate(found) if note}
        named: Any = None
        if "row_component" in table.column_names:
            first, second = (table[f"{side}_component"].to_pylist() for side in ("row", "column"))
            named = (tuple(first[:: len(columns)]), tuple(second[: len(columns)]))
        return Matrix(
            meta["matrix"],
            (meta["rows"], meta["columns"]),
            rows,
            columns,
            values,
            count,
            chance,
            notes,
            named,
        )


def make_matrix(
    name: str,
    axes: tuple[str, str],
    rows: Sequence[str],
    columns: Sequence[str],
    values: Any,
    count: Any,
    chance: Any,
    notes: Mapping[tuple[int, int], str] | None = None,
    components: Sequence[Sequence[str]] | None = None,
) -> Matrix:
    """A matrix with its shape and labels checked; `count` and `chance` may be numbers, arrays or
    None (0 and NaN).
    """
    array = np.array(values, dtype=np.float64)
    shape = (len(rows), len(columns))
    if array.shape != shape:
        raise MethodError(
            f"matrix {name!r}: {len(rows)} rows and {len(columns)} columns are named, the values have shape {array.shape}"
        )
    for what, labels in (("rows", rows), ("columns", columns)):
        if len(set(labels)) < len(labels):
            raise MethodError(f"matrix {name!r}: two {what} have one label: {sorted(labels)}")
    if components and tuple(map(len, components)) != shape:
        raise MethodError(
            f"matrix {name!r}: {' and '.join(str(len(c)) for c in components)} components are named for {shape[0]} x {shape[1]} entries"
        )
    counts = np.broadcast_to(
        np.asarray(0 if count is None else count, dtype=np.int64), shape
    ).copy()
    chances = np.broadcast_to(
        np.asarray(np.nan if chance is None else chance, dtype=np.float64), shape
    ).copy()
    named = (tuple(components[0]), tuple(components[1])) if components else None
    return Matrix(
        name, axes, tuple(rows), tuple(columns), array, counts, chances, dict(notes or {}), named
    )
