"""Pooling whose gradients have the same bits each time, on a GPU, too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AveragedTo(nn.AdaptiveAvgPool2d):
    """Adaptive average pooling to `output_size`, a number or (height, width): each output is the
    mean of its window of the input, and windows overlap where sizes do not divide.

    Torch's own adds up the gradients of overlapping windows in the order in which a GPU's threads
    come to them, and raises where algorithms are to be deterministic. Only pooling to 1 x 1 does
    not: torch takes it for a mean.
    """

    def forward(self, x: Tensor) -> Tensor:
        size: Any = self.output_size
        rows, columns = (size, size) if isinstance(size, int) else size
        if rows == columns == 1:
            return super().forward(x)
        height, width = x.shape[-2:]
        if height % rows == 0 and width % columns == 0:
            return F.avg_pool2d(x, (height // rows, width // columns))
        # The mean of a window is the mean of its rows' means: one axis after the other.
        x = _means(x, -2, rows)  # [B, C, rows, W]
        return _means(x, -1, columns)  # [B, C, rows, columns]


def _means(x: Tensor, axis: int, count: int) -> Tensor:
    """Means of `count` windows that cover an axis, which becomes `count` long."""
    length = x.shape[axis]
    means = []
    for number in range(count):
        first, end = number * length // count, -(-(number + 1) * length // count)
        means.append(x.narrow(axis, first, end - first).mean(axis))
    return torch.stack(means, axis)
