"""Claims held against the cells of their sweep, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from orchestrator.errors import SweepError, nearest
from orchestrator.spec.claim import Claim, Entry, Labels, is_absent, several
from orchestrator.spec.few import few_in_words
from orchestrator.spec.labels import (
    Axes,
    AxisValue,
    axes_by_name,
    label_of,
    labels_in_words,
    named_twice,
)
from orchestrator.spec.task import Task
from orchestrator.spec.trial import Cell


def check(claims: Sequence[Claim], cells: Sequence[Cell], axes: Sequence[str]) -> None:
    """Raises SweepError that lists, for every claim, each axis, value, metric, matrix and label
    that the sweep does not have, sides without cells, and sides that are the same.
    """
    if not isinstance(claims, list | tuple):
        example = "[claims.Higher(...)]"
        raise SweepError(f"claims: expected a list such as {example}, got {claims!r}")
    sweep = _Sweep(cells, axes)
    problems = []
    for number, claim in enumerate(claims):
        if isinstance(claim, Claim):
            found = [
                *_unknown_metrics(claim, sweep),
                *_unknown_axes(claim, sweep),
                *_wrong_values(claim, sweep),
            ]
            # Step by step: sides can be looked up only where all axes and values exist, and values
            # be compared only where sides have cells.
            found = found or [*_wrong_sides(claim, sweep), *_out_of_reach(claim, sweep)]
            found = found or list(_unlike_sides(claim, sweep))
            problems += [f"{claim.title}: {problem}" for problem in found]
        else:
            problems.append(
                f"claims[{number}]: expected a claim such as claims.Higher(...), got {claim!r}"
            )
    if problems:
        raise SweepError("claims that cannot be decided by this sweep:", problems)


class _Sweep:
    """What the claims of a sweep may speak of."""

    def __init__(self, cells: Sequence[Cell], axes: Sequence[str]) -> None:
        self.cells = cells
        self.names = axes_by_name(axes)
        self.values = Axes(cells, axes)
        # By identity: cells share few methods, and to hash one is to hash all its settings.
        methods = {id(cell.trial.method): cell.trial.method for cell in cells}.values()
        self.metrics: dict[str, tuple[str, ...]] = {}  # what each is logged by
        for method in methods:
            for metric in method.metrics:
                self.metrics[metric.name] = (*self.metrics.get(metric.name, ()), *metric.by)
        self.matrices = list(dict.fromkeys(m.name for method in methods for m in method.matrices))

    def like(self, labels: Labels) -> list[Cell]:
        """The cells that have these values of their axes."""
        wanted = {
            self.names[name]: {
                None if is_absent(one) else self.values.find(self.names[name], one).key
                for one in several(value)
            }
            for name, value in labels.items()
            if name in self.names
        }
        # A name that is no axis (`task`, say) chooses among values of a metric, not among cells.
        return [cell for cell in self.cells if self._is_like(cell, wanted)]

    def along(self, axis: str, cells: Sequence[Cell]) -> list[AxisValue]:
        """The values that an axis has in some cells."""
        found = (self.values.of(cell, self.names[axis]) for cell in cells)
        return list({one.key: one for one in found if one is not None}.values())

    def of_axis(self, axis: str, cells: Sequence[Cell]) -> dict[str, str]:
        """What some cells have of an axis, texts by keys; nothing where a cell has it and its
        trial draws nothing from it, as a seed may be.
        """
        if axis == "seed" and any(cell.trial.seed is None for cell in cells):
            return {}
        return {one.key: one.text for one in self.along(axis, cells)}

    def _is_like(self, cell: Cell, wanted: Mapping[str, set[str | None]]) -> bool:
        for axis, keys in wanted.items():
            value = self.values.of(cell, axis)
            # None among the keys stands for cells without the axis.
            if (None if value is None else value.key) not in keys:
                return False
        return True


def _unknown_metrics(claim: Claim, sweep: _Sweep) -> Iterator[str]:
    for one in claim.measured:
        if isinstance(one, Entry) and one.matrix not in sweep.matrices:
            known = nearest(one.matrix, sweep.matrices)
            yield f"no method here has a matrix {one.matrix!r}. {known}"
        elif isinstance(one, str) and one not in sweep.metrics:
            yield f"no method here has a metric {one!r}. {nearest(one, sorted(sweep.metrics))}"


def _unknown_axes(claim: Claim, sweep: _Sweep) -> Iterator[str]:
    """Names that are neither axes nor what the metric is logged by; claims along an axis need one
    whose values are cells.
    """
    for axis in claim.along:
        if axis not in sweep.names:
            yield f"the sweep has no axis {axis!r}. {nearest(axis, sweep.names)}"
        # One seed is one pair; along the seed, there would be nothing left to pair.
        elif sweep.names[axis] == "seed":
            yield "it cannot be about the axis 'seed': values are paired by seed"
    logged_by = [
        label
        for one in claim.measured
        if isinstance(one, str)
        for label in sweep.metrics.get(one, ())
    ]
    for axis in dict.fromkeys(axis for labels in claim.named for axis in labels):
        if axis not in sweep.names and axis not in logged_by:
            known = dict.fromkeys([*sweep.names, *logged_by])
            yield f"the sweep has no axis {axis!r}. {nearest(axis, known)}"
    for labels in claim.named:
        yield from named_twice(sweep.names, labels)


def _wrong_values(claim: Claim, sweep: _Sweep) -> Iterator[str]:
    """Values that an axis never has, in words, each once."""
    for labels in claim.named:
        for axis, value in labels.items():
            # What is no axis is what a metric is logged by; its values are known once it has been.
            for one in several(value) if axis in sweep.names else ():
                try:
                    if not is_absent(one):
                        sweep.values.find(sweep.names[axis], one, called=axis)
                except LookupError as error:
                    yield str(error.args[0])


def _wrong_sides(claim: Claim, sweep: _Sweep) -> Iterator[str]:
    """Sides without cells, cells that have no such metric, and sides that are the same cells."""
    for labels, metric in claim.spoken_of:
        cells = sweep.like(labels)
        without = [cell.trial.method.name for cell in cells if not _declares(cell, metric)]
        if not cells:
            yield f"no cell of the sweep is so: {labels_in_words(labels)}"
        elif without:
            methods = ", ".join(dict.fromkeys(without))
            yield f"{methods} has no {metric}, which it is about at {labels_in_words(labels)}"
        else:
            yield from _unknown_tasks(labels, metric, cells, sweep)
    # Written differently, two sides may still be one: by a short and a full name, or in another
    # order.
    for first, second in combinations(claim.apart, 2):
        if _what_it_is(first, sweep) == _what_it_is(second, sweep):
            sides = f"{labels_in_words(first)} and {labels_in_words(second)}"
            yield f"{sides} are the same cells: a side against itself"


def _out_of_reach(claim: Claim, sweep: _Sweep) -> Iterator[str]:
    """What the claim says of the values of its axes: too few of them, say."""
    values = {axis: [one.value for one in found] for axis, found in _along(claim, sweep).items()}
    yield from claim.out_of_reach(values)


def _along(claim: Claim, sweep: _Sweep) -> dict[str, list[AxisValue]]:
    """The values of the axes that a claim speaks of, in the cells that it names first."""
    cells = sweep.like(claim.named[0]) if claim.named else sweep.cells
    return {axis: sweep.along(axis, cells) for axis in claim.along}


def _unlike_sides(claim: Claim, sweep: _Sweep) -> Iterator[str]:
    """Sides that are paired, and have other values of an axis that none of them names: the claim
    would be undecided when all has been run.
    """
    for sides in claim.paired(_along(claim, sweep)):
        named = {sweep.names[name] for side in sides for name in side if name in sweep.names}
        chosen = {sweep.names[axis] for axis in claim.along}
        # An axis that a side names may differ, for that is what is compared; so may one that the
        # claim goes along.
        cells = [sweep.like(side) for side in sides]
        for axis in sweep.values.names:
            if axis not in named | chosen:
                yield from _unlike_along(axis, sides, [sweep.of_axis(axis, one) for one in cells])


def _unlike_along(
    axis: str, sides: Sequence[Labels], found: Sequence[Mapping[str, str]]
) -> Iterator[str]:
    """What sides have of an axis, where all have it and not the same of it."""
    if not all(found):
        return
    for side, other in zip(sides, found, strict=True):
        if set(other) != set(found[0]):
            everywhere = set(other) & set(found[0])
            values, others = (
                " or ".join(few_in_words(one, everywhere, one.__getitem__))
                for one in (found[0], other)
            )
            first, second = labels_in_words(sides[0]), labels_in_words(side)
            yield (
                f"{axis} is {values} at {first} and {others} at {second}; name it if that is meant"
            )
            return


def _declares(cell: Cell, metric: str | Entry) -> bool:
    method = cell.trial.method
    if isinstance(metric, Entry):
        return any(one.name == metric.matrix for one in method.matrices)
    return any(one.name == metric for one in method.metrics)


def _unknown_tasks(
    labels: Labels, metric: str | Entry, cells: Sequence[Cell], sweep: _Sweep
) -> Iterator[str]:
    """Tasks by which a metric cannot be logged, because no cell of the side has them. What else a
    metric is logged by is known once it has been.
    """
    tasks = list(dict.fromkeys(task for cell in cells for task in cell.trial.tasks))
    if "task" in sweep.names or "task" not in labels or not tasks or isinstance(metric, Entry):
        return
    known = list(dict.fromkeys(task.name for task in tasks))
    for one in several(labels["task"]):
        name = label_of(one)
        if name not in known:
            yield f"no task of {metric} is called {name!r}. {nearest(name, known)}"
        # A task of a trial has the trial's seed where it is drawn, so it is no longer equal to the
        # one that was written. Either form counts.
        elif isinstance(one, Task) and one not in [*tasks, *_tasks_as_written(cells)]:
            yield f"the task that is called {name!r} in these cells is another one"


def _tasks_as_written(cells: Sequence[Cell]) -> Iterator[Task]:
    """The tasks of some cells before their trial's seed draws from them."""
    for written in {
        id(one): one for one in (cell.labels.get("tasks", ()) for cell in cells)
    }.values():
        yield from (written,) if isinstance(written, Task) else written


def _what_it_is(labels: Labels, sweep: _Sweep) -> tuple[set[int], dict[str, set[str]]]:
    """The cells that labels name, and what the metric is to be logged by there."""
    # Two sides may be the same cells and still two things: the accuracy of one task against that of
    # another, from the same trials.
    logged_by = {
        name: {label_of(one) for one in several(value)}
        for name, value in labels.items()
        if name not in sweep.names
    }
    return {cell.index for cell in sweep.like(labels)}, logged_by
