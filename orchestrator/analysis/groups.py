"""Rows and columns of tables of results: cells that differ in seed only, and the metrics that may
be averaged over what they are logged by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.analysis.averages import (
    NOBODY,
    LoggedBy,
    are_shared,
    by_place,
    in_words,
    logged_values,
    mean_of_labels,
)
from orchestrator.analysis.estimates import Estimate, estimate
from orchestrator.analysis.mean_matrix import MeanMatrix, mean_of
from orchestrator.parts.matrix import Matrix
from orchestrator.planning import standing
from orchestrator.spec.formatting import html_table

# For types only: results bring torch, and who writes MLflow averages without it.
if TYPE_CHECKING:
    from orchestrator.parts.result import Result
    from orchestrator.spec.labels import AxisValue
    from orchestrator.spec.trial import Trial

# Axes whose values say what they are without the axis's name before them.
NAMED_BY_VALUE = ("method", "network", "tasks")

KEPT_ENTRIES = 10_000  # of a mean matrix that stays in memory
LABELS_SAID = 3  # labels of a mean that are named; of more their number is


@dataclass(frozen=True)
class Column:
    """A column of a table: a metric, averaged over all that it is logged by, or its value under one
    `label` where the rows of the sweep do not share their labels.

    `over` says in words what the mean of each trial is over, and is empty where it is a single
    value. A label `is_named` where somebody asked for it: then the value of a first task counts,
    whatever the metric is declared to be of.
    """

    metric: str
    label: LoggedBy | None = None
    over: str = ""
    is_named: bool = False

    @property
    def title(self) -> str:
        """`accuracy`, or `accuracy task=target`."""
        return " ".join([self.metric, *filter(None, [in_words([self.label or ()])])])


@dataclass(frozen=True, repr=False)
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

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The classes of device that the results come from: names of GPUs, or `cpu x86_64`."""
        made_by = (result.record.get("provenance", {}) for result in self.results)
        return tuple(sorted({str(one["device"]) for one in made_by if "device" in one}))

    @property
    def mixed_devices(self) -> tuple[str, ...]:
        """The same where there are several, so that means mix them; else nothing."""
        return self.devices if len(self.devices) > 1 else ()

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
        return estimate(list(self.by_trial(column).values()))

    def by_seed(self, column: Column) -> dict[int | None, float]:
        """The value of each seed that is in the mean."""
        values = self.by_trial(column)
        return {self.trials[key].seed: value for key, value in values.items()}

    def by_trial(self, column: Column) -> dict[str, float]:
        """What each trial has in a column, by key. A trial without one of the labels that others
        have, or with a value there that is not a number, has no mean.
        """
        named: dict[str, list[str]] = {}
        if column.is_named:
            named = {axis: [value] for axis, value in column.label or ()}
        logged = {result.key: self._logged(result, column.metric, named) for result in self.results}
        # A mean over fewer labels than other seeds have would be a mean of something else.
        every = set(self.labels_of(column.metric))
        found = {}
        for key, values in logged.items():
            if column.label is not None:
                found[key] = values.get(column.label, np.nan)
            elif set(values) == every:
                found[key] = mean_of_labels(values)
        # Not NaN but left out, so that n counts what is in the mean.
        return {key: value for key, value in found.items() if np.isfinite(value)}

    def text(self, column: Column, digits: int = 3) -> str:
        """The same in words; with its own n where that is not the row's."""
        found = self.value(column)
        words = found.text(digits)
        return f"{words} (n={found.n})" if 0 < found.n < self.n else words

    def labels_of(self, name: str, named: Mapping[str, Sequence[str]] = NOBODY) -> list[LoggedBy]:
        """What a metric's values are logged by, in any of the trials that are done; of those with
        the labels `named` only.
        """
        logged = [self._logged(result, name, named) for result in self.results]
        return list(dict.fromkeys(label for values in logged for label in values))

    def places_of(self, name: str) -> frozenset[LoggedBy]:
        """The same with tasks by their place from the last, so that rows about other tasks may have
        the same labels.
        """
        # The trials differ in seed only: the tasks of one are those of all.
        trial = next(iter(self.trials.values()))
        return frozenset(by_place(trial, label) for label in self.labels_of(name))

    def _logged(
        self, result: Result, name: str, named: Mapping[str, Sequence[str]] = NOBODY
    ) -> dict[LoggedBy, float]:
        return logged_values(self.trials[result.key], result, name, named)

    def matrix(self, name: str) -> MeanMatrix | None:
        """Entrywise mean and 95 % interval over trials; None where no trial measured it or their
        rows or columns differ.
        """
        if name in self._matrices:
            return self._matrices[name]
        measured = self._that_measured(name)
        matrices = [result.matrix(name) for result in measured]
        found = mean_of(matrices, self.setting, [self.trials[one.key].seed for one in measured])
        # None is an answer as well, and took as long to find.
        if found is None or found.values.size <= KEPT_ENTRIES:
            self._matrices[name] = found
        return found

    def matrices(self, name: str) -> list[Matrix]:
        """The matrix as each trial measured it that is done and did."""
        return [result.matrix(name) for result in self._that_measured(name)]

    def _that_measured(self, name: str) -> list[Result]:
        return [result for result in self.results if has_matrix(result, name)]

    def matrix_size(self, name: str) -> int:
        """How many entries the first trial's matrix has; 0 where none measured it."""
        for result in self.results:
            for entry in result.record["matrices"]:
                if entry["name"] == name:
                    return Matrix.size_of(result.store.blob(entry["blob"], of=result.key))
        return 0

    @cached_property
    def _matrices(self) -> dict[str, MeanMatrix | None]:
        """Means that were asked for, by name; no large ones, since a sweep may have a thousand."""
        return {}

    @property
    def setting(self) -> dict[str, str]:
        """The axes that the cells have, with their values as people read them."""
        return {axis: value.text for axis, value in self.values.items()}

    @property
    def title(self) -> str:
        """The same in one line."""
        return " ".join(f"{axis}={text}" for axis, text in self.setting.items()) or "all cells"

    def __repr__(self) -> str:
        missing = f", {self.missing}" if self.missing else ""
        return f"<Group {self.title}: {self.n} of {self.num_planned} trials done{missing}>"

    def _repr_html_(self) -> str:
        rows = [*self.setting.items(), ("n", self.n), ("planned", self.num_planned)]
        names = dict.fromkeys(entry["name"] for result in self.results for entry in result.metrics)
        rows += [(name, self.text(Column(name))) for name in names]
        return html_table((), rows, caption=f"{self.title}{self.missing and f': {self.missing}'}")


