"""One category's own networks for several tasks, with one category module for all of them.

Zhang, Yang, Yu, Wu: Network Transplanting, 2018, arXiv:1804.10272. Networks that were trained for a
category and its tasks are where a transplant network gets its modules from: f_c once, and for each
task t a g_ct behind it.

What it costs: one training of the tasks together, after one on the tasks of the pre-training.

Departs from the paper: neither its text nor code was available; that a category's networks share
their front, and are trained together, is our reconstruction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from methods.pieces.losses import cross_entropy
from orchestrator import (
    Augmentation,
    Kept,
    Method,
    Metric,
    Network,
    NetworkSpec,
    Run,
    SameFeatures,
    Task,
    Trial,
    augmentation_axis,
    axis,
    one_cycle,
    roles,
    sgd,
)


class CategoryNetworks(Method):
    """Train a network for each of the last `columns` tasks, all with the same front up to `split`.

    With twice as many tasks, the first half is what the weights are pre-trained on, task by task:
    the classifiers alone are drawn again.
    """

    name = "category_networks"
    tasks = roles("tasks", at_least=1)
    base_role = "tasks"
    metrics = (
        Metric(
            "accuracy",
            by=("task",),
            headline=True,
            help="Accuracy on the test images of each task; where labels are masks, of pixels.",
        ),
    )
    components = (Kept("network", by=("task",)),)

    columns: int = axis(1, help="tasks of a category")
    split: str = axis(
        "stage2", over=("stage1", "stage2"), help="where f ends, which a category's tasks share"
    )
    other_networks: tuple[NetworkSpec, ...] = axis(
        (), help="networks of the tasks after a category's first, if they differ from the trial's"
    )
    epochs: int = axis(10, over=(10, 30), smoke=1, help="passes through the largest task's images")
    batch: int = axis(32, over=(32, 64), smoke=128, help="images per step and task")
    lr: float = axis(
        0.03, over=(0.01, 0.03, 0.1), help="highest learning rate of the one-cycle schedule"
    )
    weight_decay: float = axis(
        5e-4, over=(1e-4, 5e-4), help="of all weights; the more, the smaller the weights"
    )
    augmentation: Augmentation = augmentation_axis()

    def check(self, trial: Trial) -> Iterable[str]:
        if self.columns < 1 or len(trial.tasks) not in (self.columns, 2 * self.columns):
            yield (
                f"columns={self.columns} asks for {self.columns} tasks, or twice as many with "
                f"those of the pre-training, and there are {len(trial.tasks)}"
            )
            return
        if len(self.other_networks) not in (0, self.columns - 1):
            yield (
                f"other_networks names {len(self.other_networks)} networks for the "
                f"{self.columns - 1} tasks behind a category's first"
            )
            return
        for spec in self.specs(trial):
            yield from spec.cannot_cut(self.split)

    def specs(self, trial: Trial) -> list[NetworkSpec]:
        """The network of each task of a category, in order."""
        assert trial.network is not None
        return [trial.network, *(self.other_networks or (trial.network,) * (self.columns - 1))]

    def same_features(self, trial: Trial) -> Iterable[SameFeatures]:
        if self.columns > 1:
            learned = trial.tasks[-self.columns :]
            networks = tuple(zip(self.specs(trial), learned, strict=True))
            yield SameFeatures(self.split, networks, "One front is shared by a category's tasks")

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        if len(trial.tasks) == self.columns:
            return {}
        return {"before": trial.replace(tasks=trial.tasks[: self.columns])}

    def train(self, run: Run) -> None:
        learned = list(run.tasks)[-self.columns :]
        nets = self.initial_networks(run, learned)
        run.fit(
            "train",
            cast(Mapping[str, nn.Module], nets),
            self.loss,
            {task.name: task.train.augmented(self.augmentation) for task in learned},
            optimizer=sgd(self.lr, weight_decay=self.weight_decay),
            schedule=one_cycle(),
            epochs=self.epochs,
            batch=self.batch,
        )
        for task in learned:
            by = {"task": task.name}
            run.log(accuracy=run.accuracy(nets[task.name], task.test), by=by)
            run.keep("network", nets[task.name], by=by)

    def initial_networks(self, run: Run, learned: Sequence[Task]) -> dict[str, Network]:
        """The networks by the task's name; they share the layers of f, and start from the networks
        of the pre-training if there are any.
        """
        nets: dict[str, Network] = {}
        for place, (task, spec) in enumerate(zip(learned, self.specs(run.trial), strict=True)):
            # By its place: the networks of all categories start alike.
            net = run.network(f"network {place}", task, spec=spec)
            if len(run.tasks) > len(learned):
                before = run.need("before").module("network", task=run.tasks[place].name)
                net.take(before.state_dict())
            if nets:
                net.borrow(nets[learned[0].name], self.split)
            nets[task.name] = net
        return nets

    def loss(self, nets: Any, batch: Any) -> dict[str, Tensor]:
        return {f"own/{task}": cross_entropy(nets[task](b.x), b.y) for task, b in batch.items()}
