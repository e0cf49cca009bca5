"""How much is lost when the front of one trained network meets the back of another.

Bansal, Nakkiran, Barak: Revisiting Model Stitching to Compare Neural Representations, NeurIPS 2021,
arXiv:2106.07682. Two networks are frozen and a small layer between them is trained; the loss of
accuracy against the second network is the stitching penalty (section 2).

Departs from the paper: networks and data are small, and the stitch is trained for a few epochs.
Behind the pooling, where features have no places, the 1 x 1 convolution is a linear layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import numpy as np
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


class Stitch(Part):
    """Batch norm, a 1 x 1 convolution, batch norm: from features to features of the same shape, [B,
    channels, H, W], or [B, channels] where they are `flat`.
    """

    def __init__(self, *, split: str, channels: int, flat: bool) -> None:
        super().__init__()
        self.split = split
        norm = nn.BatchNorm1d if flat else nn.BatchNorm2d
        mixed = nn.Linear(channels, channels) if flat else nn.Conv2d(channels, channels, 1)
        self.layers = nn.Sequential(norm(channels), mixed, norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layers(x))

    def joined(self, front: Network, back: Network) -> nn.Module:
        return nn.Sequential(front.extractor(self.split), self, back.head(self.split))


class ModelStitching(Method):
    """Stitch two networks of different seeds, each front to each back."""

    name = "model_stitching"
    tasks = roles("task")
    metrics = (
        Metric("accuracy", headline=True, help="Front of the one, back of the other network."),
        Metric(
            "penalty",
            higher_is_better=False,
            headline=True,
            help="What that loses against the network that the back is from.",
        ),
    )
    components = (Kept("stitch", by=("task",)),)
    matrices = (
        MatrixSpec("stitched", "front", "back", headline=True, help="Accuracy when stitched."),
    )

    networks: FineTune = axis(
        FineTune(), smoke=FineTune(epochs=1), help="how both networks are trained"
    )
    front: Literal["trained", "untrained"] = axis(
        "trained", over=("trained", "untrained"), help="whether the fronts' networks are trained"
    )
    split: str = axis("stage2", over=("stem", "stage2", "pool"), smoke="stage1", help="the layer l")
    epochs: int = axis(10, over=(3, 10), smoke=1, help="training of each stitch")

    def check(self, trial: Trial) -> Iterable[str]:
        if trial.network:
            yield from trial.network.cannot_cut(self.split)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        trained = trial.replace(method=self.networks).copies(2)
        needs = {f"back {i}": copy for i, copy in enumerate(trained)}
        fronts = trained
        if self.front == "untrained":
            fronts = trial.replace(method=self.networks.replace(epochs=0)).copies(2)
        return needs | {f"front {i}": copy for i, copy in enumerate(fronts)}

    def train(self, run: Run) -> None:
        task, by = run.tasks.task, {"task": run.tasks.task.name}
        sides = {need: run.need(need).component("network", **by) for need in run.needs}
        nets = {need: component.network() for need, component in sides.items()}
        names = ("network 0", "network 1")
        values = np.zeros((2, 2))  # [front, back]
        for i in range(2):
            for j in range(2):
                front, back = nets[f"front {i}"], nets[f"back {j}"]
                stitch = self.stitched(run, f"stitch {i} to {j}", front, back)
                values[i, j] = run.accuracy(stitch.joined(front, back), task.test)
                if (i, j) == (0, 1):
                    required = {"front": sides["front 0"], "back": sides["back 1"]}
                    run.keep("stitch", stitch, by=by, requires=required)
        own = [run.accuracy(nets[f"back {j}"], task.test) for j in range(2)]
        across = np.array([values[0, 1], values[1, 0]])
        run.matrix(
            "stitched",
            rows=names,
            columns=names,
            values=values,
            count=run.count(task.test),
            chance=1 / task.num_classes,
        )
        run.log(accuracy=across.mean(), penalty=float(np.mean([own[1], own[0]] - across)))

    def stitched(self, run: Run, stage: str, front: Network, back: Network) -> Stitch:
        """The stitch between two networks, trained."""
        task = run.tasks.task
        channels, *places = front.shape(self.split, run.image(task))
        stitch = run.draw(stage, Stitch, split=self.split, channels=channels, flat=not places)
        run.fit(
            stage,
            {"stitch": stitch},
            self.loss,
            task.train,
            frozen={"front": front.extractor(self.split), "back": back.head(self.split)},
            optimizer=adam(1e-2),
            epochs=self.epochs,
            batch=32,
        )
        return stitch

    def loss(self, nets: Any, batch: Any) -> Tensor:
        logits = nets["back"](nets["stitch"](nets["front"](batch.x)))  # [B, classes]
        return F.cross_entropy(logits, batch.y)
