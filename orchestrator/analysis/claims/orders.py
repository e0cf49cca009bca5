"""An exact test of rank correlation against any bar: how likely are orders as far towards one end?

Where an axis does not matter, all orders of a seed's values are equally likely. Where the expected
correlation is `bar`, an order is likely in proportion to exp(strength * correlation), with the
strength at which the expectation is `bar`: of all laws with that expectation the one that assumes
least (Mallows's model with Spearman's distance). A bar of 0 is strength 0, the permutation test.
Correlations of few values take few values, so that no normal theory holds for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.claims.deciding import (
    UNSHOWN,
    Decision,
    permutation_p,
    shuffled_rows,
)
from orchestrator.analysis.distributions import normal_below
from orchestrator.spec.claim import REPRODUCED

MOST_VALUES = 12  # of which all orders are counted; longer series are shuffled, at the bar 0 only
STRONGEST = 1e6  # in units of a correlation: there the likeliest order is certain
Array = NDArray[np.float64]
Steps = tuple[int, ...]  # ranks of a series, as twice their distance from the middle
Pairs = tuple[tuple[Steps, Steps], ...]


def order_test(first: Array, second: Array, bar: float) -> Decision:
    """Whether the expected correlation of ranks is above `bar`, and whether it is below.

    `first` and `second` are ranks, [series, values]; the series (seeds) are independent, and
    weighed by how far apart their ranks are, which is equal where none are tied. Nothing is decided
    at a bar other than 0 on more than `MOST_VALUES` values, nor at one that ties put out of reach.
    """
    if first.shape[1] > MOST_VALUES:
        return _by_shuffling(first, second) if bar == 0 else UNSHOWN
    pairs = [(_steps(one), _steps(other)) for one, other in zip(first, second, strict=True)]
    law = _law(tuple((tuple(sorted(one)), tuple(sorted(other))) for one, other in pairs), bar)
    if law is None:
        return UNSHOWN
    likely, lowest = law
    place = sum(int(np.dot(one, other)) for one, other in pairs) - lowest
    # Sums of probabilities may be above 1 by rounding.
    return Decision(min(1.0, likely[place:].sum()), min(1.0, likely[: place + 1].sum()))


def can_show(num_series: int, num_values: int, bar: float) -> bool:
    """Whether the clearest of all results, every series in perfect order, would be above `bar`."""
    perfect = np.tile(np.arange(1.0, num_values + 1), (num_series, 1))
    return order_test(perfect, perfect, bar).verdict == REPRODUCED


def fisher_test(rho: float, num_values: int, bar: float) -> Decision:
    """The same of one series by Fisher's z with the variance of Bonett and Wright (2000): for
    values that are normally distributed rather than as `order_test` has it.
    """
    if abs(rho) > 1 - 1e-9:  # infinitely far away; the orders say how far that is
        return Decision(float(rho < 0), float(rho > 0))
    error = np.sqrt((1 + rho**2 / 2) / (num_values - 3))
    distance = (np.arctanh(rho) - np.arctanh(bar)) / error
    return Decision(normal_below(-distance), normal_below(distance))


def _steps(ranks: Array) -> Steps:
    # Twice, because tied ranks may lie between two whole ones.
    return tuple(round(2 * rank) - len(ranks) - 1 for rank in ranks)


@lru_cache(maxsize=256)
def _law(pairs: Pairs, bar: float) -> tuple[Array, int] | None:
    """Probabilities of the sum of products over all series where the expected correlation is the
    bar, [sums], and the lowest of these sums; None where ties put the bar out of reach.
    """
    each = [_counts(*pair) for pair in pairs]
    largest = sum(np.sqrt(np.dot(one, one) * np.dot(other, other)) for one, other in pairs)
    strength = _strength(each, bar * largest, largest / len(each))
    if strength is None:
        return None
    likely, lowest = np.ones(1), 0
    for counts, low in each:
        # Series are independent, so that the law of their sum is the convolution of theirs.
        likely = np.convolve(likely, _tilted(counts, low, strength))
        lowest += low
    return likely, lowest


@lru_cache(maxsize=64)
def _counts(first: Steps, second: Steps) -> tuple[Array, int]:
    """How many orders of `second` have which sum of products with `first`, [sums], and the lowest
    of these sums; both in rising order. One place of `first` after another is given a value of
    `second` that is not taken yet.
    """
    reach = max(int(np.dot(first, second)), -int(np.dot(first, second[::-1])))
    nothing = np.zeros(2 * reach + 1)
    nothing[reach] = 1.0
    sums: dict[Steps, Array] = {(): nothing}  # by the places of `second` that are taken
    for size, step in enumerate(first, start=1):
        larger = {}
        for chosen in combinations(range(len(second)), size):
            total = np.zeros(2 * reach + 1)
            for last in chosen:
                rest = tuple(one for one in chosen if one != last)
                # A sum out of reach goes round the ring, and comes back: the last sums are in it.
                total += np.roll(sums[rest], step * second[last])
            larger[chosen] = total
        sums = larger
    return sums[tuple(range(len(second)))], -reach


def _strength(each: Sequence[tuple[Array, int]], wanted: float, unit: float) -> float | None:
    """The strength at which the expected sum over all series is `wanted`, or None where ties keep
    it below that; `unit` is the sum of a correlation of 1.
    """
    from scipy import optimize

    if wanted == 0:
        return 0.0

    def beyond(strength: float) -> float:
        return sum(_mean(*one, strength / unit) for one in each) - wanted

    if beyond(STRONGEST) < 0:
        return None
    # The expectation rises with the strength, and bars are not below 0: one root, in here.
    return float(optimize.brentq(beyond, 0.0, STRONGEST)) / unit


def _tilted(counts: Array, lowest: int, strength: float) -> Array:
    """Probabilities of the sums of one series, [sums]."""
    sums = np.arange(lowest, lowest + len(counts))
    exponent = np.where(counts > 0, strength * sums, -np.inf)
    # The largest is 1: exp() of a strength near STRONGEST would be infinite.
    weights = counts * np.exp(exponent - exponent.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _mean(counts: Array, lowest: int, strength: float) -> float:
    sums = np.arange(lowest, lowest + len(counts))
    return float(np.dot(_tilted(counts, lowest, strength), sums))


def _by_shuffling(first: Array, second: Array) -> Decision:
    """The same at the bar 0, by drawn shuffles of each series."""
    centred = second - second.mean(axis=1, keepdims=True)
    shuffled = np.einsum("nsv,sv->n", shuffled_rows(first), centred)  # [shuffles]
    found = float((first * centred).sum())
    return Decision(permutation_p(found, shuffled), permutation_p(-found, -shuffled))
