"""Why two networks do or do not fit together: how alike their features are, and what the least help
would mend.

Kornblith et al. (ICML 2019, arXiv:1905.00414) for linear CKA; Lenc and Vedaldi (CVPR 2015,
arXiv:1411.5908) for a learned 1x1 stitch; Li et al. (2016, arXiv:1603.04779) for re-estimated batch
norm. What compatible features want to do without is the measure of how far they are from it.

Departs from the paper: the stitch is trained on the labels of the head's task, not on features, as
in later work on stitching (Bansal et al. 2021).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.pair_diagnostics.similarity import features_of, linear_cka
from methods.pieces.batch_norm_statistics import re_estimated
from methods.pieces.matrix_scores import mean_scored
from methods.pieces.recombined_networks import Found, OfNetworks, leave
from orchestrator import MatrixSpec, Metric, Run, Trial, axis, one_cycle, roles, sgd
from orchestrator.parts.stacked_heads import HeadBank

SCORES = ("joined", "re_estimated", "stitched", "fine_tuned")


class PairDiagnostics(OfNetworks):
    """For every extractor with every head, on the images of the head's task: accuracy as joined;
    with batch norm's statistics re-estimated on unlabelled training images; after learning a 1x1
    stitch between frozen parts; after fine-tuning the head. And the linear CKA of every two
    extractors on the test images of the row's task.
    """

    name = "pair_diagnostics"
    tasks = roles("tasks", at_least=1)
    metrics = (
        Metric("cka", headline=True),
        *(Metric(f"{name}_accuracy", headline=True) for name in SCORES),
    )
    matrices = (
        MatrixSpec("cka", "extractor", "extractor"),
        *(MatrixSpec(name, "extractor", "head", headline=name == "stitched") for name in SCORES),
    )

    samples: int = axis(
        500,
        over=(50, 500, 2000),
        smoke=20,
        help="labelled images of the head's task that a stitch or a head is trained on",
    )
    steps: int = axis(300, over=(100, 300), smoke=2, help="of training a stitch, or a head")
    batch: int = axis(64, over=(32, 64), help="images a step")
    lr: float = axis(
        0.05, over=(0.01, 0.05), help="highest learning rate of the one-cycle schedule"
    )
    compared: int = axis(
        1000, over=(500, 1000), smoke=50, help="test images that CKA is computed on"
    )

    def check(self, trial: Trial) -> Iterable[str]:
        yield from super().check(trial)
        if self.compared < 2:
            yield f"compared={self.compared} images say nothing about similarity"

    def train(self, run: Run) -> None:
        found = self.found(run)
        n = len(found.networks)
        rows = {task.name: task for task in found.tasks}
        cka = np.full((n, n), np.nan)
        extractors = [net.extractor(str(self.split)) for net in found.networks]
        for task in rows.values():
            alike = linear_cka(
                [features_of(run, e, task.test, self.compared) for e in extractors]
            ).numpy()
            mine = [i for i, one in enumerate(found.tasks) if one.name == task.name]
            cka[mine] = alike[mine]
        scores, notes = self.scores(run, found, extractors)
        others = ~np.eye(n, dtype=bool)
        for name, values, why in (
            ("cka", cka, {}),
            *((name, scores[name], notes) for name in SCORES),
        ):
            leave(run, found, name, values, why)
            metric: Any = {
                name if name == "cka" else f"{name}_accuracy": mean_scored(values[others])
            }
            run.log(**metric)

    def scores(
        self, run: Run, found: Found, extractors: list[Any]
    ) -> tuple[dict[str, Any], dict[tuple[int, int], str]]:
        """By name, accuracies [extractor, head], and why a pair has none. A network with its own
        head needs no help and keeps its own accuracy.
        """
        n, split = len(extractors), str(self.split)
        values, notes = {name: np.full((n, n), np.nan) for name in SCORES}, {}
        for j, (net, task) in enumerate(zip(found.networks, found.tasks, strict=True)):
            head, few = (
                net.head(split),
                task.train.few(min(self.samples, run.count(task.train)), seed=run.seed),
            )
            shape = net.shape(split, run.image(task))
            for i, extractor in enumerate(extractors):
                if i == j:
                    for name in SCORES:
                        values[name][i, j] = run.accuracy(net, task.test)
                    continue
                mine = found.networks[i].shape(split, run.image(task))
                if mine[1:] != shape[1:]:
                    notes[i, j] = (
                        f"features of {_shown(mine)} and {_shown(shape)} differ in size, which no 1x1 stitch mends"
                    )
                    continue
                parts = {"extractor": extractor, "head": head}
                stitch = Stitch(channels=mine[0], features=shape[0])
                self.fit(run, f"stitch {i}-{j}", {"stitch": stitch}, parts, few)
                values["stitched"][i, j] = run.accuracy(
                    nn.Sequential(extractor, stitch, head), task.test
                )
                if refused := HeadBank([head], run.device).refusals((1, *mine)):
                    notes[i, j] = refused[0]
                    continue
                joined = nn.Sequential(extractor, head)
                values["joined"][i, j] = run.accuracy(joined, task.test)
                values["re_estimated"][i, j] = run.accuracy(
                    re_estimated(run, joined, task.train), task.test
                )
                tuned = copy.deepcopy(head)
                self.fit(run, f"fine-tune {i}-{j}", {"head": tuned}, {"extractor": extractor}, few)
                values["fine_tuned"][i, j] = run.accuracy(
                    nn.Sequential(extractor, tuned), task.test
                )
        return values, notes

    def fit(
        self,
        run: Run,
        stage: str,
        nets: dict[str, nn.Module],
        frozen: dict[str, nn.Module],
        data: Any,
    ) -> None:
        run.fit(
            stage,
            nets,
            self.loss,
            data,
            frozen=frozen,
            optimizer=sgd(self.lr),
            schedule=one_cycle(),
            steps=self.steps,
            batch=self.batch,
        )

    def loss(self, nets: Any, batch: Any) -> Tensor:
        features = nets["extractor"](batch.x)
        return F.cross_entropy(
            nets["head"](nets["stitch"](features) if "stitch" in nets else features), batch.y
        )


class Stitch(nn.Module):
    """One linear map a position: features [B, C, H, W] or [B, C] to as many as the head reads; the
    identity to begin with, as far as that goes.
    """

    def __init__(self, *, channels: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(features, channels))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
