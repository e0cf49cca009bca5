"""Training a network on a task, from scratch or from a network trained before.

Yosinski, Clune, Bengio, Lipson: How transferable are features in deep neural networks?, NeurIPS
2014, arXiv:1411.1792. The network of one task is the starting point for the next; only the
classifier is drawn again. It is the baseline of every method here, and trains their base networks
and teachers.

What it costs: for each task a whole network and one training of it. At the size of the quickstart
(scikit-learn's digits, resnet8 of width 8, 30 epochs) 2.1 seconds, on one core of a busy AMD EPYC,
2026-11-25.

Departs from the paper: learning rate, schedule (one-cycle) and weight decay (5e-4) are our own.
`FineTune(**INDIVIDUAL)` is trained as the "individual networks" of Piggyback's authors are. Unless
`last_batch` says so, images that fill no batch at the end of an epoch are left out of it. Trained
weights from a file come without their classifier, unless `classifier` says that it is the task's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, Self

from torch import Tensor

from methods.pieces.accuracies import ACCURACIES, log_accuracies
from methods.pieces.cost import network_cost
from methods.pieces.losses import cross_entropy
from orchestrator import (
    Augmentation,
    Kept,
    Method,
    Metric,
    Network,
    Run,
    Task,
    Trial,
    augmentation_axis,
    axis,
    drops,
    one_cycle,
    roles,
    sgd,
)

# FineTune(**INDIVIDUAL): a network for each task, as the authors of Piggyback train it (their
# script run_baselines.sh). Images of sets that they crop to a box are mirrored, of the others
# random resized crops are taken: `augmentation`.
INDIVIDUAL: dict[str, Any] = {
    "epochs": 30,
    "batch": 32,
    "lr": 1e-3,
    "weight_decay": 0.0,
    "schedule": "drops",
    "drops_at": (0.5,),
    "last_batch": "keep",
}


class FineTune(Method):
    """Train on the last of the given tasks; the tasks before it, if any, are where the weights come
    from, one after another.
    """

    name = "fine_tune"
    tasks = roles("tasks", at_least=1)
    base_role = "tasks"
    former_settings: ClassVar[Mapping[str, Any]] = {"augment": False}
    metrics = (
        *ACCURACIES,
        Metric(
            "parameters",
            by=("task",),
            higher_is_better=False,
            help="Weights of the network of each task.",
        ),
        Metric("flops", by=("task",), higher_is_better=False, help="Operations for one image."),
    )
    components = (Kept("network", by=("task",)),)

    epochs: int = axis(
        30,
        over=(10, 30, 100),
        smoke=2,
        help="passes through the training images; 0: the network keeps its initial weights",
    )
    batch: int = axis(64, over=(32, 64, 128), help="images per step")
    lr: float = axis(0.1, over=(0.01, 0.03, 0.1), help="highest learning rate of the schedule")
    schedule: Literal["one_cycle", "drops"] = axis(
        "one_cycle",
        over=("one_cycle", "drops"),
        help="of the learning rate: up to `lr` and down again, or a tenth of it from each of "
        "`drops_at` on",
    )
    drops_at: tuple[float, ...] = axis(
        (0.5,),
        over=((0.5,), (0.4, 0.8)),
        help="shares of the training after which the learning rate drops; for schedule=drops",
    )
    weight_decay: float = axis(
        5e-4, over=(1e-4, 5e-4), help="of all weights; the more, the smaller the weights"
    )
    last_batch: Literal["drop", "keep"] = axis(
        "drop",
        over=("drop", "keep"),
        help="images that fill no batch at the end of an epoch: left out, or a smaller batch",
    )
    classifier: Literal["drawn", "trained"] = axis(
        "drawn",
        over=("drawn", "trained"),
        help="of the first task, where its network starts from trained weights: drawn for its "
        "classes, or that of the weights, whose outputs are these classes in their order",
    )
    augmentation: Augmentation = augmentation_axis()
    base: Method | None = axis(
        None, help="how the first task's network is trained; None: as the others"
    )

    def canonical(self) -> Self:
        # A base like the others is no base: the same trial, the same key.
        method = self.reset("base") if self.base == self.replace(base=None) else self
        if self.epochs == 0:  # then nothing is trained, whatever the training would have been
            method = method.reset(
                *("batch", "lr", "weight_decay", "augmentation"),
                *("schedule", "drops_at", "last_batch"),
            )
        return method.reset("drops_at") if method.schedule != "drops" else method

    def check(self, trial: Trial) -> Iterable[str]:
        if self.base is not None and not isinstance(self.base, FineTune):
            yield f"base is {self.base.name}; it may be another fine_tune(...)"
        if self.epochs and trial.tasks[-1].is_unseen:
            yield (
                f"there are no images of {trial.tasks[-1].name} to train on; epochs=0 takes the "
                "trained weights of the network as they are"
            )
        if self.base is not None and len(trial.tasks) < 2:
            yield "base is set, but there is one task only, so nothing starts from another network"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        if len(trial.tasks) < 2:
            return {}
        # Its need is the first task's network, which `base` may train
        is_second = len(trial.tasks) == 2
        method = self.base if self.base is not None and is_second else self
        return {"before": trial.replace(tasks=trial.tasks[:-1], method=method)}

    def train(self, run: Run) -> None:
        task = run.tasks[-1]
        # One name in all trials: networks of one seed start alike, whatever their tasks.
        is_first = len(run.tasks) == 1
        keeps = is_first and self.classifier == "trained"
        net = run.network("network", task, trained_classifier=keeps)
        if len(run.tasks) > 1:
            before = run.need("before").module("network", task=run.tasks[-2].name)
            net.take(before.state_dict())  # all but the classifier
        if self.epochs:
            self.fit(run, task, net)
        by, cost = {"task": task.name}, network_cost(net, run.image(task))
        log_accuracies(run, net, task)
        run.log(parameters=cost.parameters, flops=cost.flops, by=by)
        run.keep("network", net, by=by)

    def fit(self, run: Run, task: Task, net: Network) -> None:
        def watch() -> dict[str, float]:
            if not task.held_out:
                return {}
            return {"val_accuracy": run.accuracy(net, task.validation_part)}

        run.fit(
            "train",
            {"network": net},
            self.loss,
            task.train.augmented(self.augmentation),
            optimizer=sgd(self.lr, weight_decay=self.weight_decay),
            schedule=one_cycle() if self.schedule == "one_cycle" else drops(self.drops_at),
            epochs=self.epochs,
            batch=self.batch,
            last_batch=self.last_batch,
            watch=watch,
        )

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return cross_entropy(nets["network"](batch.x), batch.y)
