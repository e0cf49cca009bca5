"""How a claim is decided: a test on either side of its bar.

Every test is one-sided at 2.5 %, so that a claim about which there is nothing to find is called
reproduced in at most 2.5 % of sweeps, and not reproduced in at most 2.5 %;
`benchmarks/calibration.py` measures it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.distributions import student_below, student_quantile
from orchestrator.analysis.estimates import Estimate, rounding_of
from orchestrator.spec.claim import NOT_REPRODUCED, REPRODUCED, UNDECIDED

LEVEL = 0.025
SHUFFLES = 9_999  # of a permutation test with more permutations than that
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Decision:
    """Probabilities of evidence as clear as what was found: `p_holds` if the claim did not hold,
    `p_fails` if it did. 1 where nothing is shown.
    """

    p_holds: float = 1.0
    p_fails: float = 1.0
    is_tested: bool = True

    @property
    def verdict(self) -> str:
        if self.p_holds < LEVEL:
            return REPRODUCED
        return NOT_REPRODUCED if self.p_fails < LEVEL else UNDECIDED

    @property
    def p(self) -> float | None:
        """The smaller of the two, or None where nothing was tested."""
        return min(self.p_holds, self.p_fails) if self.is_tested else None


UNSHOWN = Decision(is_tested=False)


def observed(*, holds: bool, fails: bool) -> Decision:
    """A decision that is seen, not tested: equality to the last bit, say."""
    return Decision(0.0 if holds else 1.0, 0.0 if fails else 1.0, is_tested=False)


def above(found: Estimate, bar: float) -> Decision:
    """The mean is above a bar: Student's t over the seeds."""
    return Decision(p_above(found, bar), p_below(found, bar))


def between(found: Estimate, lower: float, upper: float) -> Decision:
    """The mean is between two bars: above the one and below the other; it fails beyond either."""
    # Two one-sided tests: both bars have to be passed, so each is tested at the full level.
    holds = max(p_above(found, lower), p_below(found, upper))
    fails = min(p_below(found, lower), p_above(found, upper))
    return Decision(holds, fails)


def every(decisions: Sequence[Decision]) -> Decision:
    """All of several decisions hold; it fails where one of them fails (Bonferroni over them)."""
    # That all hold is shown where the least clear does, without a correction; that one fails
    # could come by chance in any of them.
    fails = min(1.0, len(decisions) * min(decision.p_fails for decision in decisions))
    return Decision(max(decision.p_holds for decision in decisions), fails)


def both(first: Decision, second: Decision) -> Decision:
    """Two tests of one claim, each of which has to show what is decided."""
    return Decision(
        max(first.p_holds, second.p_holds),
        max(first.p_fails, second.p_fails),
        first.is_tested and second.is_tested,
    )


def p_above(found: Estimate, bar: float) -> float:
    """One-sided p of a mean above a bar."""
    # Mirrored, and not 1 - p: where nothing is shown, both are 1.
    return p_below(Estimate(-found.mean, found.half, found.n, found.rounding), -bar)


def p_below(found: Estimate, bar: float) -> float:
    """One-sided p of a mean below a bar; 1 for fewer than two seeds.

    Values without any spread are certain, unless there are two of them only; those that only
    rounding tells from the bar are at the bar.
    """
    # Before seeds are counted: a bar that is not there is passed by whatever comes.
    if math.isinf(bar):
        return 0.0 if bar > 0 else 1.0
    if found.n < 2 or not math.isfinite(found.mean):
        return 1.0
    error = found.half / student_quantile(found.n - 1)  # standard error of the mean
    if error <= found.rounding:
        return certainly_below(found.mean - bar, found.rounding + rounding_of(bar), found.n - 1)
    return student_below((found.mean - bar) / error, found.n - 1)


