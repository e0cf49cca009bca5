"""Over what a metric is averaged within one trial.

A trial may log a metric many times, by task or by layer. Which of these values are the trial's,
what their mean is, and whether two trials' means are over the same is decided here, for tables,
plots and claims alike: a verdict never rests on another number than the table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

# For types only: results bring torch, and who writes MLflow averages without it.
if TYPE_CHECKING:
    from orchestrator.parts.result import Result
    from orchestrator.spec.declarations import Metric
    from orchestrator.spec.trial import Trial

LoggedBy = tuple[tuple[str, str], ...]
"""What one value of a metric is logged by: `(("task", "a"),)`."""

NOBODY: Mapping[str, Sequence[str]] = {}


def logged_values(
    trial: Trial, result: Result, metric: str, named: Mapping[str, Sequence[str]] = NOBODY
) -> dict[LoggedBy, float]:
    """The values of a metric in one result, by what they are logged by; NaN where what was logged
    is not a number.

    A metric that is declared `of_targets` is that of the tasks behind the first one. `named` are
    labels that are asked for by name, `{"task": ["a"]}`: only they are returned, the first task's,
    too, where it is named. A value without such a label is not by task at all, and is returned.
    """
    declared = _declared(trial, metric)
    # A trial of one task has no other target, whatever its metric is declared to be of.
    left_out = None
    if declared is not None and declared.of_targets and len(trial.tasks) > 1:
        left_out = trial.tasks[0].name
    values = {}
    for entry in result.metrics:
        labels = entry["labels"]
        if entry["name"] != metric or not is_asked_for(labels, named):
            continue
        if left_out is not None and labels.get("task") == left_out and "task" not in named:
            continue
        # JSON has no NaN: a record has null for what was not a finite number.
        number = math.nan if entry["value"] is None else float(entry["value"])
        # Sorted: the order in which a method names its labels makes no other label.
        values[tuple(sorted(labels.items()))] = number if math.isfinite(number) else math.nan
    return values


def mean_of_labels(values: Mapping[LoggedBy, float]) -> float:
    """One trial's mean over all that its metric is logged by; NaN where one of the values is none,
    because a mean over the others would be a mean of something else.
    """
    # An exact sum: the order in which values were logged must not move a bit of it.
    return math.fsum(values.values()) / len(values) if values else math.nan


def by_place(trial: Trial, label: LoggedBy) -> LoggedBy:
    """A label with its task by the place from the last, `(("task", "#-1"),)`: the target of one
    trial is what the target of another is, whatever the two are called. Whatever a method calls the
    label, its value is a task where it is called like one of the trial's own.
    """
    names = [task.name for task in trial.tasks]
    return tuple(
        (axis, f"#{names.index(value) - len(names)}" if value in names else value)
        for axis, value in label
    )


def are_shared(labels: Collection[frozenset[LoggedBy]]) -> bool:
    """Whether means over these sets of labels are means over the same. One value by no label is
    the whole of what another trial logs by one label.
    """
    distinct = set(labels)
    labelled = distinct - {frozenset([()])}
    # Here no trial logs a single value without a label.
    if len(labelled) == len(distinct):
        return len(distinct) <= 1
    # Beside such a value, one label is the same thing; two would be a mean over parts of it.
    return len(labelled) <= 1 and all(len(one) == 1 for one in labelled)


def in_words(labels: Iterable[LoggedBy]) -> str:
    """`task=a, task=b`; nothing for the label of a value that is logged by nothing."""
    words = (" ".join(f"{axis}={value}" for axis, value in label) for label in labels)
    return ", ".join(word for word in words if word)


def is_asked_for(labels: Mapping[str, str], named: Mapping[str, Sequence[str]]) -> bool:
    """Whether what is logged by these labels has the named ones, as far as it has any of them."""
    return all(name not in labels or labels[name] in wanted for name, wanted in named.items())


def _declared(trial: Trial, name: str) -> Metric | None:
    return next((metric for metric in trial.method.metrics if metric.name == name), None)
