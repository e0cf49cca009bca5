"""Many tasks in one network, each on weights that the tasks before it did not need.

Mallya, Lazebnik: PackNet: Adding Multiple Tasks to a Single Network by Iterative Pruning, CVPR
2018, arXiv:1711.05769. After each task the smallest of its weights are freed for the next one; the
others are trained once more and then never change, so no task is forgotten. Later tasks find fewer
free weights, so the order matters.

What it costs: for each weight the number of the task that owns it (one byte), and a classifier per
task. Trainings: one of the first task's network, then for each task one with the free weights and a
shorter one with those that it keeps; orders of tasks share their prefixes. At the size of the
quickstart (scikit-learn's digits, resnet8 of width 8, default epochs) 2.1 seconds for the first
network, 0.6 for its retraining and 1.2 for each further task, on one core of a busy AMD EPYC,
2026-11-25.

Departs from the paper: its PDF was not read; schedule and shares follow the authors' code, and
`PackNet(**PUBLISHED)` has their rates, too. As there, the first network is trained in the usual way
and then pruned. The rate drops halfway in retraining as well (theirs stays, but for the first
task), and of weights of one size at the cut some may be kept (they free all of them). The last
epoch counts, not the one that is best on the test images. Images are not augmented unless
`augmentation` says so (the authors mirror and crop).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from methods.fine_tune import FineTune
from methods.pieces.accuracies import ACCURACIES, log_accuracies
from methods.pieces.building import build_network, recipe_of
from methods.pieces.losses import cross_entropy
from methods.pieces.maskable_weights import maskable_weights
from methods.pieces.task_orders import (
    ACCURACY_AFTER_EACH_TASK,
    ACCURACY_AT_PLACE,
    base_network,
    log_accuracy_by_place,
)
from orchestrator import (
    Augmentation,
    Kept,
    Method,
    Metric,
    Part,
    Run,
    Trial,
    augmentation_axis,
    axis,
    drops,
    roles,
    sgd,
)

FREE = 0  # the owner of a weight that no task has kept
# PackNet(**PUBLISHED): the settings of the authors' scripts run_imagenet_pruning.sh and
# run_sequence.sh.
PUBLISHED: dict[str, Any] = {
    "freed_first": 0.5,
    "freed": 0.75,
    "epochs": 20,
    "retrain_epochs": 10,
    "batch": 32,
    "lr": 1e-3,
    "last_batch": "keep",
}


class PackedNetwork(Part):
    """A network and the owner of each weight: task number 1, 2, ... or nobody. A task computes with
    its own weights and those of all earlier ones.

    `network` is the recipe of the network, `classes` are the numbers of classes of the tasks so
    far. Biases and batch norms are the first task's and do not change after it.
    """

    def __init__(self, *, network: Mapping[str, Any], classes: Sequence[int]) -> None:
        super().__init__()
        self.body = build_network(network)
        self.classifier = self.body.stage_names[-1]
        self.packed = maskable_weights(self.body)
        num_features = self.body.last_layer.in_features
        self.heads = nn.ModuleList(nn.Linear(num_features, count) for count in classes)
        state = self.body.state_dict()
        for name in self.packed:
            # In the shape of the weight; 255 tasks fit
            nobody = torch.full_like(state[name], FREE, dtype=torch.uint8)
            self.register_buffer(_owner_name(name), nobody)
        self.growing = False  # whether the newest task is being trained and has claimed nothing yet

    def owner(self, name: str) -> Tensor:
        """Of each weight of a layer the number of the task that owns it."""
        return self.get_buffer(_owner_name(name))

    @property
    def last(self) -> int:
        """Number of the newest task."""
        return len(self.heads)

    def weights(self, task: int) -> dict[str, Tensor]:
        """The weights with which a task computes. Those of earlier tasks get no gradient; while the
        network grows, free ones are the newest's.
        """
        weights = {}
        for name in self.packed:
            weight, owner = self.body.get_parameter(name), self.owner(name)
            is_earlier = (owner > FREE) & (owner < task)
            is_own = owner == task
            if self.growing and task == self.last:
                is_own = is_own | (owner == FREE)
            # Weights of later tasks, and free ones, count as
            # zero: an earlier task computes as it always did.
            weights[name] = weight.detach() * is_earlier + weight * is_own
        return weights

    def forward(self, x: Tensor, task: int | None = None) -> Tensor:
        """Images [B, C, H, W] to logits of a task (default: the newest)."""
        number = task or self.last
        for module in self.body.modules():
            if isinstance(module, _BatchNorm):
                # Running statistics are shared by all tasks, so they stand still after the first.
                module.training = self.training and self.last == 1
        tensors = self.weights(number)
        for name, value in self.heads[number - 1].named_parameters():
            tensors[f"{self.classifier}.{name}"] = value
        return cast(Tensor, functional_call(self.body, tensors, (x,)))

    @torch.no_grad()
    def claim(self, share: float) -> None:
        """Prune, layer by layer: of the free weights the largest, `share` of them, are the newest
        task's from now on; the others are zero and free again.
        """
        for name in self.packed:
            weight, owner = self.body.get_parameter(name), self.owner(name)
            is_free = owner == FREE
            num_claimed = round(share * int(is_free.sum()))
            # -1 is below any size, so no owned weight is among the largest.
            size = torch.where(is_free, weight.abs(), torch.full_like(weight, -1.0)).flatten()
            is_claimed = torch.zeros_like(size, dtype=torch.bool)
            is_claimed[size.topk(num_claimed).indices] = True
            owner[is_free & is_claimed.view_as(owner)] = self.last
            # The next task starts its free weights from zero.
            weight[owner == FREE] = 0.0
        self.growing = False

    def with_task(self, classes: int) -> PackedNetwork:
        """The same network with a head for one more task, which may use all free weights until it
        claims some.
        """
        grown = PackedNetwork(
            network=self.config["network"], classes=[*self.config["classes"], classes]
        )
        # strict=False: the new head is not in it
        grown.load_state_dict(self.state_dict(), strict=False)
        grown.growing = True
        grown.freeze_earlier()
        return grown

    def freeze_earlier(self) -> None:
        """Only the newest head is trained, and biases and batch norms with the first task only."""
        classifier = self.classifier + "."
        for name, parameter in self.body.named_parameters():
            if name not in self.packed:
                # The body's own classifier is replaced by the heads, and never used.
                parameter.requires_grad_(self.last == 1 and not name.startswith(classifier))
        for number, head in enumerate(self.heads, start=1):
            head.requires_grad_(number == self.last)

    def shares(self) -> list[float]:
        """Share of all weights that each task owns, free ones first."""
        num_owned = torch.zeros(self.last + 1, dtype=torch.long)  # by owner, FREE first
        for name in self.packed:
            owners = self.owner(name).flatten().long().cpu()
            num_owned += torch.bincount(owners, minlength=self.last + 1)
        return [float(count) / float(num_owned.sum()) for count in num_owned]


def _owner_name(name: str) -> str:
    """Names of buffers have no dot."""
    return f"owner-{name}".replace(".", "-")


class OneTask(nn.Module):
    """A packed network for one of its tasks."""

    def __init__(self, packed: PackedNetwork, task: int) -> None:
        super().__init__()
        self.packed, self.task = packed, task

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.packed(x, self.task))


class PackNet(Method):
    """Add the last of the tasks to the packed network of those before it, which is another trial;
    orders share their prefixes.
    """

    name = "packnet"
    tasks = roles("source", "targets", at_least=1)
    base_role = "source"
    metrics = (
        *(replace(metric, of_targets=True) for metric in ACCURACIES),
        Metric("owned", by=("task",), help="Share of the weights that a task was given."),
        Metric("free", help="Share of the weights that no task was given yet."),
        ACCURACY_AT_PLACE,
    )
    components = (Kept("packed"),)
    matrices = (ACCURACY_AFTER_EACH_TASK,)

    freed_first: float = axis(
        0.5,
        over=(0.5, 0.75),
        help="share of the first task's weights that is freed: the more, the more later tasks have",
    )
    freed: float = axis(
        0.75,
        over=(0.5, 0.75, 0.9),
        help="share of a later task's weights that is freed for those after it: the more, the "
        "fewer it keeps",
    )
    last: bool = axis(
        True,
        over=(True, False),
        help="the last task, if it is not the first, keeps all its weights, since none follows",
    )
    epochs: int = axis(20, over=(10, 20), smoke=1, help="of training with the free weights")
    retrain_epochs: int = axis(
        10,
        over=(5, 10),
        smoke=1,
        help="of training the kept weights, after pruning: the more, the more is recovered",
    )
    batch: int = axis(32, over=(32, 64), help="images per step")
    lr: float = axis(
        0.02,
        over=(1e-3, 0.02, 0.05),
        help="learning rate; a tenth in the second half, and all of it a tenth in retraining",
    )
    last_batch: Literal["drop", "keep"] = axis(
        "drop",
        over=("drop", "keep"),
        help="images that fill no batch at the end of an epoch: left out, or a smaller batch",
    )
    augmentation: Augmentation = augmentation_axis()
    base: FineTune = axis(
        FineTune(), smoke=FineTune(epochs=1), help="how the first task is trained"
    )

    def check(self, trial: Trial) -> Iterable[str]:
        if trial.tasks[0].is_unseen:
            yield (
                f"the first task's network is trained again once its smallest weights are gone, "
                f"and there are no images of {trial.tasks[0].name}"
            )
        for name in ("freed_first", "freed"):
            if not 0 < getattr(self, name) < 1:
                yield f"{name}={getattr(self, name):g} is not a share between 0 and 1"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        if len(trial.tasks) == 1:
            return {"base": trial.replace(method=self.base)}
        # The first task frees weights whether it is the last or not: its trial is one and the same.
        method = self.replace(last=len(trial.tasks) == 2)
        return {"before": trial.replace(method=method, tasks=trial.tasks[:-1])}

    def train(self, run: Run) -> None:
        if len(run.tasks) == 1:
            packed, share = self.first(run), 1 - self.freed_first
        else:
            packed, share = self.grown(run), 1.0 if self.last else 1 - self.freed
        # Train, prune, retrain: the first task's network was trained by the need.
        packed.claim(share)
        if share < 1:
            self.fit(run, "retrain", packed, self.retrain_epochs, self.lr / 10)
        self.report(run, packed)
        run.keep("packed", packed)

    def first(self, run: Run) -> PackedNetwork:
        """The first task's network, all of its weights free to be claimed."""
        base = base_network(run)
        packed = PackedNetwork(network=recipe_of(base), classes=[run.tasks[0].num_classes])
        packed.body.load_state_dict(base.state_dict())
        packed.heads[0].load_state_dict(base.last_layer.state_dict())
        packed.freeze_earlier()
        return packed.to(run.device)

    def grown(self, run: Run) -> PackedNetwork:
        """The packed network with one more task, trained with the weights that are free."""
        before = cast(PackedNetwork, run.need("before").module("packed"))
        packed = before.with_task(run.tasks[-1].num_classes).to(run.device)
        self.fit(run, "train", packed, self.epochs, self.lr)
        return packed

    def fit(self, run: Run, stage: str, packed: PackedNetwork, epochs: int, lr: float) -> None:
        run.fit(
            stage,
            {"packed": packed},
            self.loss,
            run.tasks[-1].train.augmented(self.augmentation),
            optimizer=sgd(lr),
            schedule=drops((0.5,)),
            epochs=epochs,
            batch=self.batch,
            last_batch=self.last_batch,
        )

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return cross_entropy(nets["packed"](batch.x), batch.y)

    def report(self, run: Run, packed: PackedNetwork) -> None:
        """After each task the accuracy on every task so far, and the share of weights of each."""
        nets = [OneTask(packed, number) for number in range(1, packed.last + 1)]
        scores = [log_accuracies(run, net, t) for net, t in zip(nets, run.tasks, strict=True)]
        # [after task, on task]; NaN above the diagonal
        values = np.full((len(nets), len(nets)), np.nan)
        if len(nets) > 1:
            values[:-1, :-1] = run.need("before").matrix("accuracy").values
        values[-1] = scores
        names = [task.name for task in run.tasks]
        run.matrix("accuracy", rows=names, columns=names, values=values)
        log_accuracy_by_place(run, scores[1:])
        free, *owned = packed.shares()
        run.log(free=free)
        for task, share in zip(run.tasks, owned, strict=True):
            run.log(owned=share, by={"task": task.name})
