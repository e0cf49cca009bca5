"""Training a network on a task, from scratch or from a network trained before.

Yosinski, Clune, Bengio, Lipson: How transferable are features in deep neural networks?, NeurIPS
2014, arXiv:1411.1792. The network of one task is the starting point for the next; only the
classifier is drawn anew. It is the baseline of every method here, and gives them their base
networks and teachers.

Departs from the paper: nothing known; learning rate and schedule are our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from torch import Tensor
from torch.nn import functional as F

from methods.pieces.cost import network_cost
from orchestrator import Kept, Method, Metric, Run, Trial, axis, one_cycle, roles, sgd


class FineTune(Method):
    """Train on the last of the given tasks; the tasks before it, if any, are where the weights come
    from, one after another.
    """

    name = "fine_tune"
    tasks = roles("tasks", at_least=1)
    metrics = (
        Metric("accuracy", by=("task",), headline=True),
        Metric("val_accuracy", by=("task",), optional=True),
        Metric("parameters", by=("task",), higher_is_better=False),
        Metric("flops", by=("task",), higher_is_better=False),
    )
    components = (Kept("network", by=("task",)),)

    epochs: int = axis(
        30,
        over=(10, 30, 100),
        smoke=2,
        help="passes through the training images; 0 keeps the network as drawn, or as pretrained",
    )
    batch: int = axis(64, over=(32, 64, 128), help="images a step")
    lr: float = axis(
        0.1, over=(0.01, 0.03, 0.1), help="highest learning rate of the one-cycle schedule"
    )
    weight_decay: float = axis(5e-4, over=(1e-4, 5e-4))
    augment: bool = axis(
        False, over=(False, True), help="random shifts by up to 4 pixels and horizontal flips"
    )
    base: Method | None = axis(
        None, help="how the first task's network is trained; None: as the others"
    )

    def canonical(self) -> Self:
        same = self.reset("base") if self.base == self.replace(base=None) else self
        return same.reset("batch", "lr", "weight_decay", "augment") if self.epochs == 0 else same

    def check(self, trial: Trial) -> Iterable[str]:
        if self.base is not None and not isinstance(self.base, FineTune):
            yield f"base is {self.base.name}; it may be another fine_tune(...)"
        if self.base is not None and len(trial.tasks) < 2:
            yield "base is set, but there is one task only, so nothing starts from another network"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        if len(trial.tasks) < 2:
            return {}
        return {
            "before": trial.replace(
                tasks=trial.tasks[:-1],
                method=(self.base if len(trial.tasks) == 2 else None) or self,
            )
        }

    def train(self, run: Run) -> None:
        task = run.tasks[-1]
        net = run.network("network", task)
        if len(run.tasks) > 1:
            before = run.need("before").module("network", task=run.tasks[-2].name).state_dict()
            classifier = net.stage_names[-1] + "."
            net.load_state_dict(
                {
                    k: v if k.startswith(classifier) else before[k]
                    for k, v in net.state_dict().items()
                }
            )
        if self.epochs:
            run.fit(
                "train",
                {"network": net},
                self.loss,
                task.train.augmented() if self.augment else task.train,
                optimizer=sgd(self.lr, weight_decay=self.weight_decay),
                schedule=one_cycle(),
                epochs=self.epochs,
                batch=self.batch,
                watch=lambda: (
                    {"val_accuracy": run.accuracy(net, task.validation_part)}
                    if task.held_out
                    else {}
                ),
            )
        cost = network_cost(net, run.image(task))
        run.log(
            accuracy=run.accuracy(net, task.test),
            parameters=cost.parameters,
            flops=cost.flops,
            by={"task": task.name},
        )
        if task.held_out:
            run.log(val_accuracy=run.accuracy(net, task.validation_part), by={"task": task.name})
        run.keep("network", net, by={"task": task.name})

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return F.cross_entropy(nets["network"](batch.x), batch.y)
