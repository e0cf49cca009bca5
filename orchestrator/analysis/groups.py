"""Rows and columns of tables of results: cells that differ in seed only, and the metrics that may
be averaged over what they are logged by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from orchestrator.analysis.averages import (
    LoggedBy,
    are_shared,
    by_place,
    in_words,
    logged_values,
    mean_of_labels,
)
from orchestrator.analysis.estimates import Estimate, estimate
from orchestrator.parts.matrix import Matrix, Values
from orchestrator.parts.result import Result
from orchestrator.planning import standing
from orchestrator.spec.labels import AxisValue
from orchestrator.spec.trial import Trial

# Axes whose values say what they are without the axis's name before them.
NAMED_BY_VALUE = ("method", "network", "tasks")

LABELS_SAID = 3  # labels of a mean that are named; of more their number is


@dataclass(frozen=True)
class Column:
    """A column of a table: a metric, averaged over all that it is logged by, or its value under one
    `label` where the rows of the sweep do not share their labels.

    `over` says in words what the mean of each trial is over, and is empty where it is a single
    value.
    """

    metric: str
    label: LoggedBy | None = None
    over: str = ""

    @property
    def title(self) -> str:
        """`accuracy`, or `accuracy task=target`."""
        return " ".join([self.metric, *filter(None, [in_words([self.label or ()])])])


@dataclass(frozen=True)
class Group:
    """Cells that differ in seed only: their labels as people read them, how each of their distinct
    trials stands (by key), the results of those that are done, how many distinct needs stand behind
    these, and the values of the axes that they have.
    """

    labels: Mapping[str, Any]
    trials: Mapping[str, Trial]
    states: Mapping[str, str]
    results: tuple[Result, ...]
    num_needs: int
    values: Mapping[str, AxisValue]

    @property
    def n(self) -> int:
        """How many distinct trials are done."""
        return len(self.results)

    @property
    def num_planned(self) -> int:
        """How many distinct trials the sweep has here."""
        return len(self.states)

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """How many distinct trials stand how."""
        return standing.count(self.states.values())

    @property
    def missing(self) -> str:
        """Which trials are in no mean: `2 diverged, 1 open`; empty where all are done."""
        return standing.in_words(self.counts, without=["done"])

    @property
    def shares_needs(self) -> bool:
        """Whether fewer distinct needs than trials stand behind the means."""
        return 0 < self.num_needs < self.n

    def metric(self, name: str, label: LoggedBy | None = None) -> Estimate:
        """Mean over the trials that are done, of a metric under one label, or averaged over all its
        labels within a trial first.

        A trial without some of the values that others have is not in the mean, nor in its n.
        """
        return self.value(Column(name, label))

    def value(self, column: Column) -> Estimate:
        """What stands in a column of this row; see `metric`."""
        return estimate(list(self._of_trials(column).values()))

    def by_seed(self, column: Column) -> dict[int | None, float]:
        """The value of each seed that is in the mean."""
        values = self._of_trials(column)
        return {self.trials[key].seed: value for key, value in values.items()}

    def _of_trials(self, column: Column) -> dict[str, float]:
        """What each trial has in a column, by key. A trial without one of the labels that others
        have, or with a value there that is not a number, has no mean.
        """
        logged = {result.key: self._logged(result, column.metric) for result in self.results}
        every = set(self.labels_of(column.metric))
        found = {}
        for key, values in logged.items():
            if column.label is not None:
                found[key] = values.get(column.label, np.nan)
            elif set(values) == every:
                found[key] = mean_of_labels(values)
        return {key: value for key, value in found.items() if np.isfinite(value)}

    def text(self, column: Column, digits: int = 3) -> str:
        """The same in words; with its own n where that is not the row's."""
        found = self.value(column)
        words = found.text(digits)
        return f"{words} (n={found.n})" if 0 < found.n < self.n else words

    def labels_of(self, name: str) -> list[LoggedBy]:
        """What a metric's values are logged by, in any of the trials that are done."""
        logged = [self._logged(result, name) for result in self.results]
        return list(dict.fromkeys(label for values in logged for label in values))

    def places_of(self, name: str) -> frozenset[LoggedBy]:
        """The same with tasks by their place from the last, so that rows about other tasks may have
        the same labels.
        """
        trial = next(iter(self.trials.values()))
        return frozenset(by_place(trial, label) for label in self.labels_of(name))

    def _logged(self, result: Result, name: str) -> dict[LoggedBy, float]:
        return logged_values(self.trials[result.key], result, name)

    def matrix(self, name: str) -> tuple[Matrix, Matrix] | None:
        """Entrywise mean and half-width of the 95 % interval over trials; None where no trial
        measured it or their rows or columns differ.
        """
        measured = [
            result.matrix(name)
            for result in self.results
            if any(entry["name"] == name for entry in result.record["matrices"])
        ]
        if not measured:
            return None
        first = measured[0]
        if any((m.rows, m.columns) != (first.rows, first.columns) for m in measured):
            return None
        means, halves = np.empty(first.values.shape), np.empty(first.values.shape)
        for place in np.ndindex(first.values.shape):
            entry = estimate([float(m.values[place]) for m in measured])
            means[place], halves[place] = entry.mean, entry.half
        count = np.sum([m.count for m in measured], axis=0)
        notes = {place: note for m in measured for place, note in m.notes.items()}

        def as_matrix(values: Values) -> Matrix:
            return Matrix(
                name, first.axes, first.rows, first.columns, values, count, first.chance, notes
            )

        return as_matrix(means), as_matrix(halves)


