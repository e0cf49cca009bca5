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

from orchestrator.data.batches import in_order, relabelled
from orchestrator.errors import MethodError
from orchestrator.parts.as_it_was import as_they_were, on_device
from orchestrator.parts.stacked_heads import StackedHeads
from orchestrator.spec.task import Task, relabel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PairScores:
    """Scores of every pair, its images chosen in one way. All arrays are [extractor, head]; NaN
    where a pair has no image or its shapes do not join.

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
        # Where a head guesses with its own extractor, there is no scale to put the pair on.
        return np.where(self.own > self.chance, score, np.nan)


@dataclass(frozen=True)
class Scores:
    """The scores for both ways of choosing a pair's images.

    `by_extractor`: images of the extractor's task whose class the head knows, labels re-indexed to
    the head. `by_head`: all images of the head's task; the extractor may see images of classes it
    was never trained on. `unjoined`: why a pair (extractor, head) has no score at all, where the
    features of the one cannot enter the other.
    """

    by_extractor: PairScores
    by_head: PairScores
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
    together; networks on one task share its image set. Afterwards extractors and heads are in eval
    mode, and where they were.
    """
    if not len(extractors) == len(heads) == len(tasks):
        raise MethodError(
            f"recombine: {len(extractors)} extractors, {len(heads)} heads and {len(tasks)} tasks; "
            "give one of each a network"
        )
    # What is tested, not what it is called: the same test images under two names are one set.
    image_sets = {task.as_tested: task for task in tasks}
    numbers = {key: number for number, key in enumerate(image_sets)}
    set_of = np.array([numbers[task.as_tested] for task in tasks])  # [network]
    n = len(tasks)
    measured = _Measured.nothing(n, len(image_sets))
    labels = [LabelsByHead(images, tasks, device) for images in image_sets.values()]
    with as_they_were(heads):
        stack = StackedHeads(heads, device, _ShapeFor(extractors, tasks, device))
        for i, extractor in enumerate(extractors):
            # One at a time: all of them may be more than a device holds.
            with on_device(extractor, device):
                extractor.eval()
                for s, images in enumerate(image_sets.values()):
                    # A pair is scored on the images of either side; a network's own head on every
                    # set, as the measure of what is possible there.
                    wanted = [j for j in range(n) if j == i or s in (set_of[i], set_of[j])]
                    answers = _answers(extractor, stack, labels[s], wanted, images, device)
                    measured.add(i, s, wanted, answers)

    row, column = np.indices((n, n))  # [extractor, head]
    chance = np.broadcast_to([1 / task.num_classes for task in tasks], (n, n)).copy()
    by_extractor = measured.scores_on(set_of[row], chance)
    by_head = measured.scores_on(set_of[column], chance)
    return Scores(by_extractor, by_head, measured.unjoined)


@dataclass(frozen=True)
class _ShapeFor:
    """The shape of one image's features from a network's own extractor."""

    extractors: Sequence[nn.Module]
    tasks: Sequence[Task]
    device: torch.device

    def __call__(self, network: int) -> tuple[int, ...]:
        x, _ = next(in_order(self.tasks[network].test, self.device))
        extractor = self.extractors[network].eval()
        with on_device(extractor, self.device):
            return tuple(extractor(x[:2]).shape[1:])


