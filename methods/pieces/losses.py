"""Losses that several methods share; all of fixed shape, with no branch on the data."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from orchestrator import IGNORED


def masked_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy over the images whose label is not `IGNORED`, or 0 if a batch has none of
    them, where torch's own mean would be NaN.
    """
    count = (labels != IGNORED).sum().clamp(min=1)  # labels: [B], or [B, H, W]
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / count
