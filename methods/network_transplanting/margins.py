"""How far a network of two outputs tells one label from the other: margins, errors, area under the
curve.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orchestrator import Data, Run, in_order

Array = NDArray[np.float64]
Margins = tuple[Array, NDArray[np.int64]]


@torch.no_grad()
def logits_of(run: Run, net: Callable[[Tensor], Tensor], data: Data) -> Margins:
    """Logits [N, outputs] and labels [N] of all images of a part."""
    found = [(net(x).cpu(), y.cpu()) for x, y in in_order(data, run.device)]
    return torch.cat([one for one, _ in found]).double().numpy(), torch.cat(
        [y for _, y in found]
    ).numpy()


def margins(run: Run, net: Callable[[Tensor], Tensor], data: Data) -> Margins:
    """How far each image's (or pixel's) second logit is above its first, and labels; both [N]."""
    logits, labels = logits_of(run, net, data)
    return (logits[:, 1] - logits[:, 0]).ravel(), labels.ravel()


def balanced_error(margin: Array, labels: NDArray[np.int64], bar: float = 0.0) -> float:
    """Mean over both labels of the share of their images on the wrong side of `bar`."""
    return float(
        np.mean([np.mean((margin[labels == label] > bar) != bool(label)) for label in (0, 1)])
    )


def auc(margin: Array, labels: NDArray[np.int64]) -> float:
    """Probability that an image of the category has the larger margin than one of the background;
    ties count half (Mann and Whitney).
    """
    from scipy.stats import rankdata

    positive = int((labels == 1).sum())
    ranks = rankdata(margin)[labels == 1].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * (len(labels) - positive)))


def overlap(margin: Array, labels: NDArray[np.int64]) -> float:
    """Pixels told and labelled foreground as a share of those told or labelled so."""
    told, true = margin > 0, labels == 1
    return float((told & true).sum() / max((told | true).sum(), 1))


def best_bar(margin: Array, labels: NDArray[np.int64]) -> float:
    """The bar of least balanced error on these images: the middle of the widest gap where several
    are as good.
    """
    points, places = np.unique(margin, return_inverse=True)
    missed, taken = (
        np.concatenate([[0], np.bincount(places[labels == label], minlength=len(points)).cumsum()])
        for label in (1, 0)
    )
    errors = (
        missed / missed[-1] + 1 - taken / taken[-1]
    ) / 2  # with the bar in front of each point, and behind the last
    bars = np.concatenate([[points[0] - 1], (points[1:] + points[:-1]) / 2, [points[-1] + 1]])
    widths = np.concatenate([[0.0], np.diff(points), [0.0]])
    best = np.flatnonzero(errors <= errors.min() + 1e-12)
    return float(bars[best[np.argmax(widths[best])]])
