"""Features as similarities to anchors, so that one head serves networks of many seeds.

Moschella, Maiorca, Fumero, Norelli, Locatello, Rodola: Relative Representations Enable Zero-Shot
Latent Space Communication, ICLR 2023, arXiv:2209.15430. An image is described by the cosines
between its features and those of a few anchors (eq. 3), which hardly depend on the network's seed.

Departs from the paper: networks and data are small; heads are linear; the extractors are trained
without anchors, by fine_tune.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.fine_tune import FineTune
from orchestrator import (
    Kept,
    MatrixSpec,
    Method,
    Metric,
    Network,
    Part,
    Run,
    Trial,
    adam,
    axis,
    roles,
)


class AnchoredHead(Part):
    """A linear classifier on features [B, ...], or on their cosines with those of the anchors."""

    def __init__(self, *, split: str, anchors: int, features: int, classes: int) -> None:
        super().__init__()
        self.split = split
        self.anchors = nn.Buffer(torch.zeros(anchors, features))  # [A, F]; none: absolute
        self.linear = nn.Linear(anchors or features, classes)

    def forward(self, features: Tensor) -> Tensor:
        x = features.flatten(1)  # [B, F]
        if len(self.anchors):
            x = F.normalize(x) @ F.normalize(self.anchors).T  # [B, A], eq. 3
        return cast(Tensor, self.linear(x))

    def joined(self, network: Network) -> nn.Module:
        return nn.Sequential(network.extractor(self.split), self)


class RelativeRepresentations(Method):
    """Train a head on each of several networks, and read every other network with it."""

    name = "relative_representations"
    tasks = roles("task")
    metrics = (
        Metric("swapped_accuracy", headline=True, help="A head on another network's features."),
        Metric("own_accuracy", headline=True, help="A head on the features it was trained on."),
    )
    components = (Kept("head", by=("network",)),)
    matrices = (
        MatrixSpec("accuracy", "features of", "head of", headline=True, help="Never retrained."),
    )

    networks: FineTune = axis(
        FineTune(), smoke=FineTune(epochs=1), help="how the networks are trained"
    )
    num_networks: int = axis(3, over=(2, 3), smoke=2, help="networks of different seeds")
    anchors: int = axis(
        50, over=(0, 20, 50), smoke=10, help="how many training images; 0: absolute features"
    )
    split: str = axis(
        "pool", over=("stage2", "pool"), smoke="stage1", help="where features are had"
    )
    epochs: int = axis(20, over=(10, 20), smoke=1, help="training of each head")

    def check(self, trial: Trial) -> Iterable[str]:
        if trial.network:
            yield from trial.network.cannot_cut(self.split)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        copies = trial.replace(method=self.networks).copies(self.num_networks)
        return {f"network {i}": copy for i, copy in enumerate(copies)}

    def train(self, run: Run) -> None:
        task = run.tasks.task
        networks = {n: run.need(n).component("network", task=task.name) for n in run.needs}
        nets = {name: component.network() for name, component in networks.items()}
        heads = {name: self.head(run, name, net) for name, net in nets.items()}
        values = np.zeros((len(nets), len(nets)))  # [features, head]
        for i, (name, net) in enumerate(nets.items()):
            for j, head in enumerate(heads.values()):
                moved = self.moved(head, heads[name])
                values[i, j] = run.accuracy(moved.joined(net), task.test)
            run.keep("head", heads[name], by={"network": name}, requires=networks[name])
        run.matrix(
            "accuracy",
            rows=list(nets),
            columns=list(nets),
            values=values,
            count=run.count(task.test),
            chance=1 / task.num_classes,
        )
        others = ~np.eye(len(nets), dtype=bool)
        run.log(swapped_accuracy=values[others].mean(), own_accuracy=np.diag(values).mean())

    def head(self, run: Run, name: str, net: Network) -> AnchoredHead:
        """A head on the frozen features of a network, trained."""
        task, extractor = run.tasks.task, net.extractor(self.split).to(run.device)
        num_features = int(np.prod(net.shape(self.split, run.image(task))))
        head = run.draw(
            f"head on {name}",
            AnchoredHead,
            split=self.split,
            anchors=self.anchors,
            features=num_features,
            classes=task.num_classes,
        )
        if self.anchors:
            # The same images for all networks; each describes them by its own features.
            x, _ = run.images(task.train.few(self.anchors, seed=run.seed))
            with torch.no_grad():
                head.anchors.copy_(extractor(x).flatten(1))
        run.fit(
            f"head on {name}",
            {"head": head},
            self.loss,
            task.train,
            frozen={"extractor": extractor},
            optimizer=adam(1e-2),
            epochs=self.epochs,
            batch=32,
        )
        return head

    def moved(self, head: AnchoredHead, there: AnchoredHead) -> AnchoredHead:
        """A head with the anchors as another network sees them."""
        moved = AnchoredHead(**head.config).eval()
        moved.load_state_dict(head.state_dict() | {"anchors": there.anchors})
        return moved

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return F.cross_entropy(nets["head"](nets["extractor"](batch.x)), batch.y)
