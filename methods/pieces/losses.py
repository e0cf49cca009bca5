"""Losses that several methods share; all of fixed shape, with no branch on the data."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from orchestrator import IGNORED


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of images, or, where labels are masks, of pixels: torch's own, in a way
    that gives the same bits each time on a GPU, too.
    """
    if not _is_summed_in_any_order(logits):
        return F.cross_entropy(logits, labels)
    count = (labels != IGNORED).sum()
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none").sum() / count


def _is_summed_in_any_order(logits: Tensor) -> bool:
    """Whether torch adds up the losses of pixels as the threads of a GPU come to them; it raises
    where algorithms are to be deterministic.
    """
    return logits.ndim > 2 and logits.device.type != "cpu"


def masked_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy over the images whose label is not `IGNORED`, or 0 if a batch has none of
    them, where torch's own mean would be NaN.
    """
    count = (labels != IGNORED).sum().clamp(min=1)  # labels: [B], or [B, H, W]
    if _is_summed_in_any_order(logits):
        losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
        return losses.sum() / count
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / count
