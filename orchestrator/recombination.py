"""Extractor x head: how well the extractor of one network serves the head of another, with no training in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from orchestrator.data.batches import in_order
from orchestrator.errors import MethodError
from orchestrator.task import Task, relabel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Protocol:
    """One way of choosing the images of a pair. All arrays are [extractor, head]; NaN where a pair has no image or its shapes do not join.

    `accuracy`: argmax over all outputs of the head. `restricted`: argmax over the common classes only, an easier score. `own`: the head with its own
    extractor on the same images. `chance`: 1 / number of the head's classes. `normalised`: (accuracy - chance) / (own - chance); 0 is chance, 1 says
    that recombination costs nothing.
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
    """Both protocols. `by_extractor`: images of the extractor's task whose class the head knows, labels re-indexed to the head. `by_head`: all images
    of the head's task; the extractor may see images of classes it was never trained on."""

    by_extractor: Protocol
    by_head: Protocol


@torch.no_grad()
def recombine(extractors: Sequence[nn.Module], heads: Sequence[nn.Module], tasks: Sequence[Task], device: torch.device) -> Scores:
    """Score every extractor with every head on test images; entry i of the three lists belongs to network i.

    Features are computed once an extractor and image set; networks on one task share its image set.
    """
    if not len(extractors) == len(heads) == len(tasks):
        raise MethodError(f"recombine: {len(extractors)} extractors, {len(heads)} heads and {len(tasks)} tasks; give one of each a network")
    sets = {(t.digest, t.class_names): t for t in tasks}
    place = {key: i for i, key in enumerate(sets)}
    of = [place[(t.digest, t.class_names)] for t in tasks]
    n = len(tasks)
    shape = (n, len(sets), n)  # extractor, image set, head
    hits, easy, counts = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros((len(sets), n), dtype=np.int64)
    for s, images in enumerate(sets.values()):
        shared = [torch.tensor(relabel(images, tasks[j].class_names), device=device) for j in range(n)]
        for i in range(n):
            # A pair is scored on the images of either side; a network's own head on every set, as the measure of what is possible there.
            wanted = [j for j in range(n) if j == i or of[i] == s or of[j] == s]
            hits[i, s], easy[i, s], found = _count(extractors[i], heads, shared, wanted, images, device)
            counts[s, wanted] = found[wanted]
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy, restricted = hits / counts[None], easy / counts[None]
    chance = np.array([[1 / t.num_classes for t in tasks]] * n)
    rows, columns = np.indices((n, n))
    where = np.array(of)

    def protocol(image_set: NDArray[np.int64]) -> Protocol:
        own = accuracy[columns, image_set, columns]
        return Protocol(accuracy[rows, image_set, columns], restricted[rows, image_set, columns], own, chance, counts[image_set, columns])

    return Scores(by_extractor=protocol(where[rows]), by_head=protocol(where[columns]))


def _count(
    extractor: nn.Module, heads: Sequence[nn.Module], shared: Sequence[torch.Tensor], wanted: Sequence[int], images: Task, device: torch.device
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Hits of one extractor with the wanted heads on one image set: argmax over all outputs, over common ones, and images counted; each [heads]."""
    extractor = extractor.to(device).eval()
    hits, easy = np.full(len(heads), np.nan), np.full(len(heads), np.nan)
    counts = np.zeros(len(heads), dtype=np.int64)
    hits[wanted] = easy[wanted] = 0
    for x, y in in_order(images.test, device):
        features = extractor(x)
        for j in wanted:
            label = shared[j][y]
            known = label >= 0
            counts[j] += int(known.sum())
            common = shared[j][shared[j] >= 0]
            try:
                logits = heads[j].to(device).eval()(features)
            except RuntimeError:  # shapes that do not join: the pair has no score
                hits[j] = easy[j] = np.nan
                continue
            hits[j] += int((logits.argmax(1) == label)[known].sum())
            if len(common):
                easy[j] += int((common[logits[:, common].argmax(1)] == label)[known].sum())
    return hits, easy, counts
