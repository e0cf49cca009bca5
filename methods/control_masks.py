"""Masks that nobody learned, as dense as learned ones.

Control for Mallya, Davis, Lazebnik: Piggyback, ECCV 2018, arXiv:1801.06519. If weights drawn at
random, or the largest ones, did as well as those that were learned, learning them would be worth
nothing.

What it costs: what the masks that it imitates cost, which are trained first, and a classifier of
its own for each target.

Departs from the paper: it is no row of the paper's tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.pieces.task_orders import base_network, needs_of_targets
from methods.piggyback import Piggyback
from methods.piggyback.packed_masks import PackedMasks
from methods.piggyback.report import (
    MATRICES,
    METRICS,
    adopted_masks,
    log_and_keep,
    log_storage,
    measure_tables,
)
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
        needs = dict(needs_of_targets(trial, self.of.base))
        if len(trial.tasks) == 2:
            needs["learned"] = trial.replace(method=self.of)
        return needs

    def train(self, run: Run) -> None:
        _source, *targets = run.tasks
        if len(targets) == 1:
            packed = {targets[0].name: self.learn(run, targets[0], base_network(run))}
        else:
            packed = adopted_masks(run)
        measure_tables(run, packed)
        log_storage(run, packed)

    def learn(self, run: Run, task: Task, base: Network) -> PackedMasks:
        """One task's mask and classifier. Nothing of the learned ones goes in but how many weights
        each layer keeps.
        """
        learned = cast(PackedMasks, run.need("learned").module("mask", task=task.name))
        masks = PackedMasks(**learned.config)
        masks.take(base)
        weights = base.state_dict()
        for name in masks.masked:
            num_kept = int((learned.mask(name) != 0).sum())
            rank = self.rank(run, task, name, weights[name])
            kept = torch.zeros(len(rank))
            kept[rank.topk(num_kept).indices] = 1
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
        log_and_keep(run, task, masks, base)
        return masks

    def rank(self, run: Run, task: Task, name: str, weight: Tensor) -> Tensor:
        """A number for each weight of a layer, [weights]: the highest are kept."""
        if self.by == "magnitude":
            return weight.abs().flatten().cpu()
        generator = torch.Generator().manual_seed(derive(run.seed, "control", task.name, name))
        return torch.rand(weight.numel(), generator=generator)

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return F.cross_entropy(nets["masks"](batch.x, nets["base"]), batch.y)
