"""Means with intervals; n is the number of values in the mean."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, repr=False)
class Estimate:
    """Mean of `n` distinct trials with the half-width of its 95 % interval (Student's t; NaN for
    fewer than two).

    `rounding` bounds how far the arithmetic behind the values may have moved the mean: 0.6 - 0.5 is
    not quite 0.1. What is that near to a bar is at the bar.
    """

    mean: float
    half: float
    n: int
    rounding: float = 0.0

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.mean + self.half

    def __repr__(self) -> str:
        return f"<Estimate {self} (n={self.n})>"

    def __str__(self) -> str:
        if not self.is_small:
            return self.text(3)
        interval = f" ±{figures(self.half)}" if self.n > 1 else ""
        return f"{figures(self.mean)}{interval}"

    @property
    def is_small(self) -> bool:
        """Whether three decimals would show nothing of it but rounding."""
        return self.rounding < max(abs(self.mean), self.half) < 0.001

    def text(self, digits: int) -> str:
        """`0.859 ±0.009`; without an interval for a single trial, and a dash for none."""
        if not self.n:
            return "–"
        interval = f" ±{self.half:.{digits}f}" if self.n > 1 else ""
        # z: what is rounded to 0 has no sign.
        return f"{self.mean:z.{digits}f}{interval}"


def figures(value: float) -> str:
    """A number with three decimals, or with two figures where these would be zeros."""
    return f"{value:z.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.2g}"


def rounding_of(*values: float) -> float:
    """How far some arithmetic on values of this size may be from what it would be on paper."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return 16 * sys.float_info.epsilon * largest


def estimate(values: Sequence[float], rounding: float = 0.0) -> Estimate:
    """Mean and 95 % interval of values from distinct trials; values that are not finite are left
    out and not counted. `rounding` is how far each of them may be off.
    """
    data = np.array([v for v in values if np.isfinite(v)])
    n = len(data)
    if n == 0:
        return Estimate(float("nan"), float("nan"), 0)
    if n == 1:
        return Estimate(float(data.mean()), float("nan"), 1, rounding)
    half = _student(n) * data.std(ddof=1) / n**0.5
    return Estimate(float(data.mean()), float(half), n, rounding)


@dataclass(frozen=True)
class Estimates:
    """Means, half-widths and numbers of values of many places at once; all of one shape."""

    mean: NDArray[np.float64]
    half: NDArray[np.float64]
    n: NDArray[np.int64]


def estimates(stacked: NDArray[np.float64]) -> Estimates:
    """`estimate` at every place of [trials, *shape], to the same bits: the values of a place lie
    beside each other and are summed in the same order.
    """
    shape = stacked.shape[1:]
    by_place = np.ascontiguousarray(stacked.reshape(len(stacked), -1).T)  # [places, trials]
    is_finite = np.isfinite(by_place)
    counts = is_finite.sum(axis=1)
    mean, half = np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    for n in np.unique(counts[counts > 0]):
        here = counts == n
        data = by_place[here][is_finite[here]].reshape(-1, n)  # [places with n values, n]
        mean[here] = data.mean(axis=1)
        if n > 1:
            half[here] = _student(int(n)) * data.std(axis=1, ddof=1) / n**0.5
    return Estimates(mean.reshape(shape), half.reshape(shape), counts.reshape(shape))


@lru_cache(maxsize=256)
def _student(n: int) -> float:
    """How many standard errors the 95 % interval of a mean of n values reaches to each side."""
    from scipy import special  # `scipy.stats` calls the same function and takes a second to import

    return float(special.stdtrit(n - 1, 0.975))
