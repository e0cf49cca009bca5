"""Pairing: which values of which cells stand against each other, and which are missing.

The sides of a claim are paired by seed. Within a seed, whatever else the sweep varies is averaged,
and it must be the same on all sides: a side that covers other settings, or has cells without a
value, is not compared as if nothing were missing. The claim is undecided then, and says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.estimates import Estimate, estimate
from orchestrator.analysis.results import Results
from orchestrator.spec.claim import ABSENT, Entry, Labels, several
from orchestrator.spec.labels import axes_by_name
from orchestrator.spec.trial import Cell

Array = NDArray[np.float64]
LoggedBy = tuple[tuple[str, str], ...]  # what one value is logged by: (("task", "a"),)
Setting = tuple[tuple[str, str], ...]  # keys of values by axis
Place = tuple[int | None, Setting]  # a seed, and what else is shared by the sides
SHOWN = 3  # missing cells that are named


@dataclass(frozen=True)
class Comparison:
    """The sides of a claim, paired by seed.

    `values` [sides, seeds] are means over what a seed's cells share; only seeds that every side has
    in full are in it. `problems` say in words what is missing or does not match: nothing is decided
    where there is any. `averaged_over` says in words what the means are over.
    """

    seeds: tuple[int | None, ...]
    values: Array
    problems: tuple[str, ...] = ()
    averaged_over: str = ""
    series: tuple[tuple[float, ...], ...] = field(default=(), repr=False)
    """For every seed, setting and label that all sides have, the values side by side."""

    @property
    def is_complete(self) -> bool:
        return not self.problems

    def side(self, number: int = 0) -> Estimate:
        """Mean of one side over the seeds."""
        return estimate(list(self.values[number]))

    def difference(self, first: int = 0, second: int = 1) -> Estimate:
        """Mean over seeds of one side less another."""
        return estimate(list(self.values[first] - self.values[second]))


def compare(results: Results, metric: str | Entry, sides: Sequence[Labels]) -> Comparison:
    """Pair the cells of several sides by seed; see the module."""
    read = [_Side(results, metric, labels) for labels in sides]
    compared = _compared_axes(read)
    shared = [
        axis
        for axis in results.plan.axes
        if axis != "seed" and axis not in compared and all(side.has(axis) for side in read)
    ]
    places = _places(read, shared)
    problems = [
        *(problem for side in read for problem in side.missing()),
        *_unbalanced(results, read, places),
        *_other_labels(read, places, compared),
    ]
    complete = [place for place in places[0] if all(place in one for one in places)]
    seeds = tuple(dict.fromkeys(seed for seed, _ in complete))
    lost = {seed for one in places for seed, _ in one} - set(seeds)
    full = [s for s in seeds if not any(_lacks(one, places, s) for one in places)]
    values = np.array(
        [[_mean_of(one, seed) for seed in full] for one in places], dtype=np.float64
    ).reshape(len(read), len(full))
    if lost and not problems:
        problems.append(f"{len(lost)} seeds are on one side only")
    return Comparison(
        tuple(full),
        values,
        tuple(dict.fromkeys(problems)),
        _averaged_over(results, shared, places),
        tuple(_series(places, complete)),
    )


@dataclass(frozen=True)
class _Measured:
    """A cell of a side with its values by what they are logged by, and why it has none."""

    cell: Cell
    values: Mapping[LoggedBy, float]
    reason: str


class _Side:
    """The cells that one side of a claim speaks of."""

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

    def _measure(self, cell: Cell) -> _Measured:
        key = cell.trial.key
        result = self.results.by_key.get(key)
        if result is None:
            return _Measured(cell, {}, self.results.plan.state(key))
        values = dict(self._values(key))
        if values:
            return _Measured(cell, values, "")
        reason = "no value" if result.outcome == "done" else result.outcome
        return _Measured(cell, {}, reason)

    def _values(self, key: str) -> Iterator[tuple[LoggedBy, float]]:
        result = self.results.by_key[key]
        if isinstance(self.metric, Entry):
            value = self.results.matrix_entry(key, self.metric)
            if np.isfinite(value):
                yield (), value
            return
        for logged in result.metrics:
            if logged["name"] != self.metric or logged["value"] is None:
                continue
            labels = logged["labels"]
            if all(labels.get(n, wanted[0]) in wanted for n, wanted in self.logged_by.items()):
                yield tuple(sorted(labels.items())), float(logged["value"])

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
        yield (
            f"{len(lost)} of {len(self.cells)} cells have no {self.metric}: "
            f"{', '.join(named)}{more}"
        )


def _compared_axes(sides: Sequence[_Side]) -> set[str]:
    """Axes on which the sides are asked to differ."""
    named = {axis for side in sides for axis in side.wanted}
    return {
        axis
        for axis in named
        if any(s.wanted.get(axis) != sides[0].wanted.get(axis) for s in sides)
    }


Values = dict[Place, dict[LoggedBy, list[float]]]


def _places(sides: Sequence[_Side], shared: Sequence[str]) -> list[Values]:
    """By side, seed and shared setting the values that are there. A side whose methods draw nothing
    from the seed stands for every seed.
    """
    seeds = {one.cell.trial.seed for side in sides if not side.seedless for one in side.cells}
    found = []
    for side in sides:
        values: Values = {}
        for one in side.cells:
            setting = tuple((a, side.results.key_of(one.cell, a) or ABSENT) for a in shared)
            for seed in seeds if side.seedless and seeds else (one.cell.trial.seed,):
                by_label = values.setdefault((seed, setting), {})
                for label, value in one.values.items():
                    by_label.setdefault(label, []).append(value)
        found.append(values)
    return found


def _unbalanced(
    results: Results, sides: Sequence[_Side], places: Sequence[Values]
) -> Iterator[str]:
    """Settings or seeds that one side has and another has not, in words."""
    everywhere = set(places[0]).intersection(*places[1:])
    for number, one in enumerate(places):
        alone = [place for place in one if place not in everywhere]
        if alone and sides[number].cells:
            settings = dict.fromkeys(_said(results, place) for place in alone)
            listed = ", ".join(list(settings)[:SHOWN])
            yield f"side {number + 1} covers settings that another side does not: {listed}"


def _said(results: Results, place: Place) -> str:
    seed, setting = place
    words = [f"{results.axes[axis]}={results.text_of(axis, key)}" for axis, key in setting]
    return " ".join([*words, *([] if seed is None else [f"seed={seed}"])])


def _other_labels(
    sides: Sequence[_Side], places: Sequence[Values], compared: Iterable[str]
) -> Iterator[str]:
    """A metric that is logged by more than one label is averaged over them; the sides must have the
    same ones. Where it is the tasks that are compared, each side has its own.
    """
    if "tasks" in compared or len(sides) < 2:
        return
    for place in places[0]:
        labels = [set(one[place]) for one in places if one.get(place)]
        if len(labels) < len(places) or max(len(one) for one in labels) == 1:
            continue
        if any(one != labels[0] for one in labels):
            listed = " against ".join(_labels_said(one) for one in labels)
            yield f"{sides[0].metric} is averaged over {listed}; name the one that is meant"
            return


def _labels_said(labels: Iterable[LoggedBy]) -> str:
    words = sorted(" ".join(f"{name}={value}" for name, value in one) for one in labels)
    return ", ".join(words) or "nothing"


def _lacks(one: Values, places: Sequence[Values], seed: int | None) -> bool:
    """Whether a side has a place of this seed without a value, or lacks one that another has."""
    wanted = {place for values in places for place in values if place[0] == seed}
    return any(not one.get(place) for place in wanted)


def _mean_of(one: Values, seed: int | None) -> float:
    """A seed's mean: over labels and settings of one side alone first, then over what is shared."""
    means = [
        np.mean([np.mean(values) for values in by_label.values()])
        for (own, _), by_label in one.items()
        if own == seed and by_label
    ]
    return float(np.mean(means))


def _averaged_over(results: Results, shared: Sequence[str], places: Sequence[Values]) -> str:
    """What the means are over, in words: `split (3), task (2)`."""
    counts = Counter[str]()
    for axis in shared:
        keys = {dict(setting)[axis] for one in places for _, setting in one}
        counts[results.axes[axis]] = len(keys)
    labels = {label for one in places for by_label in one.values() for label in by_label}
    for name in dict.fromkeys(name for label in labels for name, _ in label):
        most = max(
            len({dict(label).get(name) for label in by_label})
            for one in places
            for by_label in one.values()
        )
        counts[name] = max(most, counts[name])
    return ", ".join(f"{name} ({count})" for name, count in counts.items() if count > 1)


def _series(places: Sequence[Values], complete: Sequence[Place]) -> Iterator[tuple[float, ...]]:
    for place in complete:
        for label in places[0][place]:
            if all(label in one[place] for one in places):
                yield tuple(float(np.mean(one[place][label])) for one in places)
