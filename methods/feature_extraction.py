"""A classifier for each task on the features of one frozen network.

Baseline of Mallya, Davis, Lazebnik: Piggyback, ECCV 2018, arXiv:1801.06519 ("classifier only"):
only a linear layer is learned.

What it costs: for each task a classifier and one training of it. At the size of the quickstart
(scikit-learn's digits, resnet8 of width 8, 30 epochs) 0.7 seconds, after 2.1 for the base, on one
core of a busy AMD EPYC, 2026-11-25.

Departs from the paper: Adam at 1e-3, a tenth of it in the second half, in place of SGD at a
constant 1e-3, so that only the masks make the difference to Piggyback. Images are not augmented
unless `augmentation` says so; the incomplete last batch of an epoch is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from methods.fine_tune import FineTune
from methods.pieces.building import recipe_of
from methods.pieces.losses import cross_entropy
from methods.pieces.task_network import Norm, TaskNetwork
from methods.pieces.task_orders import (
    ACCURACY_AFTER_EACH_TASK,
    ACCURACY_AT_PLACE,
    base_network,
    measure_accuracy_after_each_task,
    needs_of_targets,
)
from orchestrator import (
    Augmentation,
    Kept,
    Method,
    Metric,
    Network,
    PartWithBase,
    Run,
    Task,
    Trial,
    adam,
    augmentation_axis,
    axis,
    drops,
    roles,
)


class FeatureExtraction(Method):
    """Train a classifier for each target on the source task's network. Each target is a trial of
    its own.
    """

    name = "feature_extraction"
    tasks = roles("source", "targets", at_least=2)
    base_role = "source"
    metrics = (
        Metric(
            "accuracy",
            by=("task",),
            headline=True,
            help="Accuracy on the test images of each task.",
        ),
        Metric(
            "val_accuracy",
            by=("task",),
            optional=True,
            help="Accuracy on validation images, for choosing among settings.",
        ),
        ACCURACY_AT_PLACE,
    )
    components = (Kept("part", by=("task",)),)
    matrices = (ACCURACY_AFTER_EACH_TASK,)
    norm: ClassVar[Norm] = "frozen"

    epochs: int = axis(30, over=(10, 30), smoke=1, help="passes through a target's training images")
    batch: int = axis(32, over=(32, 64), help="images per step")
    lr: float = axis(1e-3, over=(1e-4, 1e-3, 1e-2), help="of Adam; a tenth in the second half")
    dropout: bool = axis(
        True, over=(True, False), help="dropout of the base stays active in training"
    )
    augmentation: Augmentation = augmentation_axis()
    base: FineTune = axis(FineTune(), smoke=FineTune(epochs=1), help="how the base is trained")

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return needs_of_targets(trial, self.base)

    def train(self, run: Run) -> None:
        _source, *targets = run.tasks
        names = [target.name for target in targets]
        if len(targets) == 1:
            self.learn(run, targets[0], base_network(run))
        else:
            run.adopt(*names)
        measure_accuracy_after_each_task(run, names)

    def learn(self, run: Run, task: Task, base: Network) -> None:
        """Train and keep one task's classifier."""
        # The base stays out of it: what is kept is the task's,
        # and it requires the base by its digest.
        part = TaskNetwork(
            network=recipe_of(base),
            classes=task.num_classes,
            norm=self.norm,
            dropout=self.dropout,
        )
        part.take(base)  # batch norms of its own, if any, begin as the base's
        run.fit(
            "train",
            {"part": part},
            self.loss,
            task.train.augmented(self.augmentation),
            frozen={"base": base},
            optimizer=adam(self.lr),
            schedule=drops((0.5,)),
            epochs=self.epochs,
            batch=self.batch,
        )
        net, by = PartWithBase(part, base), {"task": task.name}
        run.log(accuracy=run.accuracy(net, task.test), by=by)
        if task.held_out:
            run.log(val_accuracy=run.accuracy(net, task.validation_part), by=by)
        network = run.need("base").component("network", task=run.tasks[0].name)
        run.keep("part", part, by=by, requires=network)

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return cross_entropy(nets["part"](batch.x, nets["base"]), batch.y)
