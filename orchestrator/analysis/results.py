"""What a sweep found, as Arrow tables and as means with intervals over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.parts.matrix import Matrix
from orchestrator.parts.result import Result
from orchestrator.planning.plan import Plan
from orchestrator.spec.labels import short_names, shown
from orchestrator.spec.trial import Cell
from orchestrator.store.store import Store


@dataclass(frozen=True)
class Estimate:
    """Mean of `n` distinct trials with the half-width of its 95 % interval (Student's t; NaN for
    fewer than two).
    """

    mean: float
    half: float
    n: int

    def __str__(self) -> str:
        return self.text(3)

    def text(self, digits: int) -> str:
        """`0.859 ±0.009`; without an interval where there is one trial only, and a dash where there
        is none.
        """
        if not self.n:
            return "–"
        return f"{self.mean:.{digits}f}" + (f" ±{self.half:.{digits}f}" if self.n > 1 else "")


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % interval of values from distinct trials; NaN values are left out and not
    counted.
    """
    from scipy import stats

    data = np.array([v for v in values if np.isfinite(v)])
    if len(data) == 0:
        return Estimate(float("nan"), float("nan"), 0)
    half = (
        stats.t.ppf(0.975, len(data) - 1) * data.std(ddof=1) / len(data) ** 0.5
        if len(data) > 1
        else float("nan")
    )
    return Estimate(float(data.mean()), float(half), len(data))


@dataclass(frozen=True)
class Group:
    """Cells that differ in seed only: their labels, results by distinct trial, and how many
    distinct needs stand behind them.
    """

    labels: Mapping[str, Any]
    results: tuple[Result, ...]
    num_needs: int

    def metric(self, name: str) -> Estimate:
        """Mean over trials of a metric, averaged over its labels within a trial first."""
        return estimate(
            [
                float(np.mean(v))
                for r in self.results
                if (
                    v := [
                        m["value"]
                        for m in r.metrics
                        if m["name"] == name and m["value"] is not None
                    ]
                )
            ]
        )

    def matrix(self, name: str) -> tuple[Matrix, Matrix] | None:
        """Entrywise mean and half-width of the 95 % interval over trials; None where no trial
        measured it or their labels differ.
        """
        found = [
            r.matrix(name)
            for r in self.results
            if any(m["name"] == name for m in r.record["matrices"])
        ]
        if not found or any(
            (m.rows, m.columns) != (found[0].rows, found[0].columns) for m in found
        ):
            return None
        first = found[0]
        cells = [
            [estimate([float(m.values[i, j]) for m in found]) for j in range(len(first.columns))]
            for i in range(len(first.rows))
        ]
        means, halves = (
            np.array([[getattr(e, what) for e in row] for row in cells])
            for what in ("mean", "half")
        )
        count = np.sum([m.count for m in found], axis=0)
        notes = {place: note for m in found for place, note in m.notes.items()}
        return tuple(
            Matrix(name, first.axes, first.rows, first.columns, v, count, first.chance, notes)
            for v in (means, halves)
        )  # type: ignore[return-value]


@dataclass(frozen=True)
class Section:
    """Groups that have the same axes, which a union of grids may put beside others: the labels that
    all of them share, the axes in which they differ, and the headline metrics that they leave."""

    common: Mapping[str, str]
    axes: tuple[str, ...]
    groups: tuple[Group, ...]
    metrics: tuple[str, ...]

    @property
    def title(self) -> str:
        """What the groups share, for people: methods, networks and tasks by name, settings as
        name=value.
        """
        return "  ".join(
            v if k in ("method", "network", "tasks") else f"{k}={v}" for k, v in self.common.items()
        )


