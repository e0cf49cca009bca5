"""Masks that nobody learned, as dense as learned ones.

Control for Mallya, Davis, Lazebnik: Piggyback, ECCV 2018, arXiv:1801.06519: if weights drawn at
random, or the largest ones, did as well as those that were learned, learning them would be worth
nothing.

Departs from the paper: it is no row of the paper's tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.pieces.task_orders import needs_of_targets
from methods.piggyback import Piggyback
from methods.piggyback.masking import PackedMasks
from methods.piggyback.report import MATRICES, METRICS, each_target, keep_packed
from orchestrator import Kept, Method, Network, Run, Task, Trial, adam, axis, derive, drops, roles


class ControlMasks(Method):
    """For each target a mask with as many weights in every layer as the learned one keeps, then its
    classifier (and batch norms).
    """

    name = "control_masks"
    tasks = roles("source", "targets", at_least=2)
    metrics = METRICS
    components = (Kept("mask", by=("task",)),)
    matrices = MATRICES

    of: Piggyback = axis(
        Piggyback(),
        smoke=Piggyback.smoke(),
        help="whose masks are imitated in density, and whose training of the classifier",
    )
    by: Literal["random", "magnitude"] = axis(
        "random", over=("random", "magnitude"), help="which weights are kept: drawn, or the largest"
    )

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        learned = {"learned": trial.replace(method=self.of)} if len(trial.tasks) == 2 else {}
        return {**needs_of_targets(trial, self.of.base), **learned}

    def train(self, run: Run) -> None:
        each_target(run, self.learn)

    def learn(self, run: Run, task: Task, base: Network) -> PackedMasks:
        """One task's mask and classifier; both begin anew, nothing of the learned ones but their
        number of weights goes in.
        """
        learned = cast(PackedMasks, run.need("learned").module("mask", task=task.name))
        masks = PackedMasks(**learned.config)
        masks.take(base)
        weights = base.state_dict()
        for name in masks.masked:
            count = int((learned.mask(name) != 0).sum())
            generator = torch.Generator().manual_seed(derive(run.seed, "control", task.name, name))
            rank = (
                torch.rand(weights[name].numel(), generator=generator)
                if self.by == "random"
                else weights[name].abs().flatten().cpu()
            )
            kept = torch.zeros(len(rank))
            kept[rank.topk(count).indices] = 1
            masks.put(name, kept.view(weights[name].shape))
        run.fit(
            "classifier",
            {"masks": masks},
            self.loss,
            task.train,
            frozen={"base": base},
            optimizer=adam(self.of.head_lr),
            schedule=drops((0.5,)),
            epochs=self.of.epochs,
            batch=self.of.batch,
        )
        return keep_packed(run, task, masks, base)

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return F.cross_entropy(nets["masks"](batch.x, nets["base"]), batch.y)
