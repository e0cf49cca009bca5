"""Means and minima over those pairs of a matrix that have a score."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def mean_score(values: NDArray[np.float64]) -> float:
    """Mean over the entries that are not NaN, the same to the last bit whatever their order; NaN
    where all are.
    """
    scored = values[~np.isnan(values)]
    # fsum rounds once, at the end, so the order of the terms does not show in the last bit.
    return math.fsum(scored) / len(scored) if len(scored) else math.nan


def lowest_score(values: NDArray[np.float64]) -> float:
    """The lowest entry that is not NaN; NaN where all are."""
    scored = values[~np.isnan(values)]
    return float(scored.min()) if len(scored) else math.nan
