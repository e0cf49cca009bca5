"""Which cells, and which values of a metric, somebody in a notebook asks for, checked: a name or a
value that is none raises InputError with the nearest valid one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.analysis.averages import LoggedBy, in_words
from orchestrator.analysis.groups import Column, Group, columns_of
from orchestrator.errors import InputError, nearest
from orchestrator.spec.claim import Labels, is_absent, several
from orchestrator.spec.labels import ABSENT, Axes, axes_by_name
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
    problems = []
    for name, value in (where or {}).items():
        if name in names:
            try:
                wanted[names[name]] = keys_of(axes, names[name], value)
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


def keys_of(axes: Axes, axis: str, value: object) -> list[str | None]:
    """The keys of one or several values of an axis; None for cells without it. Raises LookupError
    where it never has one of them.
    """
    return [None if is_absent(one) else axes.find(axis, one).key for one in several(value)]


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
    if name not in names:
        raise InputError(f"along={name!r}: there is no such axis. {nearest(str(name), names)}")
    return names[name]


def check_metric(metric: str, known: Iterable[str]) -> None:
    """Raises InputError where the sweep's methods declare no such metric."""
    names = list(known)
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
    named = {name: list(values) for name, values in logged_by.items()}
    labels: dict[LoggedBy, None] = {}
    for group in groups:
        labels |= dict.fromkeys(group.labels_of(metric, named))
    # Values that have no such label pass `labels_of`; here they are not what was asked for.
    found = [label for label in labels if set(named) <= {name for name, _ in label}]
    if not found:
        every = in_words(dict.fromkeys(one for g in groups for one in g.labels_of(metric)))
        asked = ", ".join(f"{name}={' or '.join(values)}" for name, values in named.items())
        raise InputError(f"{metric} is not logged by {asked}; it is by: {every or 'nothing'}")
    return [Column(metric, label, is_named=True) for label in found]


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
