"""A classifier trained on the features of one extractor, used unchanged on those of others, of
other architectures too.

Gygli, Uijlings, Ferrari: Towards Reusable Network Components by Learning Compatible
Representations, AAAI 2021, arXiv:2004.03898, second application.

Departs from the paper: its procedure could not be read and is our specification's. Extractors end
with a projection to one feature shape (`methods.networks.projected`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from methods.compatible_features.compatible_features import CompatibleFeatures
from methods.compatible_features.ingredients import networks
from methods.pieces.matrix_scores import lowest_scored, mean_scored
from orchestrator import (
    Kept,
    MatrixSpec,
    Method,
    Metric,
    Network,
    Run,
    Trial,
    axis,
    one_cycle,
    roles,
    sgd,
)
from orchestrator.errors import nearest

TRAINING = CompatibleFeatures(ingredients=frozenset({"rotation", "common"}), split="stage3")


class MovedClassifier(Method):
    """Train a head for the task `new` on each of several frozen extractors, and score every head on
    every extractor.

    The extractors are trained by `extractors` on the tasks behind `new`, one each; `other_networks`
    there gives them other architectures.
    """

    name = "moved_classifier"
    tasks = roles("new", "learned", at_least=3)
    metrics = (
        Metric("kept_share", headline=True),
        Metric("moved_accuracy", headline=True),
        Metric("own_accuracy", headline=True),
        Metric("worst_kept_share", headline=True),
        Metric("kept_share_from", by=("extractor",)),
    )
    components = (Kept("head", by=("extractor",)),)
    matrices = (
        MatrixSpec("accuracy", "extractor", "head trained on", headline=True),
        MatrixSpec("kept", "extractor", "head trained on"),
    )

    extractors: CompatibleFeatures = axis(
        TRAINING,
        smoke=TRAINING.replace(epochs=1, split="stage2"),
        help="how the extractors are trained",
    )
    split: str = axis("stage3", smoke="stage2", help="where the networks are cut")
    epochs: int = axis(20, over=(10, 20), smoke=1, help="of each new head")
    batch: int = axis(64, over=(32, 64), help="images a step")
    lr: float = axis(
        0.05, over=(0.01, 0.05), help="highest learning rate of the one-cycle schedule"
    )

    def check(self, trial: Trial) -> Iterable[str]:
        learned = trial.replace(method=self.extractors, tasks=trial.tasks[1:])
        yield from self.extractors.check(learned)
        if (
            self.extractors.other_networks
            and len(self.extractors.other_networks) != len(learned.tasks) - 1
        ):
            return
        for spec in networks(self.extractors, learned).values() if trial.network else ():
            if self.split not in spec.splits:
                yield f"{spec.name} has no split point {self.split!r}. {nearest(self.split, spec.splits)}"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return {"extractors": trial.replace(method=self.extractors, tasks=trial.tasks[1:])}

    def train(self, run: Run) -> None:
        new, *learned = run.tasks
        found = [run.need("extractors").component("network", task=task.name) for task in learned]
        specs = networks(self.extractors, run.need("extractors").trial)
        extractors = [
            cast(Network, component.module()).extractor(self.split) for component in found
        ]
        heads = [
            run.network("new", new, spec=specs[task.name]).head(self.split) for task in learned
        ]
        for task, component, extractor, head in zip(learned, found, extractors, heads, strict=True):
            run.fit(
                f"head on {task.name}",
                {"head": head},
                self.loss,
                new.train,
                frozen={"extractor": extractor},
                optimizer=sgd(self.lr),
                schedule=one_cycle(),
                epochs=self.epochs,
                batch=self.batch,
            )
            run.keep("head", head, by={"extractor": task.name}, requires=component)
        scores = run.recombine(extractors, heads, [new] * len(heads))
        accuracy, kept = scores.by_head.accuracy, scores.by_head.normalised
        names, others = [task.name for task in learned], ~np.eye(len(heads), dtype=bool)
        about: dict[str, Any] = {
            "rows": names,
            "columns": names,
            "chance": scores.by_head.chance,
            "count": scores.by_head.count,
        }
        run.matrix("accuracy", values=accuracy, notes=scores.unjoined, **about)
        run.matrix("kept", values=kept, notes=scores.unjoined, **about)
        run.log(
            kept_share=mean_scored(kept[others]),
            moved_accuracy=mean_scored(accuracy[others]),
            own_accuracy=float(np.diag(accuracy).mean()),
            worst_kept_share=lowest_scored(kept[others]),
        )
        for number, name in enumerate(names):
            run.log(
                kept_share_from=mean_scored(kept[others[:, number], number]), by={"extractor": name}
            )

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return F.cross_entropy(nets["head"](nets["extractor"](batch.x)), batch.y)
