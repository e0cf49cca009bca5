"""Extractor x head: how well the extractor of one network serves the head of another, with no
training in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from orchestrator.data.batches import in_order
from orchestrator.errors import MethodError
from orchestrator.parts.stacked_heads import HeadBank
from orchestrator.spec.task import Task, relabel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Protocol:
    """One way of choosing the images of a pair. All arrays are [extractor, head]; NaN where a pair
    has no image or its shapes do not join.

    `accuracy`: argmax over all outputs of the head. `restricted`: argmax over the common classes
    only, an easier score. `own`: the head with its own extractor on the same images. `chance`: 1 /
    number of the head's classes. `normalised`: (accuracy - chance) / (own - chance); 0 is chance, 1
    says that recombination costs nothing.
    """

    accuracy: Array
    restricted: Array
    own: Array
    chance: Array
    count: NDArray[np.int64]

    @property
    def normalised(self) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            score = (self.accuracy - self.chance) / (self.own - self.chance)
        return np.where(self.own > self.chance, score, np.nan)


@dataclass(frozen=True)
class Scores:
    """Both protocols. `by_extractor`: images of the extractor's task whose class the head knows,
    labels re-indexed to the head. `by_head`: all images of the head's task; the extractor may see
    images of classes it was never trained on. `unjoined`: why a pair (extractor, head) has no score
    at all, where the features of the one cannot enter the other."""

    by_extractor: Protocol
    by_head: Protocol
    unjoined: Mapping[tuple[int, int], str]


@torch.no_grad()
def recombine(
    extractors: Sequence[nn.Module],
    heads: Sequence[nn.Module],
    tasks: Sequence[Task],
    device: torch.device,
) -> Scores:
    """Score every extractor with every head on test images; entry i of the three lists belongs to
    network i.

    Features are computed once an extractor and image set, and all heads are applied to them
    together; networks on one task share its image set.
    """
    if not len(extractors) == len(heads) == len(tasks):
        raise MethodError(
            f"recombine: {len(extractors)} extractors, {len(heads)} heads and {len(tasks)} tasks; give one of each a network"
        )
    sets = {(t.digest, t.class_names): t for t in tasks}
    place = {key: i for i, key in enumerate(sets)}
    of = np.array([place[(t.digest, t.class_names)] for t in tasks])
    n, bank = len(tasks), HeadBank(heads, device)
    hits, easy, counts = (
        np.full(shape, np.nan) for shape in ((n, len(sets), n), (n, len(sets), n), (len(sets), n))
    )  # extractor, image set, head
    unjoined: dict[tuple[int, int], str] = {}
    for s, images in enumerate(sets.values()):
        labels = Labels(
            [relabel(images, task.class_names) for task in tasks],
            [task.num_classes for task in tasks],
            device,
        )
        for i in range(n):
            # A pair is scored on the images of either side; a network's own head on every set, as
            # the measure of what is possible there.
            wanted = [j for j in range(n) if j == i or of[i] == s or of[j] == s]
            hits[i, s, wanted], easy[i, s, wanted], counts[s, wanted], refused = _count(
                extractors[i], bank, labels, wanted, images, device
            )
            unjoined |= {(i, j): why for j, why in refused.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy, restricted = hits / counts[None], easy / counts[None]
    chance = np.array([[1 / t.num_classes for t in tasks]] * n)
    rows, columns = np.indices((n, n))

    def protocol(image_set: NDArray[np.int64]) -> Protocol:
        own, count = (
            accuracy[columns, image_set, columns],
            counts[image_set, columns].astype(np.int64),
        )
        return Protocol(
            accuracy[rows, image_set, columns],
            restricted[rows, image_set, columns],
            own,
            chance,
            count,
        )

    return Scores(by_extractor=protocol(of[rows]), by_head=protocol(of[columns]), unjoined=unjoined)


class Labels:
    """Labels of one image set as every head numbers them."""

    def __init__(
        self, tables: Sequence[Sequence[int]], outputs: Sequence[int], device: torch.device
    ) -> None:
        self.tables = torch.tensor(
            np.array(tables), device=device
        )  # [head, class of the images]: the head's output, or negative
        known = torch.zeros(len(outputs), max(outputs), dtype=torch.bool)
        for head, table in enumerate(tables):
            known[head, [label for label in table if label >= 0]] = True
        self.known = known.to(device)  # [head, output]: whether the images have the output's class

    def count(self, places: Sequence[int], y: Tensor) -> Array:
        """How many of the images with labels `y` have a class that the head knows; [places]."""
        return self._numbers(self.tables[list(places)][:, y] >= 0)

    def hits(self, places: Sequence[int], logits: Tensor, y: Tensor) -> tuple[Array, Array]:
        """Images (where labels are masks: pixels) whose largest logit is the label's: of all
        outputs, and of those whose class the images have; logits [places, B, outputs, ...]."""
        label, known = self.tables[list(places)][:, y], self.known[list(places), : logits.shape[2]]
        easy = logits.masked_fill(
            ~known.view(len(places), 1, -1, *[1] * (logits.ndim - 3)), -torch.inf
        ).argmax(2)
        return self._numbers(logits.argmax(2) == label), self._numbers(
            (easy == label) & (label >= 0)
        )

    def _numbers(self, hits: Tensor) -> Array:
        return hits.flatten(1).sum(1).cpu().numpy().astype(np.float64)


def _count(
    extractor: nn.Module,
    bank: HeadBank,
    labels: Labels,
    wanted: Sequence[int],
    images: Task,
    device: torch.device,
) -> tuple[Array, Array, Array, dict[int, str]]:
    """Hits of one extractor with the wanted heads on one image set: argmax over all outputs, over
    common ones (NaN where they do not join), and images counted, each [wanted]; and by head why it
    could not be joined."""
    extractor = extractor.to(device).eval()
    hits, easy, counts = np.zeros((3, len(bank)))
    refused: dict[int, str] = {}
    for x, y in in_order(images.test, device):
        features = extractor(x)
        refused = refused or bank.refusals(tuple(features.shape))
        counts[wanted] += labels.count(wanted, y)
        for places, logits in bank.logits(features, wanted):
            found = labels.hits(places, logits, y)
            hits[places] += found[0]
            easy[places] += found[1]
    hits[list(refused)] = easy[list(refused)] = np.nan
    return (
        hits[wanted],
        easy[wanted],
        counts[wanted],
        {j: why for j, why in refused.items() if j in wanted},
    )
