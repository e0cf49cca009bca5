"""Many tasks on one frozen network, each with a binary mask over its weights.

Mallya, Davis, Lazebnik: Piggyback: Adapting a Single Network to Multiple Tasks by Learning to Mask
Weights, ECCV 2018, arXiv:1801.06519. Real-valued scores pass through a threshold, straight through
in the gradient; what is kept of a task is one bit a weight and a classifier. A mask depends on the
base and on its own task alone, so tasks may come in any order.

Departs from the paper: the PDF could not be read; method and constants follow its code and a
detailed analysis of it. The classifier's learning rate is 1e-3 (the paper's 1e-4 leaves it
untrained in short runs). The last epoch counts, not the best one on the test images.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer

from methods.fine_tune import FineTune
from methods.pieces.task_network import Norm, has_batch_norm
from methods.pieces.task_orders import needs_of_targets
from methods.piggyback.masking import Kind, Masks, PackedMasks, Scaling, Start, maskable
from methods.piggyback.report import MATRICES, METRICS, each_target, keep_packed
from orchestrator import Kept, Method, Network, Parameters, Run, Task, Trial, axis, drops, roles
from orchestrator.errors import nearest


class Piggyback(Method):
    """Learn a mask over the source task's network for each target. Every target is a trial of its
    own, which all orders of tasks share.
    """

    name = "piggyback"
    tasks = roles("source", "targets", at_least=2)
    metrics = METRICS
    components = (Kept("mask", by=("task",)),)
    matrices = MATRICES

    kind: Kind = axis(
        "binary", over=("binary", "ternary"), help="masks of 0 and 1, or of -1, 0 and 1"
    )
    threshold: float = axis(
        5e-3, over=(2.5e-3, 5e-3, 7.5e-3), help="scores above it keep their weight"
    )
    start: Start = axis(
        "constant",
        over=("constant", "uniform"),
        help="first scores: all `size`, or drawn from [-size, size]",
    )
    size: float = axis(1e-2, over=(1e-2, 2e-2), help="of the first scores")
    optimizer: Literal["adam", "sgd"] = axis(
        "adam", over=("adam", "sgd"), help="of scores and batch norm; sgd wants a far larger lr"
    )
    lr: float = axis(
        1e-4,
        over=(3e-5, 1e-4, 3e-4, 1e-3),
        smoke=1e-2,
        help="of scores and batch norm; a tenth in the second half",
    )
    head_lr: float = axis(
        1e-3,
        over=(1e-4, 1e-3),
        help="of the classifier, whose optimiser is Adam; a tenth in the second half",
    )
    norm: Norm = axis(
        "frozen",
        over=("frozen", "affine", "full"),
        help="batch norm: the base's, its scale and shift trained, or all of it the task's",
    )
    scaling: Scaling = axis(
        "none",
        over=("none", "layer", "weight"),
        help="gradients of scores divided by the size of weights",
    )
    layers: Literal["all", "convolutions"] = axis(
        "all", over=("all", "convolutions"), help="which weights are masked"
    )
    after: str | None = axis(None, help="mask only behind this split point")
    dropout: bool = axis(
        True, over=(True, False), help="dropout of the base stays active while masks are trained"
    )
    epochs: int = axis(30, over=(10, 30), smoke=2)
    batch: int = axis(32, over=(32, 64))
    base: FineTune = axis(FineTune(), smoke=FineTune(epochs=1), help="how the base is trained")

    def check(self, trial: Trial) -> Iterable[str]:
        if self.after is not None and trial.network and self.after not in trial.network.splits:
            yield f"{trial.network.name} has no split point {self.after!r}. {nearest(self.after, trial.network.splits)}"
        if self.norm != "frozen" and trial.network and not has_batch_norm(trial.network):
            yield f"norm={self.norm}, but {trial.network.name} has no batch norm to train; leave it at frozen"
        if self.start == "constant" and self.size <= self.threshold:
            yield f"size={self.size:g} is not above threshold={self.threshold:g}: every weight would be masked from the first step"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return needs_of_targets(trial, self.base)

    def train(self, run: Run) -> None:
        each_target(run, self.learn)

    def learn(self, run: Run, task: Task, base: Network) -> PackedMasks:
        """One task's mask."""
        masked = maskable(base, self.layers, self.after)
        masks = Masks(
            network={"path": base.path, "config": base.config},
            classes=task.num_classes,
            masked=masked,
            norm=self.norm,
            dropout=self.dropout,
            kind=self.kind,
            threshold=self.threshold,
            scaling=self.scaling,
        )
        masks.begin(base, self.start, self.size)
        steps, crossing = (
            self.epochs * (run.count(task.train) // self.batch),
            abs(self.size - self.threshold) / self.lr,
        )
        if self.optimizer == "adam" and steps < 5 * crossing:
            warnings.warn(
                f"{task.name}: {steps} steps are few, a score needs {crossing:.0f} at least to cross the threshold",
                stacklevel=2,
            )
        run.fit(
            "masks",
            {"masks": masks},
            self.loss,
            task.train,
            frozen={"base": base},
            optimizer=self.optimizers,
            schedule=drops((0.5,)),
            epochs=self.epochs,
            batch=self.batch,
            watch=masks.flipped,
        )
        return keep_packed(run, task, masks.packed(), base)

    def optimizers(self, p: Parameters) -> list[Optimizer]:
        """One of the scores (and batch norm), one of the classifier. The scores never decay: all
        would end below the threshold.
        """
        scores, head = p.other("masks.head.*"), p.matching("masks.head.*")
        return [
            Adam(scores, self.lr)
            if self.optimizer == "adam"
            else SGD(scores, self.lr, momentum=0.9),
            Adam(head, self.head_lr),
        ]

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return F.cross_entropy(nets["masks"](batch.x, nets["base"]), batch.y)
