"""Room for large arrays: in memory as long as they are small, else in a file of the cache that has
no name, so that the system can write its pages out, and frees it when nobody uses it any more.
"""

from __future__ import annotations

import math
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from orchestrator.data.decoded import home, told_as_data_error

LARGEST_IN_MEMORY = 2**28  # bytes


def space(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array to be filled. Raises DataError where the cache has no room for it."""
    if math.prod(shape) * np.dtype(dtype).itemsize <= LARGEST_IN_MEMORY:
        return np.empty(shape, dtype)
    with told_as_data_error():
        home().mkdir(parents=True, exist_ok=True)
        # The map outlives the file's name and its descriptor.
        with tempfile.TemporaryFile(dir=home()) as file:
            return np.memmap(file, dtype=dtype, mode="w+", shape=shape)
