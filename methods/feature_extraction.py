"""A classifier for each task on the features of one frozen network.

Baseline of Mallya, Davis, Lazebnik: Piggyback, ECCV 2018, arXiv:1801.06519 ("classifier only"):
only a linear layer is learned.

What it costs: for each task a classifier and one training of it. At the size of the quickstart
(scikit-learn's digits, resnet8 of width 8, 30 epochs) 0.7 seconds, after 2.1 for the base, on one
core of a busy AMD EPYC, 2026-11-25.

Departs from the paper: Adam at 1e-3, a tenth of it in the second half, so that only the masks make
the difference to Piggyback. `FeatureExtraction(**PUBLISHED)` is trained as the authors train it, by
SGD at a constant 1e-3, and keeps the smaller batch at the end of an epoch. Images are not augmented
unless `augmentation` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from methods.fine_tune import FineTune
from methods.pieces.accuracies import ACCURACIES
from methods.pieces.building import recipe_of
from methods.pieces.fixed_features import features_or_images
from methods.pieces.losses import cross_entropy
from methods.pieces.task_network import Norm, TaskNetwork
from methods.pieces.task_orders import (
    ACCURACY_AFTER_EACH_TASK,
    ACCURACY_AT_PLACE,
    keep_part,
    learn_or_adopt,
    needs_of_targets,
)
from orchestrator import (
    Augmentation,
    Data,
    Features,
    Kept,
    Method,
    Network,
    Run,
    Task,
    Trial,
    adam,
    augmentation_axis,
    axis,
    drops,
    roles,
    sgd,
)

# FeatureExtraction(**PUBLISHED): the "classifier only" of the authors' script run_baselines.sh.
PUBLISHED: dict[str, Any] = {
    "epochs": 30,
    "batch": 32,
    "optimizer": "sgd",
    "lr": 1e-3,
    "drops_at": (),
    "last_batch": "keep",
}


class FeatureExtraction(Method):
    """Train a classifier for each target on the source task's network. Each target is a trial of
    its own.
    """

    name = "feature_extraction"
    revision = 2  # 2: features are computed once, in other batches
    tasks = roles("source", "targets", at_least=2)
    base_role = "source"
    metrics = (
        *ACCURACIES,
        ACCURACY_AT_PLACE,
    )
    components = (Kept("part", by=("task",)),)
    matrices = (ACCURACY_AFTER_EACH_TASK,)
    norm: ClassVar[Norm] = "frozen"

    epochs: int = axis(30, over=(10, 30), smoke=1, help="passes through a target's training images")
    batch: int = axis(32, over=(32, 64), help="images per step")
    optimizer: Literal["adam", "sgd"] = axis(
        "adam", over=("adam", "sgd"), help="sgd (momentum 0.9) needs a larger lr in short runs"
    )
    lr: float = axis(1e-3, over=(1e-4, 1e-3, 1e-2), help="a tenth of it from each of `drops_at` on")
    drops_at: tuple[float, ...] = axis(
        (0.5,),
        over=((0.5,), ()),
        help="shares of the training after which the learning rate drops; none: it is constant",
    )
    last_batch: Literal["drop", "keep"] = axis(
        "drop",
        over=("drop", "keep"),
        help="images that fill no batch at the end of an epoch: left out, or a smaller batch",
    )
    dropout: bool = axis(
        True, over=(True, False), help="dropout of the base stays active in training"
    )
    augmentation: Augmentation = augmentation_axis()
    base: FineTune = axis(FineTune(), smoke=FineTune(epochs=1), help="how the base is trained")

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return needs_of_targets(trial, self.base)

    def train(self, run: Run) -> None:
        learn_or_adopt(run, self.learn)

    def learn(self, run: Run, task: Task, base: Network) -> None:
        """Train and keep one task's classifier."""
        part = TaskNetwork(
            network=recipe_of(base),
            classes=task.num_classes,
            norm=self.norm,
            dropout=self.dropout,
        )
        part.take(base)  # batch norms of its own, if any, begin as the base's
        images = task.train.augmented(self.augmentation)
        data: Data | Features = images
        if self.norm == "frozen" and not (self.dropout and drops_out(base)):
            # Each image has the same features in each epoch.
            data = features_or_images(run, base.extractor(base.splits[-1]), images)
        run.fit(
            "train",
            {"part": part},
            self.loss_of_head if isinstance(data, Features) else self.loss,
            data,
            frozen={"base": base},
            optimizer=adam(self.lr) if self.optimizer == "adam" else sgd(self.lr),
            schedule=drops(self.drops_at),
            epochs=self.epochs,
            batch=self.batch,
            last_batch=self.last_batch,
        )
        keep_part(run, task, part, base)

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return cross_entropy(nets["part"](batch.x, nets["base"]), batch.y)

    def loss_of_head(self, nets: Any, batch: Any) -> Tensor:
        """The same where `batch.x` are features, [B, features]."""
        return cross_entropy(nets["part"].head(batch.x), batch.y)


def drops_out(network: nn.Module) -> bool:
    """Whether a network has any dropout."""
    return any(isinstance(module, nn.Dropout) and module.p > 0 for module in network.modules())
