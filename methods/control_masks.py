"""Masks that are not learned, as dense as learned ones.

Control for Mallya, Davis, Lazebnik: Piggyback, ECCV 2018, arXiv:1801.06519. If masks that keep
random weights, or the largest, did as well as learned ones, there would be no point in learning
them.

What it costs: for each target the training of the mask whose density it copies, and then one of a
classifier.

Departs from the paper: it is not in the paper's tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor

from methods.pieces.losses import cross_entropy
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
    """For each target, make a mask that keeps as many weights in every layer as the learned one
    does, then train its classifier (and batch norms).
    """

    name = "control_masks"
    tasks = roles("source", "targets", at_least=2)
    base_role = "source"
    metrics = METRICS
    components = (Kept("mask", by=("task",)),)
    matrices = MATRICES

    of: Piggyback = axis(
        Piggyback(),
        smoke=Piggyback.smoke(),
        help="the masks whose density is copied, and the settings that train the classifier",
    )
    by: Literal["random", "magnitude"] = axis(
        "random",
        over=("random", "magnitude"),
        help="which weights are kept: random ones, or the largest",
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
        """One task's mask and classifier. Of the learned mask only the number of weights that each
        layer keeps is used.
        """
        learned = cast(PackedMasks, run.need("learned").module("mask", task=task.name))
        # The learned mask's build, with the base's batch norms and a new classifier.
        masks = PackedMasks(**learned.config)
        masks.take(base)
        weights = base.state_dict()
        for name in masks.masked:
            num_kept = int((learned.mask(name) != 0).sum())
            rank = self.rank(run, task, name, weights[name])
            kept = torch.zeros(len(rank))  # [weights of the layer], 1 where kept
            # Layer by layer, as the learned mask is: a control for which weights, not for how many.
            kept[rank.topk(num_kept).indices] = 1
            masks.put(name, kept.view(weights[name].shape))
        run.fit(
            "classifier",
            {"masks": masks},
            self.loss,
            task.train.augmented(self.of.augmentation),
            frozen={"base": base},
            optimizer=adam(self.of.head_lr),
            schedule=drops((0.5,)),
            epochs=self.of.epochs,
            batch=self.of.batch,
            last_batch=self.of.last_batch,
        )
        log_and_keep(run, task, masks, base)
        return masks

    def rank(self, run: Run, task: Task, name: str, weight: Tensor) -> Tensor:
        """A rank for each weight of a layer, [weights]: those of highest rank are kept."""
        if self.by == "magnitude":
            return weight.abs().flatten().cpu()
        generator = torch.Generator().manual_seed(derive(run.seed, "control", task.name, name))
        return torch.rand(weight.numel(), generator=generator)

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return cross_entropy(nets["masks"](batch.x, nets["base"]), batch.y)
