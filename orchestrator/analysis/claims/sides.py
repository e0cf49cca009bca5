"""One side of a claim: the cells that it speaks of, their values, and why some have none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from orchestrator.analysis.averages import (
    LoggedBy,
    by_place,
    in_words,
    logged_values,
    mean_of_labels,
)
from orchestrator.analysis.results import Results
from orchestrator.planning.plan import Plan
from orchestrator.spec.claim import Entry, Labels, several
from orchestrator.spec.labels import axes_by_name, label_of
from orchestrator.spec.trial import Cell, Trial

SHOWN = 3  # missing cells that are named


@dataclass(frozen=True)
class Measured:
    """A cell of a side with its values by what they are logged by (NaN where that is not a number),
    or why it has none.
    """

    cell: Cell
    values: Mapping[LoggedBy, float]
    reason: str = ""

    @property
    def has_values(self) -> bool:
        return any(map(math.isfinite, self.values.values()))

    @cached_property
    def mean(self) -> float:
        """Over all that the metric is logged by; NaN where a part of it is missing."""
        return mean_of_labels(self.values)

    def placed(self, label: LoggedBy) -> LoggedBy:
        """A label with its task by place, as tables tell tasks of different trials apart."""
        return by_place(self.cell.trial, label)


class Side:
    """The cells that one side of a claim speaks of, with their values.

    Only trials that are done count: what a diverged one logged before it diverged is no value.
    `cells` are those that were chosen from all that `labels` name (default: all of them).
    """

    def __init__(
        self,
        results: Results,
        metric: str | Entry,
        labels: Labels,
        cells: Sequence[Cell] | None = None,
    ) -> None:
        self.results, self.metric, self.labels = results, metric, labels
        names = axes_by_name(results.plan.axes)
        # Sets, since sides are held against each other by them: [1, 2] asks for what [2, 1] does.
        self.wanted = {axis: set(keys) for axis, keys in results.wanted(labels).items()}
        # Checked with the sweep: a name that is no axis is what the metric is logged by.
        self.logged_by = {
            name: [label_of(one) for one in several(value)]
            for name, value in labels.items()
            if name not in names
        }
        self.is_chosen = cells is not None
        chosen = results.cells_like(labels) if cells is None else cells
        self.cells = [self._measure(cell) for cell in chosen]

    def has(self, axis: str) -> bool:
        """Whether any of its cells has the axis; one that none has is a matter of other sides."""
        return any(axis in one.cell.labels for one in self.cells)

    def missing(self) -> Iterator[str]:
        """What is missing, in words: how many cells of how many, which first, and why; and what
        was logged, but is not a number.
        """
        if not self.cells:
            yield "nothing could be chosen" if self.is_chosen else "no cell of the sweep is so"
        lost = [one for one in self.cells if not one.has_values]
        if lost:
            named = [f"{self.results.title(one.cell)} ({one.reason})" for one in lost]
            counted = f"{len(lost)} of {len(self.cells)} cells have no {self.metric}"
            yield f"{counted}: {first_of(named)}"
        by_label: dict[str, list[str]] = {}  # by what is not a number, the cells
        for one in self.cells:
            for label, value in one.values.items():
                # Cells without any value are told above; these have a part of them.
                if one.has_values and math.isnan(value):
                    by_label.setdefault(in_words([label]), []).append(self.results.title(one.cell))
        for words, titles in by_label.items():
            yield f"{self.metric} for {words} is not a number at {first_of(titles)}"

    def _measure(self, cell: Cell) -> Measured:
        key = cell.trial.key
        result = self.results.by_key.get(key)
        if result is None:
            return Measured(cell, {}, why_open(self.results.plan, cell.trial))
        if result.outcome != "done":
            return Measured(cell, {}, result.outcome)
        if isinstance(self.metric, Entry):
            # An entry is a single value, by no label.
            found = Measured(cell, {(): self.results.matrix_entry(key, self.metric)})
        else:
            values = logged_values(cell.trial, result, self.metric, self.logged_by)
            found = Measured(cell, values)
        return found if found.has_values else Measured(cell, {}, self._why_no_value(key))

    def _why_no_value(self, key: str) -> str:
        """Why a trial that is done has no value here: a label, a row or a column that it lacks."""
        result = self.results.by_key[key]
        if isinstance(self.metric, Entry):
            # From the outside in: the matrix, its row or column, what the method noted there.
            if any(one["name"] == self.metric.matrix for one in result.record["matrices"]):
                matrix = result.matrix(self.metric.matrix)
                for what, name, known in (
                    ("row", self.metric.row, matrix.rows),
                    ("column", self.metric.column, matrix.columns),
                ):
                    if name not in known:
                        return f"its {what}s are {', '.join(known)}"
                row, column = self.metric.row, self.metric.column
                place = (matrix.rows.index(row), matrix.columns.index(column))
                return matrix.notes.get(place) or "no value"
            return "no value"
        logged = [one["labels"] for one in result.metrics if one["name"] == self.metric]
        for name, wanted in self.logged_by.items():
            used = dict.fromkeys(str(labels[name]) for labels in logged if name in labels)
            if used and not any(one in used for one in wanted):
                return f"its {name} is {', '.join(used)}"
        return "not a number" if logged else "no value"


def first_of(words: Sequence[str]) -> str:
    """The first few of many, and how many more there are."""
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def why_open(plan: Plan, trial: Trial) -> str:
    """How a trial without a result stands, in a word, or which need it waits for in vain."""
    cause = plan.cause(trial)
    if cause is None:
        return plan.standing(trial.key)
    name, need = cause
    return f"its need {name}, {need.label}: {plan.standing(need.key)}"