@dataclass(frozen=True)
class _Measured:
    """Right answers on every image set, NaN where nothing was measured: `correct` of all outputs
    and `restricted` to the common classes, both [extractor, image set, head]; `counts` are the
    images behind them, [image set, head]; `unjoined` as in `Scores`.
    """

    correct: Array
    restricted: Array
    counts: Array
    unjoined: dict[tuple[int, int], str]

    @staticmethod
    def nothing(num_networks: int, num_sets: int) -> _Measured:
        """Before anything is measured."""
        correct, restricted = np.full((2, num_networks, num_sets, num_networks), np.nan)
        return _Measured(correct, restricted, np.full((num_sets, num_networks), np.nan), {})

    def add(self, extractor: int, image_set: int, heads: list[int], answers: _Answers) -> None:
        """What one extractor and these heads answered on one image set."""
        self.correct[extractor, image_set, heads] = answers.correct[heads]
        self.restricted[extractor, image_set, heads] = answers.restricted[heads]
        self.counts[image_set, heads] = answers.count[heads]
        for head in heads:
            if head in answers.refusals:
                self.unjoined[extractor, head] = answers.refusals[head]

    def scores_on(self, image_set: NDArray[np.int64], chance: Array) -> PairScores:
        """Scores where entry [i, j] is measured on the images of `image_set[i, j]`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            # [extractor, image set, head]; 0 / 0 is NaN: no image to count
            accuracy = self.correct / self.counts[None]
            restricted = self.restricted / self.counts[None]
        row, column = np.indices(chance.shape)  # [extractor, head]
        return PairScores(
            # From three axes to [extractor, head], by index arrays.
            accuracy=accuracy[row, image_set, column],
            restricted=restricted[row, image_set, column],
            own=accuracy[column, image_set, column],  # the head's own extractor, on the same images
            chance=chance,
            count=self.counts[image_set, column].astype(np.int64),
        )


class LabelsByHead:
    """Labels of one image set as every head numbers them; the head of network i has the classes of
    task i.
    """

    def __init__(self, images: Task, tasks: Sequence[Task], device: torch.device) -> None:
        tables = [relabel(images, task.class_names) for task in tasks]
        known = torch.zeros(len(tasks), max(task.num_classes for task in tasks), dtype=torch.bool)
        for head, table in enumerate(tables):
            known[head, [output for output in table if output >= 0]] = True
        # [head, class of the images]: the head's output, or negative
        self._tables = torch.tensor(np.array(tables), device=device)
        # [head, output]: whether the images have the output's class
        self._known = known.to(device)

    def count(self, heads: Sequence[int], y: Tensor) -> Array:
        """How many of the images with labels `y` have a class that the head knows: [heads]."""
        return _sums(relabelled(self._tables[list(heads)], y) >= 0)

    def correct(self, heads: Sequence[int], logits: Tensor, y: Tensor) -> tuple[Array, Array]:
        """Images (where labels are masks: pixels) whose largest logit is the label's: of all
        outputs, and of those whose class the images have. `logits` are [heads, B, outputs, ...].
        """
        label = relabelled(self._tables[list(heads)], y)  # [heads, B, ...]
        known = self._known[list(heads), : logits.shape[2]]  # [heads, outputs]
        while known.ndim < logits.ndim - 1:
            known = known.unsqueeze(-1)
        # -inf is never the largest, so the argmax is among the outputs whose class the images have.
        among_known = logits.masked_fill(~known.unsqueeze(1), -torch.inf).argmax(2)
        correct = logits.argmax(2) == label
        return _sums(correct), _sums((among_known == label) & (label >= 0))


def _sums(hits: Tensor) -> Array:
    """[heads, B, ...] to [heads]."""
    return hits.flatten(1).sum(1).cpu().numpy().astype(np.float64)


@dataclass(frozen=True)
class _Answers:
    """Of one extractor with every head on one image set: right answers, those among the common
    classes only (NaN where features and head do not join), and images counted, each [head]; and by
    head why it does not join.
    """

    correct: Array
    restricted: Array
    count: Array
    refusals: Mapping[int, str]


def _answers(
    extractor: nn.Module,
    stack: StackedHeads,
    labels: LabelsByHead,
    wanted: Sequence[int],
    images: Task,
    device: torch.device,
) -> _Answers:
    """Answers of the wanted heads; those of the others stay 0."""
    correct, restricted, count = np.zeros((3, len(stack)))
    refusals: dict[int, str] = {}
    for x, y in in_order(images.test, device):
        features = extractor(x)  # [B, features...]
        # All batches have one shape but for B.
        refusals = refusals or stack.refusals(tuple(features.shape))
        count[wanted] += labels.count(wanted, y)
        for heads, logits in stack.logits(features, wanted):
            of_all, of_known = labels.correct(heads, logits, y)
            correct[heads] += of_all
            restricted[heads] += of_known
    correct[list(refusals)] = restricted[list(refusals)] = np.nan
    return _Answers(correct, restricted, count, refusals)
