"""A new network whose features work with the classifier, and the gallery, of an old one.

Shen, Xiong, Xia, Soatto: Towards Backward-Compatible Representation Learning, CVPR 2020,
arXiv:2003.11942. The new network is trained with its own classifier and, as a second loss, with the
old network's frozen classifier on the new features (eq. 6), so that a gallery need not be computed
anew.

Departs from the paper: classification of small images in place of faces; both networks are of one
architecture; the second loss sees the new images of old classes only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.fine_tune import FineTune
from orchestrator import (
    IGNORED,
    Kept,
    Method,
    Metric,
    Network,
    Run,
    Task,
    Trial,
    axis,
    one_cycle,
    relabel,
    roles,
    sgd,
)


class BackwardCompatible(Method):
    """Train a network for the task `new` under the influence of the classifier for `old`."""

    name = "backward_compatible"
    tasks = roles("old", "new")
    metrics = (
        Metric("cross_accuracy", headline=True, help="Old classifier on new features."),
        Metric(
            "cross_retrieval",
            headline=True,
            help="Nearest neighbour of new features in a gallery of old ones, by class.",
        ),
        Metric("old_retrieval", headline=True, help="The same with old features for both."),
        Metric("accuracy", headline=True, help="The new network on the new task."),
    )
    components = (Kept("network", by=("task",)),)

    old: FineTune = axis(FineTune(), smoke=FineTune(epochs=1), help="how the old one is trained")
    influence: float = axis(1.0, over=(0.0, 1.0), help="lambda of eq. 6; 0: no compatibility")
    split: str = axis(
        "pool", over=("stage2", "pool"), smoke="stage1", help="where features are had"
    )
    epochs: int = axis(30, over=(10, 30), smoke=1, help="training of the new network")

    def check(self, trial: Trial) -> Iterable[str]:
        if trial.network:
            yield from trial.network.cannot_cut(self.split)
        if self.influence < 0:
            yield f"influence is {self.influence:g}; a loss that is to fall has a weight above 0"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        # Another seed: networks of one seed begin with equal weights, and would be compatible
        # without any influence.
        _, old = trial.replace(method=self.old, tasks=trial.tasks[:1]).copies(2)
        return {"old": old}

    def train(self, run: Run) -> None:
        before, after = run.tasks.old, run.tasks.new
        old = run.need("old").network(task=before.name).to(run.device)
        new = run.network("network", after)
        run.fit(
            "train",
            {"extractor": new.extractor(self.split), "head": new.head(self.split)},
            self.loss,
            after.train.labelled(old=relabel(after, before.class_names)),
            frozen={"old": old.head(self.split)},
            optimizer=sgd(0.1),
            schedule=one_cycle(),
            epochs=self.epochs,
            batch=32,
        )
        crossed = nn.Sequential(new.extractor(self.split), old.head(self.split))
        run.log(
            cross_accuracy=run.accuracy(crossed, before.test),
            cross_retrieval=self.retrieval(run, before, queries=new, gallery=old),
            old_retrieval=self.retrieval(run, before, queries=old, gallery=old),
            accuracy=run.accuracy(new, after.test),
        )
        run.keep("network", new, by={"task": after.name})

    def loss(self, nets: Any, batch: Any) -> dict[str, Tensor]:
        features = nets["extractor"](batch.x)
        own = F.cross_entropy(nets["head"](features), batch.y)
        if not self.influence:
            return {"own": own}
        logits = nets["old"](features)  # [B, old classes]
        # Summed and divided by the batch: a batch may hold no image of an old class.
        old = F.cross_entropy(logits, batch.old, ignore_index=IGNORED, reduction="sum")
        return {"own": own, "old": self.influence * old / len(batch.y)}

    @torch.no_grad()
    def retrieval(self, run: Run, task: Task, *, queries: Network, gallery: Network) -> float:
        """Share of test images whose nearest training image, by cosine, is of their class."""
        found = []
        for net, data in ((queries, task.test), (gallery, task.train)):
            x, y = run.images(data)
            features = net.eval().extractor(self.split)(x).flatten(1)
            found.append((F.normalize(features), y))
        (q, wanted), (g, classes) = found  # [Q, F], [Q], [G, F], [G]
        return float((classes[(q @ g.T).argmax(1)] == wanted).float().mean())