class Results:
    """The results of a sweep's finished cells."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan, self.store = plan, store
        found = {cell.trial.key: store.find(cell.trial.key) for cell in plan.cells}
        self.by_key = {
            key: Result(store, record) for key, record in found.items() if record is not None
        }
        self.axes = short_names(plan.axes)

    def cells(self) -> Iterator[tuple[Cell, Result]]:
        """Finished cells."""
        yield from (
            (c, self.by_key[c.trial.key]) for c in self.plan.cells if c.trial.key in self.by_key
        )

    def groups(self) -> list[Group]:
        """Finished cells put together over seeds, in the sweep's order."""
        axes = [a for a in self.plan.axes if a != "seed"]
        members: dict[tuple[str, ...], dict[str, Result]] = {}
        labels: dict[tuple[str, ...], dict[str, Any]] = {}
        for cell, result in self.cells():
            place = tuple(shown(cell, axis) for axis in axes)
            labels.setdefault(place, {self.axes[a]: shown(cell, a) for a in axes})
            members.setdefault(place, {})[result.key] = result  # by key: n counts distinct trials
        return [
            Group(
                labels[p],
                tuple(results.values()),
                len({n["key"] for r in results.values() for n in r.record["needs"].values()}),
            )
            for p, results in members.items()
        ]

    def sections(self) -> list[Section]:
        """The groups by the axes that they have, in the sweep's order. Where all have the same
        ones, they are one section with nothing in common.
        """
        members: dict[tuple[str, ...], list[Group]] = {}
        for group in self.groups():
            present = [axis for axis, value in group.labels.items() if value != "-"]
            members.setdefault((*present, str(group.labels.get("method", ""))), []).append(group)
        if len(members) == 1:
            groups = next(iter(members.values()))
            axes = tuple(a for a in groups[0].labels if any(g.labels[a] != "-" for g in groups))
            return [Section({}, axes, tuple(groups), self._left(groups))]
        found = []
        for (*present, _), groups in members.items():
            values = {axis: {g.labels[axis] for g in groups} for axis in present}
            common = {
                axis: str(next(iter(values[axis]))) for axis in present if len(values[axis]) == 1
            }
            found.append(
                Section(
                    common,
                    tuple(a for a in present if a not in common),
                    tuple(groups),
                    self._left(groups),
                )
            )
        return found

    def _left(self, groups: Sequence[Group]) -> tuple[str, ...]:
        return tuple(m for m in self.headline() if any(g.metric(m).n for g in groups)) or tuple(
            self.headline()
        )

    def headline(self) -> list[str]:
        """Names of the metrics that summaries show."""
        methods = {cell.trial.method.name: cell.trial.method for cell in self.plan.cells}.values()
        return list(
            dict.fromkeys(m.name for method in methods for m in method.metrics if m.headline)
        )

    def headline_matrix(self) -> str | None:
        return next(
            (m.name for cell in self.plan.cells for m in cell.trial.method.matrices if m.headline),
            None,
        )

    def metrics_table(self) -> pa.Table:
        """One row a cell, metric and label: cell, key, outcome, the axes, metric, label, value."""
        rows = []
        for cell, result in self.cells():
            base = {
                "cell": cell.index,
                "key": result.key,
                "outcome": result.outcome,
                **self._labels(cell),
            }
            rows += [
                {**base, "metric": m["name"], "label": _label(m["labels"]), "value": m["value"]}
                for m in result.metrics
            ]
        return self._table(
            rows, {"metric": pa.string(), "label": pa.string(), "value": pa.float64()}
        )

    def matrices_table(self) -> pa.Table:
        """One row a matrix entry: cell, key, outcome, the axes, matrix, row, column, value, count,
        chance, note, row_component, column_component (`<key>/network?task=a`: what
        `Result.open(key)` finds; empty where rows and columns are no stored components)."""
        rows = []
        for cell, result in self.cells():
            base = {
                "cell": cell.index,
                "key": result.key,
                "outcome": result.outcome,
                **self._labels(cell),
            }
            for entry in result.record["matrices"]:
                matrix = result.matrix(entry["name"])
                for i, row in enumerate(matrix.rows):
                    for j, column in enumerate(matrix.columns):
                        scores: dict[str, Any] = {
                            "value": matrix.values[i, j],
                            "count": int(matrix.count[i, j]),
                            "chance": matrix.chance[i, j],
                        }
                        named = (
                            (matrix.components[0][i], matrix.components[1][j])
                            if matrix.components
                            else ("", "")
                        )
                        about: dict[str, Any] = {
                            "note": matrix.notes.get((i, j), ""),
                            "row_component": named[0],
                            "column_component": named[1],
                        }
                        rows.append(
                            {
                                **base,
                                "matrix": matrix.name,
                                "row": row,
                                "column": column,
                                **scores,
                                **about,
                            }
                        )
        types = {"matrix": pa.string(), "row": pa.string(), "column": pa.string()}
        texts = dict.fromkeys(("note", "row_component", "column_component"), pa.string())
        return self._table(
            rows,
            {**types, "value": pa.float64(), "count": pa.int64(), "chance": pa.float64(), **texts},
        )

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

    def _labels(self, cell: Cell) -> dict[str, str]:
        return {self.axes[a]: shown(cell, a) for a in self.plan.axes}

    def _table(self, rows: list[dict[str, Any]], values: Mapping[str, pa.DataType]) -> pa.Table:
        fixed = {
            "cell": pa.int64(),
            "key": pa.string(),
            "outcome": pa.string(),
            **{self.axes[a]: pa.string() for a in self.plan.axes},
        }
        return pa.Table.from_pylist(rows, schema=pa.schema({**fixed, **values}))


def _label(labels: Mapping[str, str]) -> str:
    return ",".join(f"{k}={v}" for k, v in labels.items())
