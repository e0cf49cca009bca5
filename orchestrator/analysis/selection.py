"""Which cells, and which values of a metric, somebody in a notebook asks for, checked: a name or a
value that is none raises InputError with the nearest valid one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.analysis.averages import LoggedBy, in_words
from orchestrator.analysis.groups import Column, Group, columns_of
from orchestrator.errors import InputError, nearest
from orchestrator.parts.result import Result
from orchestrator.spec.claim import Labels, several
from orchestrator.spec.labels import ABSENT, Axes, axes_by_name, named_twice
from orchestrator.spec.task import Task
from orchestrator.spec.trial import Cell
from orchestrator.spec.wording import first_few

Keys = Mapping[str, Sequence[str | None]]
"""Keys of values by the full name of their axis; None stands for cells without the axis."""

SHOWN = 6  # settings that an error names


@dataclass(frozen=True)
class Selection:
    """Cells that `where` names, and, by the labels of metrics, what their values are logged by."""

    cells: tuple[Cell, ...]
    logged_by: Mapping[str, Sequence[str]] = field(default_factory=dict)


def select(axes: Axes, cells: Sequence[Cell], where: Labels | None) -> Selection:
    """The cells with these values of their axes. A name that is no axis has to be a label that a
    metric of the cells is declared to be logged by. Raises InputError that lists all that is wrong.
    """
    names = axes_by_name(axes.names)
    known_labels = {
        label for cell in cells for metric in cell.trial.method.metrics for label in metric.by
    }
    wanted: dict[str, list[str | None]] = {}
    logged_by: dict[str, list[str]] = {}
    problems = named_twice(names, as_labels(where))
    for name, value in as_labels(where).items():
        if name in names:
            try:
                wanted[names[name]] = keys_of(axes, name, value)
            except LookupError as error:
                problems.append(error.args[0])
        elif name in known_labels:
            logged_by[name] = [_as_label(one) for one in several(value)]
        else:
            # Short names first: tables show them.
            short = [one for one in names if one not in axes.names] or list(axes.names)
            valid = dict.fromkeys([*short, *axes.names, *sorted(known_labels)])
            problems.append(f"there is no axis {name!r}. {nearest(str(name), valid)}")
    if problems:
        raise InputError("where=... names cells that the sweep does not have:", problems)
    chosen = tuple(cell for cell in cells if is_like(axes, cell, wanted))
    # Each value exists, but no cell of the grid has them together.
    if not chosen:
        raise InputError(f"no cell of the sweep has all of where={dict(where or {})!r}")
    return Selection(chosen, logged_by)


def as_labels(where: object) -> Labels:
    """What somebody gave as `where`; nothing for None. Raises InputError where it is no mapping."""
    if where is None:
        return {}
    if not isinstance(where, Mapping):
        raise InputError(
            f"where={where!r}: write axes with their values, such as where={{'split': 'pool'}}"
        )
    return where


def name_and_where(name: object, where: Labels | None) -> tuple[Any, Labels | None]:
    """A name and `where` as they were meant: cells that stand first, where a name may be left out,
    are cells. Raises InputError where they are given twice.
    """
    if not isinstance(name, Mapping):
        return name, where
    if where is not None:
        raise InputError(f"cells are named twice: {dict(name)!r} and where={where!r}")
    return None, name


def check_labels(logged_by: Mapping[str, Sequence[str]], results: Iterable[Result]) -> None:
    """Raises InputError for labels that none of the results has logged anything by: whatever is
    made of them would be empty, or as if nothing had been asked.
    """
    known: dict[str, dict[str, None]] = {name: {} for name in logged_by}
    for result in results if logged_by else ():
        for entry in result.metrics:
            for name in known.keys() & entry["labels"].keys():
                known[name][entry["labels"][name]] = None
    problems = [
        f"nothing is logged by {name}={value!r}. {nearest(value, known[name])}"
        for name, values in logged_by.items()
        for value in values
        if value not in known[name]
    ]
    if problems:
        raise InputError("where=... names labels that no result has:", problems)


def refuse_labels(selection: Selection, what: str) -> None:
    """Raises InputError where labels of metrics are named and what is asked for has none."""
    if selection.logged_by:
        names = ", ".join(map(repr, selection.logged_by))
        raise InputError(
            f"where=... names {names}, which metrics are logged by, and {what} is not; "
            "name axes only"
        )


def keys_of(axes: Axes, name: str, value: object) -> list[str | None]:
    """The keys of one or several values of an axis, which is called by its short or its full name;
    None for cells without it. Raises LookupError where it never has one of them.
    """
    axis = axes_by_name(axes.names)[name]
    return [axes.key_of(axis, one, called=name) for one in several(value)]


def is_like(axes: Axes, cell: Cell, wanted: Keys) -> bool:
    """Whether a cell has one of the wanted values on each axis."""
    for axis, keys in wanted.items():
        # By keys, as everywhere: 1 is not True, and texts may be shared.
        value = axes.of(cell, axis)
        if (None if value is None else value.key) not in keys:
            return False
    return True


def one_axis(axes: Axes, name: str) -> str:
    """The full name of an axis along which settings lie. Raises InputError where there is none of
    the name, and for the seed, over which means are taken.
    """
    names = {name: axis for name, axis in axes_by_name(axes.names).items() if axis != "seed"}
    if not isinstance(name, str):
        raise InputError(f"along={name!r}: write the name of an axis. {nearest('', names)}")
    if name == "seed":
        raise InputError(
            "along='seed': a line is of means over seeds; results.frame() has the value of each. "
            f"{nearest('seed', names)}"
        )
    if name not in names:
        raise InputError(f"along={name!r}: there is no such axis. {nearest(str(name), names)}")
    return names[name]


def check_metric(metric: str, known: Iterable[str], matrices: Iterable[str] = ()) -> None:
    """Raises InputError where the sweep's methods declare no such metric; one of its matrices may
    have been meant.
    """
    names = list(known)
    if metric in matrices:
        raise InputError(
            f"{metric} is a matrix, not a metric: results.matrix({metric!r}, where=...)"
        )
    if metric not in names:
        raise InputError(f"the sweep has no metric {metric!r}. {nearest(str(metric), names)}")


def columns_like(
    metric: str, groups: Sequence[Group], logged_by: Mapping[str, Sequence[str]]
) -> list[Column]:
    """The columns of a metric that groups share: a single one where no mean goes over labels that
    others lack, else one a label; of these the ones that `logged_by` names. Raises InputError where
    there is none.
    """
    if not logged_by:
        return columns_of(metric, groups)
    found = _labels_like(metric, groups, logged_by)
    if not found:
        every = in_words(dict.fromkeys(one for g in groups for one in g.labels_of(metric)))
        asked = ", ".join(f"{name}={' or '.join(values)}" for name, values in logged_by.items())
        raise InputError(f"{metric} is not logged by {asked}; it is by: {every or 'nothing'}")
    return [Column(metric, label, is_named=True) for label in found]


def has_labels(
    metric: str, groups: Sequence[Group], logged_by: Mapping[str, Sequence[str]]
) -> bool:
    """Whether a metric is logged by the labels that are asked for, if there are any."""
    return not logged_by or bool(_labels_like(metric, groups, logged_by))


def _labels_like(
    metric: str, groups: Sequence[Group], logged_by: Mapping[str, Sequence[str]]
) -> list[LoggedBy]:
    labels: dict[LoggedBy, None] = {}
    for group in groups:
        labels |= dict.fromkeys(group.labels_of(metric, logged_by))
    # Values that have no such label pass `labels_of`; here they are not what was asked for.
    return [label for label in labels if set(logged_by) <= {name for name, _ in label}]


def one_column(
    metric: str, groups: Sequence[Group], logged_by: Mapping[str, Sequence[str]]
) -> Column:
    """The only such column. Raises InputError where several could be meant, with how to choose."""
    found = columns_like(metric, groups, logged_by)
    if len(found) == 1:
        return found[0]
    # The example can be pasted: it names a label that is there.
    first = dict(found[0].label or ())
    listed = in_words([column.label or () for column in found])
    raise InputError(
        f"{metric} is logged by labels that not all of these settings share ({listed}), and a mean "
        f"over them would be of other things in each. Choose one, as in where={first!r}"
    )


def one_group(groups: Sequence[Group]) -> Group:
    """The only group. Raises InputError where there are several: over which axes they would have to
    be averaged, and how to choose.
    """
    if len(groups) == 1:
        return groups[0]
    differing = [
        axis for axis in groups[0].labels if len({str(group.labels[axis]) for group in groups}) > 1
    ]
    values = {
        axis: list(dict.fromkeys(str(group.labels[axis]) for group in groups)) for axis in differing
    }
    listed = [f"{axis}: {first_few(texts, SHOWN)}" for axis, texts in values.items()]
    # An example that picks one group: a value for every axis in which they differ.
    example = {axis: texts[0] for axis, texts in values.items()}
    raise InputError(
        f"{len(groups)} settings are like that, and a mean goes over seeds only. Choose a value of "
        f"each of these axes, as in where={example!r}:",
        listed,
    )


def _as_label(value: object) -> str:
    """What a run logs by, for a value as it is in the grid: a task by its name."""
    return value.name if isinstance(value, Task) else str(value)


def setting_of(group: Group) -> dict[str, object]:
    """A group's values by their axes as `where` takes them; `-` where its cells have no such
    axis.
    """
    return {
        axis: group.values[axis].value if axis in group.values else ABSENT for axis in group.labels
    }
