"""The distributions that intervals and tests need. `scipy.stats` has them all, but takes longer to
import than a sweep of results takes to be told.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NODES = 200  # of each integral; 60 give ten digits already
FAR = 9.0  # standard deviations beyond which a normal value counts for nothing


@lru_cache(maxsize=256)
def student_quantile(freedom: int) -> float:
    """The value that Student's t with `freedom` degrees of freedom exceeds in 2.5 % of cases."""
    from scipy import special

    return float(special.stdtrit(freedom, 0.975))


def student_below(value: float, freedom: int) -> float:
    """How likely Student's t with `freedom` degrees of freedom is below a value."""
    from scipy import special

    return float(special.stdtr(freedom, value))


def normal_below(value: float) -> float:
    """How likely a standard normal value is below this one."""
    from scipy import special

    return float(special.ndtr(value))


def range_above(value: float, num_values: int, freedom: int) -> float:
    """How likely the studentised range is above a value: the range of `num_values` means over their
    standard error, estimated with `freedom` degrees of freedom (Tukey).
    """
    if value <= 0:
        return 1.0
    deviations, densities = _deviations(freedom)
    inside = float(densities @ _normal_range_below(value * deviations, num_values))
    return min(1.0, max(0.0, 1.0 - inside))


@lru_cache(maxsize=256)
def range_quantile(num_values: int, freedom: int) -> float:
    """The studentised range that is exceeded in 2.5 % of cases."""
    low, high = 0.0, 1.0
    while range_above(high, num_values, freedom) > 0.025:
        low, high = high, 2 * high
    while high - low > 1e-11 * high:
        middle = (low + high) / 2
        if range_above(middle, num_values, freedom) > 0.025:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _normal_range_below(widths: Array, num_values: int) -> Array:
    """How likely the range of so many standard normal values is below each width, [widths]."""
    from scipy import special

    lowest, weights = _nodes(-FAR, FAR)
    # The lowest value is at z, and all others within the width above it; [widths, nodes].
    within = special.ndtr(lowest + widths[:, None]) - special.ndtr(lowest)
    density = weights * np.exp(-(lowest**2) / 2) / math.sqrt(2 * math.pi)
    return np.asarray(num_values * (within ** (num_values - 1)) @ density, dtype=np.float64)


@lru_cache(maxsize=256)
def _deviations(freedom: int) -> tuple[Array, Array]:
    """Estimates of a standard deviation of 1 and how likely each is, which sums to 1; [nodes]."""
    # Along their logarithm, where chi's density falls off smoothly to both sides, down to exp(-40)
    # of its height at the ends.
    reach = 40 / freedom
    high = min(math.sqrt(reach), math.log(2 + 4 * reach) / 2)
    logarithms, weights = _nodes(-reach - math.sqrt(reach), high)
    deviations = np.exp(logarithms)
    densities = weights * np.exp(freedom * (logarithms - (deviations**2 - 1) / 2))
    return deviations, densities / densities.sum()


def _nodes(low: float, high: float) -> tuple[Array, Array]:
    """Places and weights of Gauss and Legendre's rule between two ends."""
    places, weights = _legendre()
    half = (high - low) / 2
    return low + half * (places + 1), half * weights


@lru_cache(maxsize=1)
def _legendre() -> tuple[Array, Array]:
    places, weights = np.polynomial.legendre.leggauss(NODES)
    return places, weights
