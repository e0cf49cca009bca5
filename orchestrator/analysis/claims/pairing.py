"""Pairing: which values of which cells stand against each other, and which are missing.

The sides of a claim are paired by seed. Within a seed, whatever else the sweep varies is averaged,
and it must be the same on all sides: a side that covers other settings, or has cells without a
value, is not compared as if nothing were missing. The claim is undecided then, and says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.claims.sides import SHOWN, LoggedBy, Side
from orchestrator.analysis.estimates import Estimate, estimate
from orchestrator.analysis.results import Results
from orchestrator.spec.claim import ABSENT, Entry, Labels
from orchestrator.spec.trial import Cell

Array = NDArray[np.float64]
Setting = tuple[tuple[str, str], ...]  # keys of values by axis
Place = tuple[int | None, Setting]  # a seed, and what else is shared by the sides
Values = dict[Place, dict[LoggedBy, list[float]]]  # of one side


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
    """For every seed, setting and label that two sides or more share, all values that they have."""

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
    read = [Side(results, metric, labels) for labels in sides]
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
        *_uneven(results, read, shared),
        *_lost_labels(results, read, places),
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
        tuple(_series(places)),
    )


def _compared_axes(sides: Sequence[Side]) -> set[str]:
    """Axes on which the sides are asked to differ."""
    named = {axis for side in sides for axis in side.wanted}
    return {
        axis
        for axis in named
        if any(s.wanted.get(axis) != sides[0].wanted.get(axis) for s in sides)
    }


def _places(sides: Sequence[Side], shared: Sequence[str]) -> list[Values]:
    """By side, seed and shared setting the values that are there. A side whose methods draw nothing
    from the seed stands for every seed.
    """
    seeds = {one.cell.trial.seed for side in sides if not side.seedless for one in side.cells}
    found = []
    for side in sides:
        values: Values = {}
        for one in side.cells:
            setting = _setting(side.results, one.cell, shared)
            for seed in seeds if side.seedless and seeds else (one.cell.trial.seed,):
                by_label = values.setdefault((seed, setting), {})
                for label, value in one.values.items():
                    by_label.setdefault(label, []).append(value)
        found.append(values)
    return found


def _unbalanced(results: Results, sides: Sequence[Side], places: Sequence[Values]) -> Iterator[str]:
    """Settings or seeds that one side has and another has not, in words: the axes whose values
    differ, or, where these are the same, combinations of them.
    """
    if not all(side.cells for side in sides):
        return
    apart = list(_axes_apart(results, places))
    if apart:
        yield from apart
        return
    everywhere = set(places[0]).intersection(*places[1:])
    for number, one in enumerate(places):
        alone = [place for place in one if place not in everywhere]
        if alone:
            listed = ", ".join(_said(results, place) for place in alone[:SHOWN])
            more = f" and {len(alone) - SHOWN} more" if len(alone) > SHOWN else ""
            yield f"side {number + 1} covers settings that another side does not: {listed}{more}"


def _axes_apart(results: Results, places: Sequence[Values]) -> Iterator[str]:
    """Axes that the sides do not name, and have other values of, in words."""
    values: dict[str, list[dict[str, str]]] = {}  # by axis, by side: texts by key
    for number, one in enumerate(places):
        for seed, setting in one:
            named = {results.axes[a]: (k, results.text_of(a, k)) for a, k in setting}
            if seed is not None:
                named["seed"] = (str(seed), str(seed))
            for axis, (key, text) in named.items():
                values.setdefault(axis, [{} for _ in places])[number][key] = text
    for axis, sides in values.items():
        if any(set(side) != set(sides[0]) for side in sides):
            listed = " against ".join(" or ".join(side.values()) or "none" for side in sides)
            yield f"{axis} is not the same on all sides: {listed}; name it if that is meant"


def _uneven(results: Results, sides: Sequence[Side], shared: Sequence[str]) -> Iterator[str]:
    """A side that is averaged over other settings of its own at one place than at another."""
    for number, side in enumerate(sides):
        own_axes = [a for a in results.plan.axes if a not in shared and a != "seed"]
        own: dict[Place, set[Setting]] = {}
        for one in side.cells:
            place = (one.cell.trial.seed, _setting(results, one.cell, shared))
            own.setdefault(place, set()).add(_setting(results, one.cell, own_axes))
        fullest = max(own, key=lambda place: len(own[place]), default=None)
        for place, settings in own.items():
            if fullest is not None and settings != own[fullest]:
                lacking = min((own[fullest] ^ settings), key=str)
                has, lacks = (place, fullest) if lacking in settings else (fullest, place)
                yield (
                    f"side {number + 1} is uneven: {_said(results, (None, lacking))} "
                    f"is at {_said(results, has)}, not at {_said(results, lacks)}"
                )
                break


def _lost_labels(
    results: Results, sides: Sequence[Side], places: Sequence[Values]
) -> Iterator[str]:
    """A metric that is logged by a label with some seeds and not with others, in words."""
    for side, one in zip(sides, places, strict=True):
        labels: dict[Setting, set[LoggedBy]] = {}
        for (_, setting), by_label in one.items():
            labels.setdefault(setting, set()).update(by_label)
        for place, by_label in one.items():
            lost = labels[place[1]] - set(by_label)
            if by_label and lost:
                where = _said(results, place)
                yield f"{side.metric} for {_labels_said(lost)} has no value at {where}"


def _setting(results: Results, cell: Cell, axes: Sequence[str]) -> Setting:
    return tuple((axis, results.key_of(cell, axis) or ABSENT) for axis in axes)


def _said(results: Results, place: Place) -> str:
    seed, setting = place
    words = [
        f"{results.axes[axis]}={results.text_of(axis, key)}"
        for axis, key in setting
        if key != ABSENT
    ]
    return " ".join([*words, *([] if seed is None else [f"seed={seed}"])]) or "all else"


def _other_labels(
    sides: Sequence[Side], places: Sequence[Values], compared: Iterable[str]
) -> Iterator[str]:
    """Sides whose metric is logged by other labels, in words: a mean over two tasks is not held
    against one over three, nor one task against another that nobody named. Labels that a side names
    are what it is about; where it is the tasks that are compared, each side has its own.
    """
    if "tasks" in compared or len(sides) < 2:
        return
    named = {name for side in sides for name in side.logged_by}
    for place in places[0]:
        labels = [_without(named, one[place]) for one in places if one.get(place)]
        if len(labels) < len(places) or all(one == labels[0] for one in labels):
            continue
        # One value by no label is the whole of what another side logs by one label.
        if all(len(one) == 1 for one in labels) and any(one == {()} for one in labels):
            continue
        listed = " against ".join(_labels_said(one) for one in labels)
        yield f"{sides[0].metric} is averaged over {listed}; name the one that is meant"
        return


def _without(named: Iterable[str], labels: Iterable[LoggedBy]) -> set[LoggedBy]:
    return {tuple((n, v) for n, v in label if n not in named) for label in labels}


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


def _series(places: Sequence[Values]) -> Iterator[tuple[float, ...]]:
    """What sides have of one seed, setting and label, all values together; for every such place
    that two sides or more have.
    """
    for place in dict.fromkeys(place for one in places for place in one):
        sides = [one[place] for one in places if place in one]
        for label in dict.fromkeys(label for one in sides for label in one):
            having = [one[label] for one in sides if label in one]
            if len(having) > 1:
                yield tuple(value for values in having for value in values)
