"""How well a network of two outputs tells one label from the other: margins, errors, area under the
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
Labels = NDArray[np.int64]
Margins = tuple[Array, Labels]


@torch.no_grad()
def logits_of(run: Run, net: Callable[[Tensor], Tensor], data: Data) -> tuple[Array, Labels]:
    """Logits [N, outputs] and labels [N] of all images of a part of a task."""
    logits, labels = [], []
    for x, y in in_order(data, run.device):
        logits.append(net(x).cpu())
        labels.append(y.cpu())
    return torch.cat(logits).double().numpy(), torch.cat(labels).numpy()


def margins(run: Run, net: Callable[[Tensor], Tensor], data: Data) -> Margins:
    """How far each image's (or pixel's) second logit is above its first, and the labels; both
    [N]. Pixels of no class are left out.
    """
    logits, labels = logits_of(run, net, data)
    margin, label = (logits[:, 1] - logits[:, 0]).ravel(), labels.ravel()
    return margin[label >= 0], label[label >= 0]


def plain_error(margin: Array, labels: Labels) -> float:
    """Share of the images (or pixels) whose margin has the wrong sign."""
    return float(np.mean((margin > 0) != labels))


def balanced_error(margin: Array, labels: Labels, threshold: float = 0.0) -> float:
    """Share of a label's images on the wrong side of the threshold, as the mean over both
    labels.
    """
    errors = [np.mean((margin[labels == label] > threshold) != bool(label)) for label in (0, 1)]
    return float(np.mean(errors))


def auc(margin: Array, labels: Labels) -> float:
    """Probability that an image of the category has the larger margin than one of the background;
    ties count half (Mann and Whitney).
    """
    positive = int((labels == 1).sum())
    negative = len(labels) - positive
    # Mann and Whitney's U by ranks instead of all pairs; a tie's ranks are their mean. Not by
    # scipy.stats, which takes two seconds to import in every worker.
    _, place, count = np.unique(margin, return_inverse=True, return_counts=True)
    mean_rank = count.cumsum() - (count - 1) / 2
    ranks = mean_rank[place][labels == 1].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * negative))


def line_through(margin: Array, own: Array) -> tuple[float, float]:
    """Slope and value at 0 of the line of least squares through margins against `own`, those of
    another network on the same images; NaN where `own` are all one.
    """
    spread = own - own.mean()
    if not spread.any():
        return float("nan"), float("nan")
    slope = float((spread * margin).sum() / np.square(spread).sum())
    return slope, float(margin.mean() - slope * own.mean())


def foreground_iou(margin: Array, labels: Labels) -> float:
    """Intersection over union of the pixels predicted and labelled as foreground."""
    predicted, true = margin > 0, labels == 1
    return float((predicted & true).sum() / max((predicted | true).sum(), 1))


def best_threshold(margin: Array, labels: Labels) -> float:
    """The threshold of least balanced error on these images; where several are as good, the middle
    of the widest gap between margins.
    """
    # sorted; of each image its place among them
    points, index = np.unique(margin, return_inverse=True)

    def below(label: int) -> NDArray[np.int64]:
        """How many images of a label lie below a threshold before each point, and after the
        last.
        """
        counts = np.bincount(index[labels == label], minlength=len(points))
        return np.concatenate([[0], counts.cumsum()])

    # [points + 1]: for a threshold in each gap, and at both ends
    missed, rejected = below(1), below(0)
    errors = (missed / missed[-1] + 1 - rejected / rejected[-1]) / 2
    middles = (points[1:] + points[:-1]) / 2
    # One candidate in each gap is enough: between two margins no image changes sides.
    thresholds = np.concatenate([[points[0] - 1], middles, [points[-1] + 1]])
    widths = np.concatenate([[0.0], np.diff(points), [0.0]])
    best = np.flatnonzero(errors <= errors.min() + 1e-12)
    return float(thresholds[best[np.argmax(widths[best])]])