def certainly_below(distance: float, rounding: float, freedom: int) -> float:
    """The p of a value that has no error by this much below a bar (above it where the distance is
    positive): 0 or 1. Two values that agree leave one degree of freedom, and prove nothing: they
    agree by chance where a metric has few values.
    """
    return 0.0 if distance < -rounding and freedom > 1 else 1.0


def certainly_beyond(distance: float, rounding: float, freedom: int) -> Decision:
    """The decision on a value that has no error and is this much above its bar."""
    holds = certainly_below(-distance, rounding, freedom)
    return Decision(holds, certainly_below(distance, rounding, freedom))


# ---------------------------------------------------------------------- tests by permutation


@lru_cache(maxsize=32)
def _orders(length: int) -> NDArray[np.intp]:
    """All orders of so many places, [length!, length]."""
    return np.array(list(itertools.permutations(range(length))), dtype=np.intp)


@lru_cache(maxsize=16)
def _places(num_seeds: int, length: int) -> NDArray[np.intp]:
    """Where each value of each seed goes in each shuffle, [shuffles, seeds, length]: every way
    there is where these are few, else 9,999 drawn ones, the same in every call.
    """
    num_ways = math.factorial(length) ** num_seeds
    if num_ways <= SHUFFLES:
        orders = _orders(length)  # [length!, length]
        # [ways, seeds]: which of the orders each seed has in each of the ways.
        chosen = np.array(list(itertools.product(range(len(orders)), repeat=num_seeds)))
        return np.asarray(orders[chosen], dtype=np.intp)
    # What sorts noise is an order, and every order is equally likely.
    drawn = np.random.default_rng(0).random((SHUFFLES, num_seeds, length)).argsort(axis=2)
    as_found = np.broadcast_to(np.arange(length), (1, num_seeds, length))
    return np.concatenate([as_found, drawn])  # what was found is one of the ways


def shuffled_rows(values: Array) -> Array:
    """Rows of [seeds, values] shuffled by themselves, [shuffles, seeds, values]."""
    places = _places(*values.shape)
    return np.take_along_axis(np.broadcast_to(values, places.shape), places, axis=2)


def permutation_p(found: float, shuffled: Array) -> float:
    """Share of the shuffles [shuffles] whose statistic is at least what was found."""
    # Orders that are equal on paper differ in rounding, which grows with the statistic.
    tolerance = 1e-9 * float(np.abs(shuffled).max())
    return float(np.mean(shuffled >= found - tolerance))


def spread_p(values: Array) -> float:
    """p of the means along an axis lying as far apart as they do, if the axis did not matter:
    values [seeds, values of the axis], shuffled within each seed.
    """
    own = values - values.mean(axis=1, keepdims=True)  # a seed's level would cost digits
    shuffled = shuffled_rows(own).mean(axis=1).var(axis=1)  # [shuffles]
    return permutation_p(float(own.mean(axis=0).var()), shuffled)


def ranks(values: Array, rounding: float = 0.0) -> Array:
    """Ranks within each row, ties shared; [rows, values]. Neighbours are tied where only rounding
    tells them apart.
    """
    order = values.argsort(axis=1)
    # Where a row goes up by more than rounding, [rows, values - 1]; a chain of smaller steps is
    # one tie, however long.
    steps = np.diff(np.take_along_axis(values, order, axis=1), axis=1) > rounding
    places = np.zeros(values.shape)
    np.put_along_axis(places, order[:, 1:], steps.cumsum(axis=1), axis=1)
    others, own = places[:, None, :], places[:, :, None]  # [rows, values, values]
    below, ties = (others < own).sum(axis=2), (others == own).sum(axis=2)
    return np.asarray(below + (ties + 1) / 2, dtype=np.float64)


def correlations(first: Array, second: Array) -> Array:
    """Pearson's correlation of the last axis; NaN for constant series."""
    first = first - first.mean(axis=-1, keepdims=True)
    second = second - second.mean(axis=-1, keepdims=True)
    norms = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((first * second).sum(axis=-1) / norms, dtype=np.float64)
