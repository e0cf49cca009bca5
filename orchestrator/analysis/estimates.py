"""Means with intervals; n is the number of values in the mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """Mean of `n` distinct trials with the half-width of its 95 % interval (Student's t; NaN for
    fewer than two).
    """

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.mean + self.half

    def __str__(self) -> str:
        return self.text(3)

    def text(self, digits: int) -> str:
        """`0.859 ±0.009`; without an interval for a single trial, and a dash for none."""
        if not self.n:
            return "–"
        interval = f" ±{self.half:.{digits}f}" if self.n > 1 else ""
        return f"{self.mean:.{digits}f}{interval}"


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % interval of values from distinct trials; values that are not finite are left
    out and not counted.
    """
    from scipy import stats

    data = np.array([v for v in values if np.isfinite(v)])
    n = len(data)
    if n == 0:
        return Estimate(float("nan"), float("nan"), 0)
    if n == 1:
        return Estimate(float(data.mean()), float("nan"), 1)
    half = stats.t.ppf(0.975, n - 1) * data.std(ddof=1) / n**0.5
    return Estimate(float(data.mean()), float(half), n)
