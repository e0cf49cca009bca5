"""Many tasks in one network, each on weights that the ones before it had no use for.

Mallya, Lazebnik: PackNet: Adding Multiple Tasks to a Single Network by Iterative Pruning, CVPR
2018, arXiv:1711.05769. After each task the smallest of its weights are freed for the next; what is
kept never changes again. Later tasks find fewer free weights, so the order matters.

Departs from the paper: the PDF was not read; schedule and shares follow its code, learning rates
are our own. The first task is a network trained in the usual way and then pruned, as there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from methods.fine_tune import FineTune
from methods.packnet.packed_network import OneTask, PackedNetwork
from methods.pieces.task_orders import ACCURACY, PLACED, log_places
from orchestrator import Kept, Method, Metric, Network, Run, Trial, axis, drops, roles, sgd


class PackNet(Method):
    """Add the last of the tasks to the packed network of those before it, which is another trial;
    orders share their prefixes.
    """

    name = "packnet"
    tasks = roles("source", "targets", at_least=1)
    metrics = (
        Metric("accuracy", by=("task",), headline=True),
        Metric("val_accuracy", by=("task",), optional=True),
        Metric("owned", by=("task",)),
        Metric("free"),
        PLACED,
    )
    components = (Kept("packed"),)
    matrices = (ACCURACY,)

    freed_first: float = axis(
        0.5, over=(0.5, 0.75), help="share of the first task's weights that is freed"
    )
    freed: float = axis(
        0.75, over=(0.5, 0.75, 0.9), help="share of a later task's weights that is freed"
    )
    last: bool = axis(
        True, over=(True, False), help="no task follows: a later task keeps all its weights"
    )
    epochs: int = axis(20, over=(10, 20), smoke=1, help="with the free weights")
    retrain_epochs: int = axis(10, over=(5, 10), smoke=1, help="with the kept ones")
    batch: int = axis(32, over=(32, 64))
    lr: float = axis(
        0.02,
        over=(1e-3, 0.02, 0.05),
        help="divided by 10 in the second half; by 10 again when retraining",
    )
    base: FineTune = axis(
        FineTune(), smoke=FineTune(epochs=1), help="how the first task is trained"
    )

    def check(self, trial: Trial) -> Iterable[str]:
        for name in ("freed_first", "freed"):
            if not 0 < getattr(self, name) < 1:
                yield f"{name}={getattr(self, name):g} is not a share between 0 and 1"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        if len(trial.tasks) == 1:
            return {"base": trial.replace(method=self.base)}
        # A single task has no one to free weights for but those who come; its trial is the same
        # whether it is the last or not.
        return {
            "before": trial.replace(
                method=self.replace(last=len(trial.tasks) == 2), tasks=trial.tasks[:-1]
            )
        }

    def train(self, run: Run) -> None:
        old = len(run.tasks) > 1
        packed = self.grown(run) if old else self.first(run)
        packed.claim(1 - self.freed_first if not old else 1.0 if self.last else 1 - self.freed)
        if not old or not self.last:
            self.fit(run, "retrain", packed, self.retrain_epochs, self.lr / 10)
        names = [t.name for t in run.tasks]
        scores = [
            run.accuracy(OneTask(packed, number), t.test)
            for number, t in enumerate(run.tasks, start=1)
        ]
        values = np.full((len(names), len(names)), np.nan)
        if old:
            values[:-1, :-1] = run.need("before").matrix("accuracy").values
        values[-1] = scores
        run.matrix("accuracy", rows=names, columns=names, values=values)
        log_places(run, scores[1:])
        free, *owned = packed.shares()
        run.log(free=free)
        for number, (task, score, share) in enumerate(
            zip(run.tasks, scores, owned, strict=True), start=1
        ):
            run.log(accuracy=score, owned=share, by={"task": task.name})
            if task.held_out:
                run.log(
                    val_accuracy=run.accuracy(OneTask(packed, number), task.validation_part),
                    by={"task": task.name},
                )
        run.keep("packed", packed)

    def first(self, run: Run) -> PackedNetwork:
        """The base, all of its weights free to be claimed."""
        base = cast(Network, run.need("base").module("network", task=run.tasks[0].name))
        packed = PackedNetwork(
            network={"path": base.path, "config": base.config}, classes=[run.tasks[0].num_classes]
        )
        packed.body.load_state_dict(base.state_dict())
        packed.heads[0].load_state_dict(base.last_layer.state_dict())
        return packed.freeze_earlier().to(run.device)

    def grown(self, run: Run) -> PackedNetwork:
        """The packed network with one more task, trained on what is free."""
        packed = (
            cast(PackedNetwork, run.need("before").module("packed"))
            .with_task(run.tasks[-1].num_classes)
            .to(run.device)
        )
        packed.growing = True
        self.fit(run, "train", packed, self.epochs, self.lr)
        packed.growing = False
        return packed

    def fit(self, run: Run, stage: str, packed: PackedNetwork, epochs: int, lr: float) -> None:
        run.fit(
            stage,
            {"packed": packed},
            self.loss,
            run.tasks[-1].train,
            optimizer=sgd(lr),
            schedule=drops((0.5,)),
            epochs=epochs,
            batch=self.batch,
        )

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return F.cross_entropy(nets["packed"](batch.x), batch.y)
