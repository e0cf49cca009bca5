"""Numbers over the pairs of a matrix that have a score."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def mean_scored(values: Any) -> float:
    """Mean over the pairs that have a score; NaN where none has."""
    scored = values[~np.isnan(values)]
    return float(scored.mean()) if len(scored) else float("nan")


def lowest_scored(values: Any) -> float:
    """The lowest score; NaN where no pair has one."""
    scored = values[~np.isnan(values)]
    return float(scored.min()) if len(scored) else float("nan")
