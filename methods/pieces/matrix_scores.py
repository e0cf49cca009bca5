"""Numbers over the pairs of a matrix that have a score."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def mean_scored(values: Any) -> float:
    """Mean over the pairs that have a score, the same to the last bit whatever their order; NaN
    where none has.
    """
    scored = values[~np.isnan(values)]
    return math.fsum(scored) / len(scored) if len(scored) else math.nan


def lowest_scored(values: Any) -> float:
    """The lowest score; NaN where no pair has one."""
    scored = values[~np.isnan(values)]
    return float(scored.min()) if len(scored) else math.nan
