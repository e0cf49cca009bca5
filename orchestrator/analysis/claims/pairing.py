"""Pairing: which values of which cells stand against each other, and which are missing.

The sides of a claim are paired by seed. Within a seed, whatever else the sweep varies is averaged,
and it must be the same on all sides: a side that covers other settings, or has cells without a
value, is not compared as if nothing were missing. The claim is undecided then, and says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.averages import LoggedBy
from orchestrator.analysis.claims.mismatches import mismatches
from orchestrator.analysis.claims.places import Aligned, Held, Place, mean_of, trials_of
from orchestrator.analysis.claims.sides import Measured, Side
from orchestrator.analysis.claims.wording import told_apart
from orchestrator.analysis.estimates import Estimate, estimate, rounding_of
from orchestrator.analysis.results import Results
from orchestrator.spec.claim import Entry, Labels, Pairs

Array = NDArray[np.float64]


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
    sides: tuple[str, ...] = ()
    """What tells each side from the others, in words."""
    series: tuple[tuple[float, ...], ...] = field(default=(), repr=False)
    """For every seed, setting and label that two sides or more share, all values that they have."""

    @property
    def pairs(self) -> Pairs:
        """Its values by side and seed, for people to look at."""
        return Pairs(self.sides, self.seeds, tuple(map(tuple, self.values.tolist())))

    @property
    def is_complete(self) -> bool:
        return not self.problems

    @property
    def rounding(self) -> float:
        """How far rounding may have moved a difference of its values."""
        return rounding_of(*self.values.flat)

    @property
    def is_too_regular(self) -> bool:
        """Whether there are two seeds, and all sides differ in them by the same. Of a metric of few
        values that comes by chance too often to be certainty.
        """
        # Three seeds that agree to the bit do not do so by chance: see `certainly_below`.
        if len(self.seeds) != 2:
            return False
        apart = self.values[:, 0] - self.values[:, 1]  # [sides]
        return float(np.ptp(apart)) <= 2 * self.rounding

    def side(self, number: int = 0) -> Estimate:
        """Mean of one side over the seeds."""
        return self.estimate(self.values[number])

    def difference(self, first: int = 0, second: int = 1) -> Estimate:
        """Mean over seeds of one side less another."""
        return self.estimate(self.values[first] - self.values[second])

    def estimate(self, of_seeds: Array) -> Estimate:
        """Mean over seeds of what was computed from its values, [seeds]."""
        return estimate(list(of_seeds), self.rounding)

    def only(self, seeds: Sequence[int | None]) -> Comparison:
        """The same with some of its seeds, in this order."""
        columns = [self.seeds.index(seed) for seed in seeds]
        return replace(self, seeds=tuple(seeds), values=self.values[:, columns])


def compare(results: Results, metric: str | Entry, sides: Sequence[Labels]) -> Comparison:
    """Pair the cells of several sides by seed; see the module."""
    return pair([Side(results, metric, labels) for labels in sides])


def pair(sides: Sequence[Side], *, apart: Iterable[str] = ()) -> Comparison:
    """The same for sides that have been read. On axes `apart` they may differ unasked."""
    aligned = Aligned(sides, frozenset(apart))
    means = _means(aligned)
    by_seed: dict[int | None, list[list[float]]] = {}  # [places of a seed, sides]
    for place in _distinct_places(aligned):
        by_seed.setdefault(place.seed, []).append(means[place])
    # A seed that lacks one setting on one side is no value of the same mean: it is out whole.
    missing = {place.seed for held in aligned.held for place in held if place not in means}
    values = {}
    for seed, of_places in by_seed.items():
        of_sides = [math.fsum(column) / len(column) for column in zip(*of_places, strict=True)]
        if seed not in missing and all(map(math.isfinite, of_sides)):
            values[seed] = of_sides
    # [seeds, sides]; the shape is said, since without a seed there would be no sides either.
    array = np.array(list(values.values()), dtype=np.float64).reshape(len(values), len(sides))
    return Comparison(
        tuple(values),
        array.T,
        tuple(mismatches(aligned)),
        _averaged_over(aligned),
        told_apart(sides[0].results, [side.labels for side in sides]),
        tuple(_series(aligned)),
    )


def of_same_seeds(first: Comparison, second: Comparison) -> tuple[Comparison, Comparison]:
    """Two comparisons, of two metrics say, with the seeds that both have and no others. Seeds that
    only one has are a problem of both; what draws nothing from the seed goes with every seed.
    """
    if None in (*first.seeds, *second.seeds):
        return first, second
    seeds = [seed for seed in first.seeds if seed in second.seeds]
    alone = sorted(set(first.seeds).symmetric_difference(second.seeds), key=str)
    if not alone:
        return first.only(seeds), second.only(seeds)
    problem = f"seed {', '.join(map(str, alone))} is there for one of the two metrics only"
    kept = (first.only(seeds), second.only(seeds))
    with_problem = [replace(one, problems=(*one.problems, problem)) for one in kept]
    return with_problem[0], with_problem[1]


def _means(aligned: Aligned) -> dict[Place, list[float]]:
    """The means of all sides, by the places that all of them have."""
    found = {}
    for place in aligned.common:
        found[place] = [mean_of(held[place]) for held in aligned.held]
    return found


def _distinct_places(aligned: Aligned) -> Iterator[Place]:
    """The places that all sides have. Where a setting made no difference to what was run, on any
    side, its values are one place: each trial counts once.
    """
    seen = set()
    for place in aligned.common:
        # With the seed: a trial that draws nothing from it stands once for each seed, not for one.
        trials = (place.seed, *(trials_of(held[place]) for held in aligned.held))
        if trials not in seen:
            seen.add(trials)
            yield place


# ---------------------------------------------------------------------- what the means are over


def _averaged_over(aligned: Aligned) -> str:
    """What the means are over, in words: what all sides are averaged over, `split (3), task (2)`,
    and what only some are, `level (2) on side 1`.
    """
    by_side = [
        {**_values_of_axes(aligned, number), **_values_of_labels(side.cells)}
        for number, side in enumerate(aligned.sides)
    ]
    words = []
    for name in dict.fromkeys(name for counts in by_side for name in counts):
        counts = [one.get(name, 1) for one in by_side]
        if len(set(counts)) == 1:
            words += [f"{name} ({counts[0]})"] if counts[0] > 1 else []
            continue
        for number, count in enumerate(counts, start=1):
            words += [f"{name} ({count}) on side {number}"] if count > 1 else []
    return ", ".join(words)


def _values_of_axes(aligned: Aligned, number: int) -> dict[str, int]:
    """By the name of each axis how many values of it one side has; not of seeds, which n counts,
    nor of axes of which one value has been chosen.
    """
    counts = {}
    for axis in [*aligned.shared, *aligned.own]:
        # Cells without the axis are one value of it: they are in the mean like the others.
        keys = {aligned.results.key_of(one.cell, axis) for one in aligned.sides[number].cells}
        counts[aligned.results.axes[axis]] = len(keys)
    return counts


def _values_of_labels(cells: Sequence[Measured]) -> dict[str, int]:
    """By the name of each label how many values of it stand in one cell's mean, at most."""
    counts: dict[str, int] = {}
    for one in cells:
        labels = [dict(label) for label in one.values]
        for name in dict.fromkeys(name for label in labels for name in label):
            distinct = {label.get(name) for label in labels}
            counts[name] = max(counts.get(name, 1), len(distinct))
    return counts


# ---------------------------------------------------------------------- value against value


def _series(aligned: Aligned) -> Iterator[tuple[float, ...]]:
    """What sides have of one seed, setting and label, all values together; for every such place
    that two sides or more have.
    """
    for place in dict.fromkeys(place for held in aligned.held for place in held):
        having = [held for held in aligned.held if place in held]
        called = [_by_label(held, place, by_place=False) for held in having]
        # Sides about other tasks have other names: then the target stands against the target.
        if any(set(one) != set(called[0]) for one in called):
            called = [_by_label(held, place, by_place=True) for held in having]
        for label in dict.fromkeys(label for one in called for label in one):
            sides = [one[label] for one in called if label in one]
            # What one side has alone is held against nothing.
            if len(sides) > 1:
                yield tuple(value for by_trial in sides for value in by_trial.values())


def _by_label(held: Held, place: Place, *, by_place: bool) -> dict[LoggedBy, dict[str, float]]:
    """One side's values at a place, by label and trial."""
    found: dict[LoggedBy, dict[str, float]] = {}
    for one in held[place]:
        for label, value in one.values.items():
            told = one.placed(label) if by_place else label
            found.setdefault(told, {})[one.cell.trial.key] = value
    return found