@dataclass(frozen=True)
class Section:
    """Groups that have the same axes, which a union of grids may put beside others: the labels that
    all of them share, the axes in which they differ, and the headline columns that they leave."""

    common: Mapping[str, str]
    axes: tuple[str, ...]
    groups: tuple[Group, ...]
    columns: tuple[Column, ...]

    @property
    def title(self) -> str:
        """What the groups share, for people: methods, networks and tasks by name, settings as
        name=value.
        """
        return "  ".join(
            value if axis in NAMED_BY_VALUE else f"{axis}={value}"
            for axis, value in self.common.items()
        )

    @property
    def has_missing(self) -> bool:
        """Whether any trial of these groups is not done."""
        return any(group.missing for group in self.groups)

    @property
    def has_shared_needs(self) -> bool:
        return any(group.shares_needs for group in self.groups)

    @property
    def counting_heads(self) -> list[str]:
        """The heads of the columns that say what a row rests on: `n`, and where it matters what is
        missing and how many distinct needs there are.
        """
        heads = ["n"]
        if self.has_missing:
            heads.append("missing")
        if self.has_shared_needs:
            heads.append("needs")
        return heads

    def counting(self, group: Group) -> list[str]:
        """A row's values of these columns."""
        values = {"n": str(group.n), "missing": group.missing, "needs": str(group.num_needs)}
        return [values[head] for head in self.counting_heads]

    def notes(self) -> Iterator[str]:
        """What the columns average over, and what stands behind the rows, in words."""
        for column in self.columns:
            if column.over:
                yield f"{column.title} is averaged over {column.over} in each trial."
        if self.has_shared_needs:
            yield (
                "Where a row has fewer distinct needs than n, trials share trainings and differ "
                "less than they seem to."
            )


def columns_of(name: str, groups: Sequence[Group]) -> list[Column]:
    """The columns of a metric over all rows of a sweep: one, where no mean goes over labels that
    other rows do not share; else one a label.
    """
    with_values = [group for group in groups if group.labels_of(name)]
    if are_shared({group.places_of(name) for group in with_values}):
        return [Column(name, None, _over(name, with_values))]
    labels = dict.fromkeys(label for group in with_values for label in group.labels_of(name))
    return [Column(name, label) for label in labels]


def _over(name: str, groups: Sequence[Group]) -> str:
    """What a mean is over, in words: the labels where all rows have the same few, else how many."""
    most = max((group.labels_of(name) for group in groups), key=len, default=[])
    if len(most) < 2:
        return ""
    axes = ", ".join(dict.fromkeys(axis for label in most for axis, _ in label))
    are_same = all(set(group.labels_of(name)) == set(most) for group in groups)
    if len(most) > LABELS_SAID or not are_same:
        return f"{len(most)} values by {axes}"
    return in_words(most)