def has_matrix(result: Result, name: str) -> bool:
    """Whether a trial measured a matrix of this name; nothing of it is read."""
    return any(entry["name"] == name for entry in result.record["matrices"])


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
        if mixed := sorted({one for group in self.groups for one in group.mixed_devices}):
            yield (
                f"Some means mix results of {' and '.join(mixed)}: equal bits are promised within "
                "one kind of device only."
            )


def columns_of(name: str, groups: Sequence[Group]) -> list[Column]:
    """The columns of a metric over all rows of a sweep: one, where no mean goes over labels that
    other rows do not share; else one a label.
    """
    # Rows without results yet must not split the columns of a sweep that is half done.
    with_values = [group for group in groups if group.labels_of(name)]
    # Tasks count by place, so that rows about different targets may share a column.
    if are_shared({group.places_of(name) for group in with_values}):
        return [Column(name, None, _over(name, with_values))]
    labels = dict.fromkeys(label for group in with_values for label in group.labels_of(name))
    return [Column(name, label) for label in labels]


def _over(name: str, groups: Sequence[Group]) -> str:
    """What a mean is over, in words: the labels where all rows have the same few, else how many."""
    # The fullest row stands for all: others may lack labels as long as trials are missing.
    most = max((group.labels_of(name) for group in groups), key=len, default=[])
    # A single value is no mean, whatever it is logged by.
    if len(most) < 2:
        return ""
    axes = ", ".join(dict.fromkeys(axis for label in most for axis, _ in label))
    # Rows that share places may still call their tasks differently: then a number is true of all.
    are_same = all(set(group.labels_of(name)) == set(most) for group in groups)
    if len(most) > LABELS_SAID or not are_same:
        return f"{len(most)} values by {axes}"
    return in_words(most)
