"""What a sweep found, as Arrow tables and as means with intervals over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestrator.analysis.along import draw, lines_along
from orchestrator.analysis.averages import is_asked_for
from orchestrator.analysis.best import BestSetting, best_of
from orchestrator.analysis.frames import (
    curves_frame,
    means_frame,
    typed_frame,
    with_metrics,
)
from orchestrator.analysis.groups import Column, Group, Section, columns_of
from orchestrator.analysis.mean_matrix import MeanMatrix
from orchestrator.analysis.selection import (
    Selection,
    check_labels,
    check_metric,
    columns_like,
    has_labels,
    is_like,
    keys_of,
    name_and_where,
    one_axis,
    one_column,
    one_group,
    refuse_labels,
    select,
)
from orchestrator.analysis.tables import (
    Tables,
    has_stamp,
    table_of,
    write_batches,
    write_table,
)
from orchestrator.analysis.verdicts import Verdicts
from orchestrator.errors import InputError, nearest
from orchestrator.parts.matrix import Matrix
from orchestrator.parts.result import Result
from orchestrator.planning import standing
from orchestrator.planning.plan import Plan
from orchestrator.spec.claim import Entry, Labels, verdicts
from orchestrator.spec.declarations import Metric, headline_of
from orchestrator.spec.formatting import counted, html_table
from orchestrator.spec.labels import (
    ABSENT,
    AxisValue,
    axes_by_name,
    named_twice,
    short_names,
)
from orchestrator.spec.trial import Cell, Trial, needs_first
from orchestrator.store.files import appears_whole
from orchestrator.store.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

KEPT_ENTRIES = 16_000_000  # of matrices in memory, 24 bytes each


class Results:
    """The results of a sweep's finished cells: tables of every value, and means over seeds.

    `plan` is the sweep held against the store, `by_key` has the result of every finished trial,
    and `axes` maps each axis of the sweep to its name in tables.

    In a notebook (docs/notebooks.md tells all of it):

        from orchestrator import Session

        results = Session("sweeps/quickstart.py").results()
        results.frame()                                   # pandas: a row a cell
        results.best("compatibility")
        results.plot("compatibility", along="split")
        results.matrix(where={"ingredients": "common", "split": "pool"}).plot()

    `where` names cells as claims do, by the values of their axes; see `Labels`.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan, self.store = plan, store
        self.by_key: dict[str, Result] = {}
        # The plan has read every record: only curves, matrices and components are still opened.
        for key in dict.fromkeys(cell.trial.key for cell in plan.cells):
            if key in plan.records:
                self.by_key[key] = Result(store, plan.records[key])
        self.axes = short_names(plan.axes)
        self.values = plan.values
        self._entries: dict[tuple[str, str], Matrix] = {}  # by key and name, oldest first
        self._num_entries = 0
        self._columns: dict[str, list[Column]] = {}

    def wanted(self, labels: Labels) -> dict[str, list[str | None]]:
        """The keys of the values that labels name, by the full name of their axis; None stands for
        cells without the axis. Names that are no axes are passed over. Raises LookupError for a
        value that there is not, InputError for an axis that is named twice.
        """
        names = axes_by_name(self.plan.axes)
        if twice := named_twice(names, labels):
            raise InputError("cells cannot be named so:", twice)
        return {
            names[name]: keys_of(self.values, name, value)
            for name, value in labels.items()
            if name in names
        }

    def cells_like(self, labels: Labels) -> list[Cell]:
        """All cells of the sweep, finished or not, with these values of their axes."""
        wanted = self.wanted(labels)
        return [cell for cell in self.plan.cells if is_like(self.values, cell, wanted)]

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
        # The record says so: no file is opened for a matrix that is not there.
        if not any(one["name"] == entry.matrix for one in result.record["matrices"]):
            return float("nan")
        matrix = self._matrix(key, entry.matrix)
        if entry.row not in matrix.rows or entry.column not in matrix.columns:
            return float("nan")
        return matrix[entry.row, entry.column]

    def _matrix(self, key: str, name: str) -> Matrix:
        """A matrix of a finished trial. The last ones are kept, up to so many entries: claims ask
        for one entry after the other, and a sweep may have a thousand large ones.
        """
        place = (key, name)
        if place not in self._entries:
            found = self._entries[place] = self.by_key[key].matrix(name)
            self._num_entries += found.values.size
            # What was just read stays, however large: the next claim asks for it again.
            while self._num_entries > KEPT_ENTRIES and len(self._entries) > 1:
                oldest = self._entries.pop(next(iter(self._entries)))
                self._num_entries -= oldest.values.size
        return self._entries[place]

    def cells(self) -> Iterator[tuple[Cell, Result]]:
        """Every finished cell with its result, in the sweep's order."""
        for cell in self.plan.cells:
            if cell.trial.key in self.by_key:
                yield cell, self.by_key[cell.trial.key]

    def groups(self, where: Labels | None = None) -> list[Group]:
        """Cells that differ in seed only, put together, in the sweep's order, finished or not; of
        those that `where` names.

        `[g.metric("accuracy") for g in results.groups()]` gives a mean with its interval for every
        setting of the sweep.
        """
        return self._groups_for("a group", where)

    def _groups_for(self, what: str, where: Labels | None) -> list[Group]:
        # The usual question, whose answer is kept.
        if where is None or where == {}:
            return self._groups
        return self._grouped(self._cells_only(what, where))

    def _selected(self, where: Labels | None) -> Selection:
        """Cells, and labels of metrics, each of which something is logged by."""
        selected = select(self.values, self.plan.cells, where)
        check_labels(selected.logged_by, self.by_key.values())
        return selected

    def _cells_only(self, what: str, where: Labels | None) -> tuple[Cell, ...]:
        """The cells, for what has no labels of metrics."""
        selected = select(self.values, self.plan.cells, where)
        refuse_labels(selected, what)
        return selected.cells

    @cached_property
    def _groups(self) -> list[Group]:
        return self._grouped(self.plan.cells)

    def _grouped(self, cells: Sequence[Cell]) -> list[Group]:
        axes = [axis for axis in self.plan.axes if axis != "seed"]
        # By the keys of a group's values its trials, each once: n counts distinct trials.
        members: dict[tuple[str | None, ...], dict[str, Trial]] = {}
        values: dict[tuple[str | None, ...], dict[str, AxisValue | None]] = {}
        for cell in cells:
            own = {self.axes[axis]: self.values.of(cell, axis) for axis in axes}
            # By keys: two values may read alike, and cells without the axis (None) are a group.
            keys = tuple(None if value is None else value.key for value in own.values())
            members.setdefault(keys, {})[cell.trial.key] = cell.trial
            values.setdefault(keys, own)
        return [self._group(values[keys], trials) for keys, trials in members.items()]

    def _group(self, values: Mapping[str, AxisValue | None], trials: Mapping[str, Trial]) -> Group:
        labels = {axis: ABSENT if value is None else value.text for axis, value in values.items()}
        states = {key: self.plan.standing(key) for key in trials}
        # Outdated results are in the store as well, but their trials do not stand as done.
        results = [
            self.by_key[key] for key in trials if states[key] == "done" and key in self.by_key
        ]
        # Of these results only: what else was needed stands behind no mean.
        needs = {need["key"] for r in results for need in r.record["needs"].values()}
        there = {axis: value for axis, value in values.items() if value is not None}
        return Group(labels, trials, states, tuple(results), len(needs), there)

    def columns(self, metric: str) -> list[Column]:
        """The columns in which tables show a metric: one where no row averages over labels that
        another does not share, else one a label.
        """
        # Over all groups, whatever is shown: rows are compared across tables.
        if metric not in self._columns:
            self._columns[metric] = columns_of(metric, self.groups())
        return self._columns[metric]

    def sections(self) -> list[Section]:
        """The groups by the axes that they have, in the sweep's order. Where all have the same
        ones, they are one section with nothing in common.
        """
        members: dict[tuple[str, ...], list[Group]] = {}
        for group in self.groups():
            # Methods have metrics of their own: each is a section, even with the same axes.
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
        # Without this, a section would have columns of dashes for the metrics of other methods.
        measured = [column for column in columns if any(g.value(column).n for g in groups)]
        # Before anything has run there are no values at all, and the heads say what is to come.
        return tuple(measured or columns)

    def headline(self) -> list[str]:
        """Names of the metrics that summaries show."""
        methods = {cell.trial.method.name: cell.trial.method for cell in self.plan.cells}
        shown = [one.name for method in methods.values() for one in headline_of(method.metrics)]
        return list(dict.fromkeys(shown))

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

    def matrix_names(self) -> list[str]:
        """Names of all matrices that the sweep's methods declare."""
        declared = [one.name for cell in self.plan.cells for one in cell.trial.method.matrices]
        return list(dict.fromkeys(declared))

    @cached_property
    def _tables(self) -> Tables:
        return Tables(self.values, self.axes)

    def metrics_table(self) -> pa.Table:
        """One row a cell, metric and label: cell, key, outcome, the axes, metric, label, value. A
        label is written `task=a`.
        """
        return self._tables.metrics(self.cells())

    def matrices_table(self) -> pa.Table:
        """One row a matrix entry: cell, key, outcome, the axes, matrix, row, column, value, count,
        chance, note, row_component, column_component. All of it is in memory then; `write` takes
        one matrix after the other.

        The components are written `<key>/network?task=a`: what `Result.open(key)` finds. They are
        empty where rows and columns are no stored components.
        """
        tables = self._tables
        return table_of(tables.matrix_schema, tables.matrix_batches(self.cells()))

    def write(self, folder: str | Path) -> list[Path]:
        """Both tables as Parquet in a folder; each appears whole or not at all, and stays as it is
        where it was made of the same results. Returns their paths.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        metrics, matrices = folder / "metrics.parquet", folder / "matrices.parquet"
        stamp = self._tables.stamp(self.cells())
        if not has_stamp(metrics, stamp):
            with appears_whole(metrics) as temporary:
                write_table(temporary, self.metrics_table(), stamp)
        if not has_stamp(matrices, stamp):
            schema, batches = self._tables.matrix_schema, self._tables.matrix_batches(self.cells())
            with appears_whole(matrices) as temporary:
                write_batches(temporary, schema, batches, stamp)
        return [metrics, matrices]

    # ------------------------------------------------------------------ for notebooks

    def frame(self, where: Labels | None = None, *, long: bool = False) -> pd.DataFrame:
        """A data frame with a row for each cell, finished or not: cell, key, outcome (or how it
        stands: failed, blocked, open), the axes, and a column for each metric, `accuracy`, or
        `accuracy[task=a]` where it is logged by something.

        `long` gives a row for each cell, metric and label instead, with metric, label and value,
        for finished cells only. What a trial that diverged had logged is there as well: keep rows
        whose outcome is `done` before you average. Of what is logged by a label in `where`,
        `{"task": "a"}`, there are these values only.
        """
        selected = self._selected(where)
        cells, named = selected.cells, selected.logged_by
        if long:
            finished = [(c, self.by_key[c.trial.key]) for c in cells if c.trial.key in self.by_key]
            logged = [entry for _, result in finished for entry in result.metrics]
            asked = pa.array([is_asked_for(e["labels"], named) for e in logged], pa.bool_())
            return typed_frame(self._tables.metrics(finished).filter(asked))
        states = [self.plan.standing(cell.trial.key) for cell in cells]
        results = [self.by_key.get(cell.trial.key) for cell in cells]
        metrics = [
            [] if one is None else [e for e in one.metrics if is_asked_for(e["labels"], named)]
            for one in results
        ]
        return with_metrics(self._tables.cells(cells, states), metrics)

    def means(
        self, metrics: str | Sequence[str] | Labels | None = None, where: Labels | None = None
    ) -> pd.DataFrame:
        """A data frame with a row for each setting: the axes; n, the number of its trials that are
        done, of how many planned, what is missing (`1 diverged`), and how many distinct needs stand
        behind it; for each metric (default: all) `accuracy`, `accuracy_half` (half-width of the
        95 % interval over seeds) and `accuracy_n`. A metric whose labels not all settings share is
        there by label, as `accuracy[task=a]`.
        """
        metrics, where = name_and_where(metrics, where)
        names: list[Any] = self.metrics()
        if metrics is not None:
            is_one = isinstance(metrics, str) or not isinstance(metrics, Iterable)
            names = [metrics] if is_one else list(metrics)
        for name in names:
            check_metric(name, self.metrics(), self.matrix_names())
        selected = self._selected(where)
        groups = self._grouped(selected.cells)
        # What `where` leaves out has no say in whether these groups share their labels.
        if metrics is None:
            # Nobody asked for those that are not logged by these labels.
            names = [n for n in names if has_labels(n, groups, selected.logged_by)]
        columns = [one for n in names for one in columns_like(n, groups, selected.logged_by)]
        settings = self._tables.settings([group.values for group in groups])
        return means_frame(settings, groups, columns)

    def curves(
        self, name: str | Labels | None = None, where: Labels | None = None, *, needs: bool = False
    ) -> pd.DataFrame:
        """A data frame with a row for each point of the curves of finished cells: cell, key,
        outcome, the axes, stage, name, epoch (from 1), value, and seconds since the trial began.
        `name` is one curve, `val_accuracy`, or with its stage, `train/val_accuracy`; of a curve
        that there is for each task, `val_accuracy/a`, the first part means all.

        With `needs`, the curves of the trials that these cells need instead, each once however many
        need it: key, outcome, trial, method, seed, and then the same.
        """
        wanted, where = name_and_where(name, where)
        cells = self._cells_only("a curve", where)
        rows, records = self._needs_of(cells) if needs else self._rows_of(cells)
        return curves_frame(rows, records, wanted)

    def _rows_of(self, cells: Sequence[Cell]) -> tuple[pa.Table, Sequence[Mapping[str, Any]]]:
        """The finished ones among cells, as a table, and their records."""
        finished = [cell for cell in cells if cell.trial.key in self.by_key]
        results = [self.by_key[cell.trial.key] for cell in finished]
        rows = self._tables.cells(finished, [result.outcome for result in results])
        return rows, [result.record for result in results]

    def _needs_of(self, cells: Sequence[Cell]) -> tuple[pa.Table, Sequence[Mapping[str, Any]]]:
        """The finished ones among all that cells need, as a table, and their records."""
        needs = {need.key: need for cell in cells for need in needs_first(cell.trial)}
        known = self.plan.records
        records: list[Mapping[str, Any]] = [known[key] for key in needs if key in known]
        trials = [needs[record["key"]] for record in records]
        columns = {
            "key": [trial.key for trial in trials],
            "outcome": [record["outcome"] for record in records],
            "trial": [trial.label for trial in trials],
            "method": [trial.method.name for trial in trials],
            # Typed, since a column of None alone would have no type.
            "seed": pa.array([trial.seed for trial in trials], pa.int64()),
        }
        return pa.table(columns), records

    def matrix(self, name: str | Labels | None = None, where: Labels | None = None) -> MeanMatrix:
        """A matrix (default: the headline one) of one setting, the mean over its seeds that are
        done, with intervals. The name may be left out: `results.matrix({"split": "pool"})`.

        Raises InputError where `where` leaves several settings, since the mean goes over seeds
        only, and where no seed has the matrix.
        """
        name, where = name_and_where(name, where)
        groups, names = self._groups_for("a matrix", where), self.matrix_names()
        if name is None or name == "":
            name = self._usual_matrix(groups)
        if name is None:
            raise InputError("no method of the sweep declares a matrix")
        if name not in names:
            raise InputError(f"the sweep has no matrix {name!r}. {nearest(str(name), names)}")
        group = one_group(groups)
        found = group.matrix(name)
        if found is None:
            why = "none of its trials has it"
            if group.matrices(name):
                why = "the rows or columns of its trials differ"
            elif group.missing:
                why = f"of its {counted(group.num_planned, 'trial')}, {group.missing}"
            raise InputError(f"there is no mean of the matrix {name!r} for {group.title}: {why}")
        return found

    def _usual_matrix(self, groups: Sequence[Group]) -> str | None:
        """The headline matrix of these cells' methods, else the first of any."""
        # Another method of the sweep may have a headline that these have not.
        trials = (trial for group in groups for trial in group.trials.values())
        methods = {trial.method.name: trial.method for trial in trials}.values()
        own = [matrix for method in methods for matrix in method.matrices]
        headlines = [matrix.name for matrix in own if matrix.headline]
        return next(
            iter([*headlines, *(matrix.name for matrix in own), *self.matrix_names()]), None
        )

    def best(
        self, metric: str, where: Labels | None = None, *, highest: bool | None = None
    ) -> BestSetting:
        """The setting with the best mean of a metric over seeds, and whether the interval of the
        next best overlaps. `highest` says which end is the best one (default: as the methods
        declare it).

        Raises InputError for a metric whose labels not all settings share, until `where` names one,
        `where={"task": "a"}`.
        """
        check_metric(metric, self.metrics(), self.matrix_names())
        selected = self._selected(where)
        groups = self._grouped(selected.cells)
        column = one_column(metric, groups, selected.logged_by)
        if highest is None:
            highest = self.is_higher_better(metric, selected.cells)
        if highest is None:
            raise InputError(
                f"the methods of the sweep disagree whether a higher {metric} is better; say "
                "highest=True or highest=False"
            )
        found = best_of(column, groups, highest=highest)
        # The seeds that were asked for belong to the answer: means over all of them are others.
        seeds = {axis: value for axis, value in (where or {}).items() if axis == "seed"}
        following = {**found.next, **seeds} if found.next else {}
        return replace(found, where={**found.where, **seeds}, next=following)

    def is_higher_better(self, metric: str, cells: Sequence[Cell] = ()) -> bool | None:
        """Whether a higher value of a metric is the better one, as the methods of some cells say
        (default: of all; so where none of these has it); None where they do not agree.
        """
        declared = self.declared(metric, cells) or self.declared(metric)
        ways = {one.higher_is_better for one in declared}
        return ways.pop() if len(ways) == 1 else None

    def declared(self, metric: str, cells: Sequence[Cell] = ()) -> list[Metric]:
        """What the methods of some cells (default: of all) declare of a metric, each declaration
        once.
        """
        methods = [cell.trial.method for cell in cells or self.plan.cells]
        declared = [one for method in methods for one in method.metrics]
        return list(dict.fromkeys(one for one in declared if one.name == metric))

    def plot(
        self,
        metric: str,
        *,
        along: str,
        where: Labels | None = None,
        chance: float | None = None,
    ) -> Figure:
        """A metric along an axis: a line with a band of 95 % intervals for each setting of the
        other axes. Settings without that axis are level, dashed lines. `chance` is what guessing
        scores (default: as the methods declare it), a dotted line.
        """
        check_metric(metric, self.metrics(), self.matrix_names())
        axis = one_axis(self.values, along)
        selected = self._selected(where)
        groups = self._grouped(selected.cells)
        columns = columns_like(metric, groups, selected.logged_by)
        lines = lines_along(self.axes[axis], self.values.values(axis), groups, columns)
        if not lines:
            raise InputError(f"no cell has a value of {metric} yet")
        if chance is None:
            chance = self.chance_of(metric, selected.cells)
        return draw(lines, self.axes[axis], self.values.values(axis), metric, chance)

    def chance_of(self, metric: str, cells: Sequence[Cell] = ()) -> float | None:
        """What guessing scores, as the methods of some cells (default: of all) declare it; None
        where they do not, or differ.
        """
        known = {one.chance for one in self.declared(metric, cells)}
        # Where methods differ, no one line would be true of all.
        return known.pop() if len(known) == 1 else None

    def verdicts(self) -> Verdicts:
        """The verdict on each claim of the sweep; none of a part of it."""
        return self._verdicts

    @cached_property
    def _verdicts(self) -> Verdicts:
        # Kept, since some claims are tested by ten thousand shuffles.
        return Verdicts(verdicts(self.plan.claims, self), self.plan.num_claims)

    def __repr__(self) -> str:
        counts = standing.of_total(self.plan.cell_counts, "cells")
        names = ", ".join(self.metrics()) or "none"
        return f"<Results of {self.plan.name}: {counts}; metrics: {names}>"

    def _repr_html_(self) -> str:
        caption = f"{self.plan.name}: {standing.of_total(self.plan.cell_counts, 'cells')}"
        parts = [f"<p>{escape(caption)}</p>"]
        for section in self.sections():
            heads = [*section.axes, *(c.title for c in section.columns), *section.counting_heads]
            rows = [
                [
                    *(group.labels[axis] for axis in section.axes),
                    *(group.text(column) for column in section.columns),
                    *section.counting(group),
                ]
                for group in section.groups
            ]
            parts.append(html_table(heads, rows, caption=section.title))
        return "\n".join(parts)


def _axes_of(group: Group) -> list[str]:
    """The axes that a group's cells have; others of the sweep are a dash in its tables."""
    # A value that is itself a dash reads `'-'` with its quotes, so the bare one is never a value.
    return [axis for axis, value in group.labels.items() if value != "-"]
