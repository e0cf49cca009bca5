"""Matrices: measured scores whose rows and columns are components; stored as Parquet, one row an
entry.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.errors import MethodError
from orchestrator.parts.labelled_matrix import Components, LabelledMatrix
from orchestrator.parts.matrix_display import heat_map, in_html, in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class Matrix(LabelledMatrix):
    """A matrix as one trial measured it. `components` name the stored components that rows and
    columns stand for (`<key>/network?task=a`), where they stand for any.
    """

    components: Components | None = None

    def __getitem__(self, labels: tuple[str, str]) -> float:
        """One entry by the labels of its row and column, `matrix["a", "b"]`; NaN where it has no
        value. Raises InputError where there is no such label.
        """
        return float(self.values[self._place_of(labels)])

    def pair(self, row: str, column: str) -> tuple[str, str]:
        """References of the components that a row and a column stand for, as `join` takes them:
        `join(*matrix.pair("a", "b"), split="pool")`. Raises InputError for labels that the matrix
        does not have, and where a row or a column stands for no stored component.
        """
        return self._pair_in(self.components, row, column)

    def to_parquet(self) -> bytes:
        """Columns row, column, value, count, chance; note where any entry has one; row_component
        and column_component where they are components. Rows vary slowest. What rows and columns are
        is in the schema's metadata."""
        columns: dict[str, Any] = {
            "row": self._along_rows(self.rows),
            "column": self._along_columns(self.columns),
            "value": self.values.ravel(),  # rows vary slowest, as in np.ndindex below
            "count": self.count.ravel(),
            "chance": self.chance.ravel(),
        }
        if self.notes:
            notes = np.full(self.values.shape, "", dtype=object)
            for place, note in self.notes.items():
                notes[place] = note
            columns["note"] = notes.ravel()
        if self.components:
            columns["row_component"] = self._along_rows(self.components[0])
            columns["column_component"] = self._along_columns(self.components[1])
        metadata = {"matrix": self.name, "rows": self.axes[0], "columns": self.axes[1]}
        table = pa.table(columns).replace_schema_metadata(metadata)
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        return buffer.getvalue()

    def _along_rows(self, labels: Sequence[str]) -> NDArray[np.object_]:
        """A row's label for each of its entries, in the order of `values.ravel()`."""
        return np.repeat(np.array(labels, dtype=object), self.values.shape[1])

    def _along_columns(self, labels: Sequence[str]) -> NDArray[np.object_]:
        return np.tile(np.array(labels, dtype=object), self.values.shape[0])

    @staticmethod
    def from_parquet(content: bytes) -> Matrix:
        """The matrix that `to_parquet` wrote."""
        file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=["row", "column"])
        table = file.read(use_threads=False).combine_chunks()
        metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        # Rows vary slowest: a row is a run of equal labels, and the first run has every column.
        of_row = _row_numbers(table)
        num_columns = int((of_row == of_row[:1]).sum())
        rows, columns = _labels(table, "row", "column", num_columns)
        shape = (len(rows), num_columns)
        components = None
        if "row_component" in table.column_names:
            components = _labels(table, "row_component", "column_component", num_columns)
        return Matrix(
            name=metadata["matrix"],
            axes=(metadata["rows"], metadata["columns"]),
            rows=rows,
            columns=columns,
            values=_numbers(table["value"]).reshape(shape),
            count=_numbers(table["count"]).reshape(shape),
            chance=_numbers(table["chance"]).reshape(shape),
            notes=_notes_in(table, num_columns),
            components=components,
        )

    @staticmethod
    def size_of(content: bytes) -> int:
        """How many entries the matrix that `to_parquet` wrote has; nothing else of it is read."""
        return int(pq.read_metadata(io.BytesIO(content)).num_rows)

    def plot(self) -> Figure:
        """The values as a heat map."""
        return heat_map([("", self, None)], self.name.replace("_", " "))

    def __repr__(self) -> str:
        return f"<Matrix {in_words(self)}>"

    def _repr_html_(self) -> str:
        return in_html(self, in_words(self))


def _numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """The numbers of a column without nulls, in place."""
    # Not `to_numpy`, which imports pandas, and that takes longer than to read 500 matrices.
    return np.from_dlpack(column.chunk(0)) if len(column) else np.zeros(0)


def _row_numbers(table: pa.Table) -> NDArray[Any]:
    """Of every entry a number for its row, [rows * columns]."""
    return np.from_dlpack(table["row"].chunk(0).indices) if len(table) else np.zeros(0)


def _labels(
    table: pa.Table, of_rows: str, of_columns: str, num_columns: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels of rows, each where it begins, and those of columns, which the first row has."""
    down = range(0, len(table), num_columns or 1)
    rows = tuple(table[of_rows][place].as_py() for place in down)
    return rows, tuple(table[of_columns].slice(0, num_columns).to_pylist())


def _notes_in(table: pa.Table, num_columns: int) -> dict[tuple[int, int], str]:
    """The notes of a table of entries, by (row, column)."""
    if "note" not in table.column_names:
        return {}
    notes = enumerate(table["note"].to_pylist())
    return {divmod(place, num_columns): note for place, note in notes if note}


def make_matrix(
    name: str,
    *,
    axes: tuple[str, str],
    rows: Sequence[str],
    columns: Sequence[str],
    values: Any,
    count: Any = None,
    chance: Any = None,
    notes: Mapping[tuple[int, int], str] | None = None,
    components: Sequence[Sequence[str]] | None = None,
) -> Matrix:
    """A matrix with its shape and labels checked; `count` and `chance` may be numbers, arrays or
    None (0 and NaN).
    """
    array, shape = np.array(values, dtype=np.float64), (len(rows), len(columns))
    _check_form(name, array.shape, rows, columns, components)
    counts = np.asarray(0 if count is None else count, dtype=np.int64)
    chances = np.asarray(np.nan if chance is None else chance, dtype=np.float64)
    return Matrix(
        name=name,
        axes=axes,
        rows=tuple(rows),
        columns=tuple(columns),
        values=array,
        # A broadcast array is read-only, and one number in memory.
        count=np.broadcast_to(counts, shape).copy(),
        chance=np.broadcast_to(chances, shape).copy(),
        notes=dict(notes or {}),
        components=(tuple(components[0]), tuple(components[1])) if components else None,
    )


def _check_form(
    name: str,
    found: tuple[int, ...],
    rows: Sequence[str],
    columns: Sequence[str],
    components: Sequence[Sequence[str]] | None,
) -> None:
    """Raise MethodError where values of the shape `found` do not fit their labels or components."""
    shape = (len(rows), len(columns))
    if found != shape:
        raise MethodError(
            f"matrix {name!r}: {len(rows)} rows and {len(columns)} columns are named, "
            f"the values have shape {found}"
        )
    for what, labels in (("rows", rows), ("columns", columns)):
        if len(set(labels)) < len(labels):
            raise MethodError(f"matrix {name!r}: two {what} have one label: {sorted(labels)}")
    if components and tuple(map(len, components)) != shape:
        lengths = " and ".join(str(len(side)) for side in components)
        raise MethodError(
            f"matrix {name!r}: {lengths} components are named for {shape[0]} x {shape[1]} entries"
        )
