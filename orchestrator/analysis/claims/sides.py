"""One side of a claim: the cells that it speaks of, their values, and why some have none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from orchestrator.analysis.results import Results
from orchestrator.planning.plan import Plan
from orchestrator.spec.claim import Entry, Labels, several
from orchestrator.spec.labels import axes_by_name
from orchestrator.spec.trial import Cell, Trial

LoggedBy = tuple[tuple[str, str], ...]  # what one value is logged by: (("task", "a"),)
SHOWN = 3  # missing cells that are named


@dataclass(frozen=True)
class Measured:
    """A cell of a side with its values by what they are logged by, or why it has none."""

    cell: Cell
    values: Mapping[LoggedBy, float]
    reason: str


class Side:
    """The cells that one side of a claim speaks of, with their values.

    Only trials that are done count: what a diverged one logged before it diverged is no value.
    """

    def __init__(self, results: Results, metric: str | Entry, labels: Labels) -> None:
        self.results, self.metric = results, metric
        names = axes_by_name(results.plan.axes)
        self.wanted = {axis: set(keys) for axis, keys in results.wanted(labels).items()}
        self.logged_by = {
            name: [str(one) for one in several(value)]
            for name, value in labels.items()
            if name not in names
        }
        self.cells = [self._measure(cell) for cell in results.cells_like(labels)]
        self.seedless = all(one.cell.trial.seed is None for one in self.cells)

    def has(self, axis: str) -> bool:
        """Whether any of its cells has the axis; one that none has is a matter of other sides."""
        return any(axis in one.cell.labels for one in self.cells)

    def missing(self) -> Iterator[str]:
        """What is missing, in words: how many cells of how many, which first, and why."""
        if not self.cells:
            yield "no cell of the sweep is so"
            return
        lost = [one for one in self.cells if not one.values]
        if not lost:
            return
        named = [f"{self.results.title(one.cell)} ({one.reason})" for one in lost[:SHOWN]]
        more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
        counted = f"{len(lost)} of {len(self.cells)} cells have no {self.metric}"
        yield f"{counted}: {', '.join(named)}{more}"

    def _measure(self, cell: Cell) -> Measured:
        key = cell.trial.key
        result = self.results.by_key.get(key)
        if result is None:
            return Measured(cell, {}, why_open(self.results.plan, cell.trial))
        if result.outcome != "done":
            return Measured(cell, {}, result.outcome)
        values = {label: v for label, v in self._values(key) if np.isfinite(v)}
        return Measured(cell, values, "" if values else self._why_no_value(key))

    def _values(self, key: str) -> Iterator[tuple[LoggedBy, float]]:
        if isinstance(self.metric, Entry):
            yield (), self.results.matrix_entry(key, self.metric)
            return
        for logged in self.results.by_key[key].metrics:
            if logged["name"] != self.metric or logged["value"] is None:
                continue
            labels = logged["labels"]
            if all(labels.get(n, wanted[0]) in wanted for n, wanted in self.logged_by.items()):
                yield tuple(sorted(labels.items())), float(logged["value"])

    def _why_no_value(self, key: str) -> str:
        """Why a trial that is done has no value here: a label, a row or a column that it lacks."""
        result = self.results.by_key[key]
        if isinstance(self.metric, Entry):
            if any(one["name"] == self.metric.matrix for one in result.record["matrices"]):
                matrix = result.matrix(self.metric.matrix)
                for what, name, known in (
                    ("row", self.metric.row, matrix.rows),
                    ("column", self.metric.column, matrix.columns),
                ):
                    if name not in known:
                        return f"its {what}s are {', '.join(known)}"
            return "no value"
        logged = [one["labels"] for one in result.metrics if one["name"] == self.metric]
        for name, wanted in self.logged_by.items():
            used = dict.fromkeys(str(labels[name]) for labels in logged if name in labels)
            if used and not any(one in used for one in wanted):
                return f"its {name} is {', '.join(used)}"
        return "no value"


def why_open(plan: Plan, trial: Trial) -> str:
    """How a trial without a result stands, in a word, or which need it waits for in vain."""
    cause = plan.cause(trial)
    if cause is None:
        return plan.standing(trial.key)
    name, need = cause
    return f"its need {name}, {need.label}: {plan.standing(need.key)}"
