"""Why two networks do or do not fit together: how similar their features are, and how much a little
training helps.

Kornblith et al. (ICML 2019, arXiv:1905.00414) for linear CKA; Lenc and Vedaldi (CVPR 2015,
arXiv:1411.5908) for a learned 1x1 stitch; Li et al. (2016, arXiv:1603.04779) for re-estimated batch
norm. Compatible features should need none of these; what each adds shows what they lack.

What it costs: for each extractor with each foreign head two short trainings, of a stitch and of a
head; none is kept. The 40 trials of `sweeps/compatible_diagnostics.py` took 8 minutes on one core
of an AMD EPYC, 2026-11-30, without the networks that they join.

Departs from the paper: the stitch is trained on the labels of the head's task, not on features, as
in later work on stitching (Bansal et al. 2021).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from methods.pair_diagnostics.similarity import features_of, linear_cka
from methods.pieces.batch_norm_statistics import re_estimated
from methods.pieces.fixed_features import features_or_images
from methods.pieces.losses import cross_entropy
from methods.pieces.matrix_scores import mean_score
from methods.pieces.recombined_networks import NetworkMeasurement, TrainedNetworks
from orchestrator import (
    Augmentation,
    Data,
    Features,
    MatrixSpec,
    Metric,
    Run,
    StackedHeads,
    Trial,
    augmentation_axis,
    axis,
    in_order,
    one_cycle,
    roles,
    sgd,
)

# On the images of the head's task, by name.
SCORES = {
    "joined": "Accuracy of an extractor with a foreign head",
    "re_estimated": "The same after batch norm's statistics are re-estimated",
    "stitched": "Accuracy of extractor and foreign head after learning a 1x1 stitch between them",
    "fine_tuned": "Accuracy of an extractor with a foreign head after fine-tuning the head",
}


class PairDiagnostics(NetworkMeasurement):
    """For every extractor with every head, on the images of the head's task: accuracy as joined;
    with batch norm's statistics re-estimated on unlabelled training images; after learning a 1x1
    stitch between frozen parts; after fine-tuning the head. And the linear CKA of every two
    extractors on the test images of the row's task.
    """

    name = "pair_diagnostics"
    revision = 2  # 2: features of the few images are computed once, in other batches
    tasks = roles("tasks", at_least=1)
    metrics = (
        Metric(
            "cka",
            headline=True,
            help="Linear CKA of two extractors: 1 the same features up to a rotation, 0 unrelated.",
        ),
        *(
            Metric(f"{name}_accuracy", headline=True, help=f"{what}, mean over pairs.")
            for name, what in SCORES.items()
        ),
    )
    matrices = (
        MatrixSpec(
            "cka",
            "extractor",
            "extractor",
            help="Linear CKA of two extractors on images of the row's task.",
        ),
        *(
            MatrixSpec(name, "extractor", "head", headline=name == "stitched", help=f"{what}.")
            for name, what in SCORES.items()
        ),
    )

    samples: int = axis(
        500,
        over=(50, 500, 2000),
        smoke=20,
        help="N, labelled images of the head's task that a stitch or a head is trained on; more: "
        "both recover more",
    )
    steps: int = axis(
        300,
        over=(100, 300),
        smoke=2,
        help="of training a stitch or a head; more: both recover more",
    )
    batch: int = axis(64, over=(32, 64), help="images per step")
    lr: float = axis(
        0.05, over=(0.01, 0.05), help="highest learning rate of the one-cycle schedule"
    )
    augmentation: Augmentation = augmentation_axis()
    compared: int = axis(
        1000, over=(500, 1000), smoke=50, help="test images that CKA is computed on"
    )

    def check(self, trial: Trial) -> Iterable[str]:
        yield from super().check(trial)
        if self.compared < 2:
            yield f"compared={self.compared} images say nothing about similarity"

    def train(self, run: Run) -> None:
        networks = self.trained_networks(run)
        others = ~np.eye(len(networks.modules), dtype=bool)
        cka = self.similarities(run, networks)
        networks.measure(run, "cka", cka)
        run.log(cka=mean_score(cka[others]))
        scores, notes = self.scores(run, networks)
        for name in SCORES:
            networks.measure(run, name, scores[name], notes)
            metric: dict[str, Any] = {f"{name}_accuracy": mean_score(scores[name][others])}
            run.log(**metric)

    def similarities(self, run: Run, networks: TrainedNetworks) -> NDArray[np.float64]:
        """Linear CKA of every two extractors [n, n], each row on the images of its own task."""
        cka = np.full((len(networks.modules), len(networks.modules)), np.nan)
        # Once a task, not once a network: features on the same images are computed once.
        for task in {task.name: task for task in networks.tasks}.values():
            features = [
                features_of(run, extractor, task.test, self.compared)
                for extractor in networks.extractors
            ]
            # rows
            on_its_images = [i for i, other in enumerate(networks.tasks) if other.name == task.name]
            cka[on_its_images] = linear_cka(features).numpy()[on_its_images]
        return cka

    def scores(
        self, run: Run, networks: TrainedNetworks
    ) -> tuple[dict[str, NDArray[np.float64]], dict[tuple[int, int], str]]:
        """By name, accuracies [extractor, head], and why a pair has none. A network with its own
        head needs no help and keeps its own accuracy.
        """
        n = len(networks.modules)
        scores = {name: np.full((n, n), np.nan) for name in SCORES}
        notes: dict[tuple[int, int], str] = {}
        for j, (net, task) in enumerate(zip(networks.modules, networks.tasks, strict=True)):
            num_samples = min(self.samples, run.count(task.train))
            few = task.train.few(num_samples, seed=run.seed)
            for i in range(n):
                if i == j:
                    pair, reason = dict.fromkeys(SCORES, run.accuracy(net, task.test)), ""
                else:
                    pair, reason = self.score_pair(run, networks, i, j, few)
                for name, accuracy in pair.items():
                    scores[name][i, j] = accuracy
                if reason:
                    notes[i, j] = reason
        return scores, notes

    def score_pair(
        self, run: Run, networks: TrainedNetworks, i: int, j: int, few: Data
    ) -> tuple[dict[str, float], str]:
        """Accuracies of extractor i with head j, as many as there can be, and why some cannot."""
        task, pair = networks.tasks[j], f"{i}-{j}"
        extractor = networks.modules[i].extractor(networks.split)
        head = networks.modules[j].head(networks.split)
        given = networks.modules[i].shape(networks.split, run.image(task))
        wanted = networks.modules[j].shape(networks.split, run.image(task))
        if given[1:] != wanted[1:]:
            shapes = " and ".join("x".join(map(str, shape)) for shape in (given, wanted))
            return {}, f"features of {shapes} differ in size, which no 1x1 stitch mends"
        stitch = Stitch(channels=given[0], features=wanted[0])
        # Both trainings read the same features of the same few images.
        data = features_or_images(run, extractor, few.augmented(self.augmentation))
        # Both sides frozen: all that a stitch can show is whether a linear map is what is missing.
        frozen = {"extractor": extractor, "head": head}
        self.fit(run, f"stitch {pair}", {"stitch": stitch}, frozen, data)
        heads: dict[str, nn.Module] = {"stitched": nn.Sequential(stitch, head)}
        stack = StackedHeads([head], run.device, lambda _: wanted)
        if refused := stack.refusals((1, *given)):
            # Without a stitch the numbers of channels must be equal.
            return accuracies_behind(run, extractor, heads, task.test), refused[0]
        tuned = copy.deepcopy(head)  # the network's own head stays as it is for the pairs to come
        self.fit(run, f"fine-tune {pair}", {"head": tuned}, {"extractor": extractor}, data)
        heads |= {"joined": head, "fine_tuned": tuned}
        scores = accuracies_behind(run, extractor, heads, task.test)
        joined = nn.Sequential(extractor, head)
        scores["re_estimated"] = run.accuracy(re_estimated(run, joined, task.train), task.test)
        return scores, ""

    def fit(
        self,
        run: Run,
        stage: str,
        nets: Mapping[str, nn.Module],
        frozen: Mapping[str, nn.Module],
        data: Data | Features,
    ) -> None:
        """Train the stitch, or the head, with everything else frozen."""
        run.fit(
            stage,
            nets,
            partial(self.loss, is_computed=isinstance(data, Features)),
            data,
            frozen=frozen,
            optimizer=sgd(self.lr),
            schedule=one_cycle(),
            steps=self.steps,
            batch=self.batch,
        )

    def loss(self, nets: Any, batch: Any, *, is_computed: bool) -> Tensor:
        # [B, C, H, W]; [B, C] after the pooling
        features = batch.x if is_computed else nets["extractor"](batch.x)
        if "stitch" in nets:
            features = nets["stitch"](features)
        return cross_entropy(nets["head"](features), batch.y)


@torch.no_grad()
def accuracies_behind(
    run: Run, extractor: nn.Module, heads: Mapping[str, nn.Module], data: Data
) -> dict[str, float]:
    """The accuracy of each head behind one extractor, whose features are computed once."""
    for module in (extractor, *heads.values()):
        module.to(run.device).eval()
    hits, count = dict.fromkeys(heads, 0), 0
    for x, y in in_order(data, run.device):
        features = extractor(x)
        count += int((y >= 0).sum())  # where labels are masks, pixels of no class do not count
        for name, head in heads.items():
            hits[name] += int((head(features).argmax(1) == y).sum())
    return {name: hits[name] / count for name in heads}


class Stitch(nn.Module):
    """One linear map applied at each position: `channels` features [B, C, H, W] or [B, C] to the
    `features` that the head reads. It starts as the identity (cut off where the two differ).
    """

    def __init__(self, *, channels: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(features, channels))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)
