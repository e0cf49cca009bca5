"""What a sweep found, as Arrow tables and as means with intervals over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.analysis.groups import Column, Group, Section, columns_of
from orchestrator.parts.matrix import Matrix
from orchestrator.parts.result import Result
from orchestrator.planning.plan import Plan
from orchestrator.spec.claim import Entry, Labels, several
from orchestrator.spec.labels import ABSENT, AxisValue, axes_by_name, short_names
from orchestrator.spec.trial import Cell, Trial
from orchestrator.store.store import Store

# The columns of the two tables; the axes of the sweep stand after those of the cell.
CELL_COLUMNS = {"cell": pa.int64(), "key": pa.string(), "outcome": pa.string()}
METRIC_COLUMNS = {"metric": pa.string(), "label": pa.string(), "value": pa.float64()}
MATRIX_COLUMNS = {
    "matrix": pa.string(),
    "row": pa.string(),
    "column": pa.string(),
    "value": pa.float64(),
    "count": pa.int64(),
    "chance": pa.float64(),
    "note": pa.string(),
    "row_component": pa.string(),
    "column_component": pa.string(),
}


class Results:
    """The results of a sweep's finished cells: tables of every value, and means over seeds.

    `plan` is the sweep held against the store, `by_key` has the result of every finished trial,
    and `axes` maps each axis of the sweep to its name in tables.

    In a notebook:

        from orchestrator import Results, Store, load_sweep, make_plan

        store = Store("runs/store")
        name, sweep = load_sweep("sweeps/quickstart.py")
        results = Results(make_plan(name, sweep, store), store)
        frame = results.metrics_table().to_pandas()
        for group in results.groups():
            print(group.labels, group.metric("compatibility"))
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan, self.store = plan, store
        self.by_key: dict[str, Result] = {}
        for key in dict.fromkeys(cell.trial.key for cell in plan.cells):
            if key in plan.records:
                self.by_key[key] = Result(store, plan.records[key])
        self.axes = short_names(plan.axes)
        self.values = plan.values
        self._entries: dict[tuple[str, str], Matrix] = {}
        self._columns: dict[str, list[Column]] = {}

    def wanted(self, labels: Labels) -> dict[str, list[str | None]]:
        """The keys of the values that labels name, by the full name of their axis; None stands for
        cells without the axis. Names that are no axes are passed over.
        """
        names = axes_by_name(self.plan.axes)
        found: dict[str, list[str | None]] = {}
        for name, value in labels.items():
            if name in names:
                axis = names[name]
                found[axis] = [
                    None if one == ABSENT else self.values.find(axis, one).key
                    for one in several(value)
                ]
        return found

    def cells_like(self, labels: Labels) -> list[Cell]:
        """All cells of the sweep, finished or not, with these values of their axes."""
        wanted = self.wanted(labels)
        return [
            cell
            for cell in self.plan.cells
            if all(self.key_of(cell, axis) in keys for axis, keys in wanted.items())
        ]

    def key_of(self, cell: Cell, axis: str) -> str | None:
        """What identifies an axis's value in a cell, or None where the cell has no such axis."""
        value = self.values.of(cell, axis)
        return None if value is None else value.key

    def text_of(self, axis: str, key: str) -> str:
        """What people call the value of an axis that has this key."""
        return next((v.text for v in self.values.values(axis) if v.key == key), ABSENT)

    def title(self, cell: Cell) -> str:
        """A cell in words: its axes with their values."""
        values = ((axis, self.values.of(cell, axis)) for axis in self.plan.axes)
        return " ".join(f"{self.axes[axis]}={v.text}" for axis, v in values if v is not None)

    def matrix_entry(self, key: str, entry: Entry) -> float:
        """One entry of a matrix of a finished trial; NaN where it has none."""
        result = self.by_key[key]
        if not any(one["name"] == entry.matrix for one in result.record["matrices"]):
            return float("nan")
        place = (key, entry.matrix)
        if place not in self._entries:
            self._entries[place] = result.matrix(entry.matrix)
        matrix = self._entries[place]
        if entry.row not in matrix.rows or entry.column not in matrix.columns:
            return float("nan")
        return float(
            matrix.values[matrix.rows.index(entry.row), matrix.columns.index(entry.column)]
        )

    def cells(self) -> Iterator[tuple[Cell, Result]]:
        """Every finished cell with its result, in the sweep's order."""
        for cell in self.plan.cells:
            if cell.trial.key in self.by_key:
                yield cell, self.by_key[cell.trial.key]

    def groups(self) -> list[Group]:
        """Cells that differ in seed only, put together, in the sweep's order, finished or not.

        `[g.metric("accuracy") for g in results.groups()]` gives a mean with its interval for every
        setting of the sweep.
        """
        return self._groups

    @cached_property
    def _groups(self) -> list[Group]:
        axes = [axis for axis in self.plan.axes if axis != "seed"]
        # By the keys of a group's values its trials, each once: n counts distinct trials.
        members: dict[tuple[str | None, ...], dict[str, Trial]] = {}
        values: dict[tuple[str | None, ...], dict[str, AxisValue | None]] = {}
        for cell in self.plan.cells:
            own = {self.axes[axis]: self.values.of(cell, axis) for axis in axes}
            keys = tuple(None if value is None else value.key for value in own.values())
            members.setdefault(keys, {})[cell.trial.key] = cell.trial
            values.setdefault(keys, own)
        return [self._group(values[keys], trials) for keys, trials in members.items()]

    def _group(self, values: Mapping[str, AxisValue | None], trials: Mapping[str, Trial]) -> Group:
        labels = {axis: ABSENT if value is None else value.text for axis, value in values.items()}
        states = {key: self.plan.standing(key) for key in trials}
        results = [
            self.by_key[key] for key in trials if states[key] == "done" and key in self.by_key
        ]
        needs = {need["key"] for r in results for need in r.record["needs"].values()}
        there = {axis: value for axis, value in values.items() if value is not None}
        return Group(labels, trials, states, tuple(results), len(needs), there)

    def columns(self, metric: str) -> list[Column]:
        """The columns in which tables show a metric: one where no row averages over labels that
        another does not share, else one a label.
        """
        if metric not in self._columns:
            self._columns[metric] = columns_of(metric, self.groups())
        return self._columns[metric]

    def sections(self) -> list[Section]:
        """The groups by the axes that they have, in the sweep's order. Where all have the same
        ones, they are one section with nothing in common.
        """
        members: dict[tuple[str, ...], list[Group]] = {}
        for group in self.groups():
            key = (*_axes_of(group), str(group.labels.get("method", "")))
            members.setdefault(key, []).append(group)
        if len(members) == 1:
            groups = next(iter(members.values()))
            return [
                Section({}, tuple(_axes_of(groups[0])), tuple(groups), self._headline_of(groups))
            ]
        return [self._section(groups) for groups in members.values()]

    def _section(self, groups: Sequence[Group]) -> Section:
        """Groups that have the same axes; axes with one value are what they have in common."""
        common, differing = {}, []
        for axis in _axes_of(groups[0]):
            values = {group.labels[axis] for group in groups}
            if len(values) == 1:
                common[axis] = str(values.pop())
            else:
                differing.append(axis)
        return Section(common, tuple(differing), tuple(groups), self._headline_of(groups))

    def _headline_of(self, groups: Sequence[Group]) -> tuple[Column, ...]:
        """The headline columns that these groups have values in, or all where they have none."""
        columns = [column for name in self.headline() for column in self.columns(name)]
        measured = [column for column in columns if any(g.value(column).n for g in groups)]
        return tuple(measured or columns)

    def headline(self) -> list[str]:
        """Names of the metrics that summaries show."""
        methods = {cell.trial.method.name: cell.trial.method for cell in self.plan.cells}
        metrics = [metric for method in methods.values() for metric in method.metrics]
        return list(dict.fromkeys(metric.name for metric in metrics if metric.headline))

    def metrics(self) -> list[str]:
        """Names of all metrics that the sweep's methods declare."""
        declared = [metric.name for cell in self.plan.cells for metric in cell.trial.method.metrics]
        return list(dict.fromkeys(declared))

    def headline_matrix(self) -> str | None:
        """Name of the matrix that summaries show, or None where no method declares one."""
        for cell in self.plan.cells:
            for matrix in cell.trial.method.matrices:
                if matrix.headline:
                    return matrix.name
        return None

    def metrics_table(self) -> pa.Table:
        """One row a cell, metric and label: cell, key, outcome, the axes, metric, label, value.

        `results.metrics_table().to_pandas()` is a data frame; a label is written `task=a`.
        """
        rows = []
        for cell, result in self.cells():
            cell_columns = self._cell_columns(cell, result)
            for entry in result.metrics:
                rows.append(
                    {
                        **cell_columns,
                        "metric": entry["name"],
                        "label": _label(entry["labels"]),
                        "value": entry["value"],
                    }
                )
        return self._table(rows, METRIC_COLUMNS)

    def matrices_table(self) -> pa.Table:
        """One row a matrix entry: cell, key, outcome, the axes, matrix, row, column, value, count,
        chance, note, row_component, column_component.

        The components are written `<key>/network?task=a`: what `Result.open(key)` finds. They are
        empty where rows and columns are no stored components.
        """
        rows = []
        for cell, result in self.cells():
            cell_columns = self._cell_columns(cell, result)
            for entry in result.record["matrices"]:
                matrix = result.matrix(entry["name"])
                rows += [{**cell_columns, **columns} for columns in _entries(matrix)]
        return self._table(rows, MATRIX_COLUMNS)

    def write(self, folder: Path) -> list[Path]:
        """Both tables as Parquet in a folder; each appears whole or not at all. Returns their
        paths.
        """
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, table in (("metrics", self.metrics_table()), ("matrices", self.matrices_table())):
            path = folder / f"{name}.parquet"
            temporary = path.with_suffix(".part")
            pq.write_table(table, temporary)
            temporary.replace(path)
            paths.append(path)
        return paths

    def _cell_columns(self, cell: Cell, result: Result) -> dict[str, Any]:
        """What every row of a cell begins with."""
        axes = {}
        for axis in self.plan.axes:
            value = self.values.of(cell, axis)
            plain = self._column_type(axis) != pa.string()
            axes[self.axes[axis]] = None if value is None else value.value if plain else value.text
        return {"cell": cell.index, "key": result.key, "outcome": result.outcome, **axes}

    def _column_type(self, axis: str) -> pa.DataType:
        """Numbers are columns of numbers, so that they sort as such; anything else is text."""
        kinds = {type(value.value) for value in self.values.values(axis)}
        if kinds == {bool}:
            return pa.bool_()
        if kinds == {int}:
            return pa.int64()
        return pa.float64() if kinds and kinds <= {int, float} else pa.string()

    def _table(self, rows: list[dict[str, Any]], columns: Mapping[str, pa.DataType]) -> pa.Table:
        axes = {self.axes[axis]: self._column_type(axis) for axis in self.plan.axes}
        schema = pa.schema({**CELL_COLUMNS, **axes, **columns})
        return pa.Table.from_pylist(rows, schema=schema)


def _axes_of(group: Group) -> list[str]:
    """The axes that a group's cells have; others of the sweep are a dash in its tables."""
    return [axis for axis, value in group.labels.items() if value != "-"]


def _entries(matrix: Matrix) -> Iterator[dict[str, Any]]:
    """Every entry of a matrix, row by row."""
    for i, row in enumerate(matrix.rows):
        for j, column in enumerate(matrix.columns):
            row_component = column_component = ""
            if matrix.components:
                row_component, column_component = matrix.components[0][i], matrix.components[1][j]
            yield {
                "matrix": matrix.name,
                "row": row,
                "column": column,
                "value": matrix.values[i, j],
                "count": int(matrix.count[i, j]),
                "chance": matrix.chance[i, j],
                "note": matrix.notes.get((i, j), ""),
                "row_component": row_component,
                "column_component": column_component,
            }


def _label(labels: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in labels.items())
