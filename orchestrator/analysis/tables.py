"""A sweep's results as Arrow tables, made column by column: a table of matrices has a row for every
entry of every matrix, far more than there could be Python objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.parts.matrix import Matrix
from orchestrator.parts.result import Result
from orchestrator.spec.canonical import digest
from orchestrator.spec.labels import Axes, AxisValue
from orchestrator.spec.trial import Cell
from orchestrator.store import records
from orchestrator.store.records import metrics_of
from orchestrator.store.source import source_of

# Labels that repeat from row to row are kept once, with a number in each row.
LABEL = pa.dictionary(pa.int32(), pa.string())

# The columns of the two tables; the axes of the sweep stand after those of the cell.
CELL_COLUMNS = {"cell": pa.int64(), "key": pa.string(), "outcome": pa.string()}
METRIC_COLUMNS = {"metric": pa.string(), "label": pa.string(), "value": pa.float64()}
MATRIX_COLUMNS = {
    "matrix": LABEL,
    "row": LABEL,
    "column": LABEL,
    "value": pa.float64(),
    "count": pa.int64(),
    "chance": pa.float64(),
    "note": LABEL,
    "row_component": LABEL,
    "column_component": LABEL,
}

STAMP = b"spolia.made_of"  # in the metadata of the files

ROW_GROUP = 1 << 17  # rows that are gathered before they are written


class Tables:
    """Makes the tables of some cells. `axes` are the sweep's with their values, `names` maps each
    to its name in tables.
    """

    def __init__(self, axes: Axes, names: Mapping[str, str]) -> None:
        self._axes, self._names = axes, names
        # By all values of an axis, so that tables of some of the cells have the same types.
        self._types = {axis: _column_type(axes, axis) for axis in axes.names}

    @property
    def cell_schema(self) -> pa.Schema:
        """Cell, key, outcome, the axes."""
        own = {self._names[axis]: kind for axis, kind in self._types.items()}
        return pa.schema({**CELL_COLUMNS, **own})

    @property
    def matrix_schema(self) -> pa.Schema:
        """The columns of `matrix_batches`."""
        text = pa.string()
        # A cell's texts are the same in every one of its rows, thousands of times: see LABEL.
        kinds = {one.name: LABEL if one.type == text else one.type for one in self.cell_schema}
        return pa.schema({**kinds, **MATRIX_COLUMNS})

    def cells(self, cells: Sequence[Cell], outcomes: Sequence[str]) -> pa.Table:
        """One row a cell."""
        columns: dict[str, list[Any]] = {name: [] for name in self.cell_schema.names}
        for cell, outcome in zip(cells, outcomes, strict=True):
            for name, value in self._row(cell, outcome).items():
                columns[name].append(value)
        return pa.table(columns, schema=self.cell_schema)

    def settings(self, values: Sequence[Mapping[str, AxisValue]]) -> pa.Table:
        """One row a setting: the axes but for the seed, by their names in tables."""
        columns = {}
        for axis, kind in self._types.items():
            if axis != "seed":
                name = self._names[axis]
                columns[name] = pa.array([_plain(one.get(name), kind) for one in values], kind)
        return pa.table(columns)

    def metrics(self, finished: Iterable[tuple[Cell, Result]]) -> pa.Table:
        """One row a cell, metric and label."""
        pairs = list(finished)
        table = self.cells([cell for cell, _ in pairs], [result.outcome for _, result in pairs])
        # A row a cell is written once, then repeated in Arrow; `metrics_of` has the same order.
        num_logged = [len(result.record["metrics"]) for _, result in pairs]
        table = table.take(np.repeat(np.arange(len(pairs)), num_logged))
        logged = metrics_of(result.record for _, result in pairs)
        for name, kind in METRIC_COLUMNS.items():
            table = table.append_column(name, logged[name].cast(kind))
        return table

    def matrix_batches(self, finished: Iterable[tuple[Cell, Result]]) -> Iterator[pa.RecordBatch]:
        """One row an entry of a matrix, one batch a matrix; only the one that is asked for is in
        memory.
        """
        schema = self.matrix_schema
        for cell, result in finished:
            row = self._row(cell, result.outcome)
            for entry in result.record["matrices"]:
                matrix = result.matrix(entry["name"])
                size = matrix.values.size
                of_cell = [_repeated(row[name], schema.field(name).type, size) for name in row]
                yield pa.RecordBatch.from_arrays([*of_cell, *_entries(matrix)], schema=schema)

    def stamp(self, finished: Iterable[tuple[Cell, Result]]) -> str:
        """SHA-256 of all that the tables of these cells are made of, matrices by their own, and of
        the code that makes them.
        """
        made_of = [
            [self._row(cell, result.outcome), result.metrics, result.record["matrices"]]
            for cell, result in finished
        ]
        makers = [source_of(Path(str(file))).digest for file in (__file__, records.__file__)]
        return digest([str(self.cell_schema), makers, made_of])

    def _row(self, cell: Cell, outcome: str) -> dict[str, Any]:
        """What every row of a cell begins with."""
        row = {"cell": cell.index, "key": cell.trial.key, "outcome": outcome}
        for axis, kind in self._types.items():
            row[self._names[axis]] = _plain(self._axes.of(cell, axis), kind)
        return row


def has_stamp(path: Path, stamp: str) -> bool:
    """Whether there is a Parquet file that was made of the same, so that it need not be written."""
    try:
        found = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):  # there is none, or something else lies there
        return False
    return bool(found.get(STAMP) == stamp.encode())


def write_table(path: Path, table: pa.Table, stamp: str) -> None:
    """Write a table as Parquet."""
    pq.write_table(table.replace_schema_metadata({STAMP: stamp.encode()}), path)


def write_batches(
    path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], stamp: str
) -> None:
    """Write batches as Parquet, a few at a time."""
    with pq.ParquetWriter(path, schema.with_metadata({STAMP: stamp.encode()})) as writer:
        # A row group a matrix would be thousands of tiny ones; a single one may not fit in memory.
        waiting: list[pa.RecordBatch] = []
        num_rows = 0
        for batch in batches:
            waiting.append(batch)
            num_rows += len(batch)
            if num_rows >= ROW_GROUP:
                writer.write_table(_gathered(waiting, schema))
                waiting, num_rows = [], 0
        if waiting:
            writer.write_table(_gathered(waiting, schema))


def table_of(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """All batches in memory, as one table."""
    return _gathered(list(batches), schema)


def _gathered(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    # Every batch numbers its labels for itself; in one table they have the same numbers.
    return pa.Table.from_batches(batches, schema).unify_dictionaries()


def _column_type(axes: Axes, axis: str) -> pa.DataType:
    """Numbers are columns of numbers, so that they sort as such; anything else is text."""
    # The exact type: a truth value is an `int` to isinstance, and would sort among numbers.
    kinds = {type(value.value) for value in axes.values(axis)}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()


def _plain(value: AxisValue | None, kind: pa.DataType) -> Any:
    """A value of an axis as a column of this type has it."""
    if value is None:
        return None
    return value.text if kind == pa.string() else value.value


def _repeated(value: Any, kind: pa.DataType, size: int) -> pa.Array:
    """One value of a cell for each of `size` rows."""
    if kind != LABEL:
        return pa.repeat(pa.scalar(value, kind), size)
    if value is None:
        return pa.nulls(size, LABEL)
    return _labelled([value], np.zeros(size, np.int32))


def _labelled(labels: Sequence[str], numbers: np.ndarray[Any, Any]) -> pa.Array:
    """Labels by their numbers."""
    return pa.DictionaryArray.from_arrays(
        pa.array(numbers, pa.int32()), pa.array(labels, pa.string())
    )


def _entries(matrix: Matrix) -> list[pa.Array]:
    """The columns of MATRIX_COLUMNS; rows of the matrix vary slowest."""
    num_rows, num_columns = matrix.values.shape
    size = matrix.values.size
    down = np.repeat(np.arange(num_rows, dtype=np.int32), num_columns)  # [rows * columns]
    across = np.tile(np.arange(num_columns, dtype=np.int32), num_rows)  # [rows * columns]
    # Number 0 is the empty note, which most entries have.
    texts = list(dict.fromkeys(["", *matrix.notes.values()]))
    number_of = {text: number for number, text in enumerate(texts)}
    notes = np.zeros((num_rows, num_columns), np.int32)
    for place, note in matrix.notes.items():
        notes[place] = number_of[note]
    # Matrices without components have the columns, too: all batches share one schema.
    none = _repeated("", LABEL, size)
    components = matrix.components
    return [
        _repeated(matrix.name, LABEL, size),
        _labelled(matrix.rows, down),
        _labelled(matrix.columns, across),
        pa.array(matrix.values.ravel(), pa.float64()),
        pa.array(matrix.count.ravel(), pa.int64()),
        pa.array(matrix.chance.ravel(), pa.float64()),
        _labelled(texts, notes.ravel()),
        _labelled(components[0], down) if components else none,
        _labelled(components[1], across) if components else none,
    ]
