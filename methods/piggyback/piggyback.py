"""Many tasks on one frozen network, each with a binary mask over its weights.

Mallya, Davis, Lazebnik: Piggyback: Adapting a Single Network to Multiple Tasks by Learning to Mask
Weights, ECCV 2018, arXiv:1801.06519. Every weight of a frozen base gets a real-valued score;
weights whose score is above a threshold are kept, all others count as zero, and the gradient
reaches the scores as though there were no threshold. Only the mask and a classifier are kept for a
task. They depend on the base and on that task alone, so tasks may come in any order and none is
ever forgotten.

What it costs: for each task one bit per masked weight (1/32 of the weight in fp32) and a
classifier; batch norms, too, unless `norm="frozen"`. One training of the base, which all tasks and
all settings of the masks share, and one training per task. At the size of the quickstart
(scikit-learn's digits, resnet8 of width 8, 30 epochs) 2.1 seconds for the base and 1.8 per task, on
one core of a busy AMD EPYC, 2026-11-25.

In the order of this file, section 3 of the paper::

    the mask         m = 1 where m^r > tau, else 0   `binarised`
    backward pass    dL/dm^r := dL/dm                `straight_through`
    forward pass     y = (W * m) x                   `Masks.effective`
    what is stored   m, at one bit per weight        `Masks.pack`

W are the frozen weights of a layer, m^r their real-valued scores, m the mask, tau the threshold, L
the loss, * the product weight by weight.

Departs from the paper: its PDF could not be read; the method and its constants follow the authors'
code and a detailed analysis of the paper. A score exactly at the threshold is masked out, as in the
code (the paper keeps it). By default the classifier's learning rate is 1e-3 (the paper's 1e-4
leaves it undertrained in short runs) and images that fill no batch at the end of an epoch are left
out: `PUBLISHED` has the authors' settings. The learning rates drop halfway, whatever the number of
epochs; the authors' drop every 15 of 30. The last epoch counts, not the one that is best on the
test images. Images are not augmented unless `augmentation` says so (the authors mirror those of
sets that they crop to a box, and take random resized crops of the others).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from methods.fine_tune import FineTune
from methods.pieces.building import build_network, recipe_of
from methods.pieces.losses import cross_entropy
from methods.pieces.maskable_weights import Layers, maskable_weights
from methods.pieces.task_network import Norm, TaskNetwork, has_batch_norm
from methods.pieces.task_orders import base_network, needs_of_targets
from methods.piggyback.packed_masks import Kind, PackedMasks
from methods.piggyback.report import (
    MATRICES,
    METRICS,
    adopted_masks,
    log_and_keep,
    log_storage,
    measure_tables,
)
from orchestrator import (
    Augmentation,
    Kept,
    Method,
    Network,
    Parameters,
    Run,
    Task,
    Trial,
    augmentation_axis,
    axis,
    drops,
    roles,
)

Start = Literal["constant", "uniform", "weights"]
Scaling = Literal["none", "layer", "weight"]
SMALLEST_DIVISOR = 1e-12  # of a gradient, where a weight is zero
# Piggyback(**PUBLISHED): the settings of the authors' script run_piggyback_training.sh.
PUBLISHED: dict[str, Any] = {
    "threshold": 5e-3,
    "start": "constant",
    "size": 1e-2,
    "optimizer": "adam",
    "lr": 1e-4,
    "head_lr": 1e-4,
    "norm": "frozen",
    "scaling": "none",
    "layers": "all",
    "dropout": True,
    "epochs": 30,
    "batch": 32,
    "last_batch": "keep",
}


def binarised(scores: Tensor, threshold: float, kind: Kind) -> Tensor:
    """Section 3, the mask m: 1 where m^r > tau, else 0; ternary also -1 where m^r < 0."""
    mask = (scores > threshold).to(scores.dtype)  # as numbers: the forward pass multiplies by it
    if kind == "ternary":
        mask = mask - (scores < 0).to(scores.dtype)
    return mask


def straight_through(
    scores: Tensor, threshold: float, kind: Kind, divisor: Tensor | float = 1.0
) -> Tensor:
    """Section 3, the backward pass: the value is exactly the mask m, the gradient dL/dm^r := dL/dm
    (over `divisor`).
    """
    mask = binarised(scores.detach(), threshold, kind)
    # The term added is exactly 0, so the value is m; its gradient is that of the scores.
    return mask + (scores - scores.detach()) / divisor


class Masks(TaskNetwork):
    """One task in training: a score m^r for each masked weight, the classifier, and batch norms of
    its own where `norm` asks for them.

    `network` is the recipe of the base, `masked` the names of its masked weights; `threshold`,
    `kind` and `scaling` are settings of `Piggyback`, the other arguments those of `TaskNetwork`.
    """

    def __init__(
        self,
        *,
        network: Mapping[str, Any],
        classes: int,
        masked: Sequence[str],
        norm: Norm = "frozen",
        dropout: bool = True,
        kind: Kind = "binary",
        threshold: float = 5e-3,
        scaling: Scaling = "none",
    ) -> None:
        super().__init__(network=network, classes=classes, norm=norm, dropout=dropout)
        self.masked = list(masked)
        self.kind, self.threshold, self.scaling = kind, threshold, scaling
        weights = build_network(network).state_dict()
        # m^r has the shape of W: [out, in] of a linear layer, [out, in, k, k] of a convolution.
        zeros = {_dotless(name): torch.zeros_like(weights[name]) for name in masked}
        self.scores = nn.ParameterDict({k: nn.Parameter(zero) for k, zero in zeros.items()})
        for name in masked:
            # The mask of the previous epoch: part of the state, so that counting goes on after a
            # restart.
            before = torch.zeros_like(weights[name], dtype=torch.int8)
            self.register_buffer(_dotless(f"before-{name}"), before)

    def begin(self, base: Network, start: Start, size: float) -> None:
        """Set the first scores, and copy the base's batch norms. With constant scores above tau the
        features are the base's own at first.
        """
        self.take(base)
        weights = base.state_dict()
        for name in self.masked:
            score = self.score(name)
            if start == "constant":
                nn.init.constant_(score, size)
            elif start == "uniform":
                nn.init.uniform_(score, -size, size)
            else:
                nn.init.constant_(score, float(weights[name].abs().mean()))
        self.flips_and_zeros()  # remembers the first masks, against which flips are counted

    def effective(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Section 3, the forward pass: each layer computes with W * m in place of W.

        So dL/dm^r = dL/d(W * m) * W, which is not zero where m is zero: a weight that was masked
        out can come back.
        """
        replaced = super().effective(weights)
        for name in self.masked:
            weight, score = weights[name], self.score(name)
            divisor = self.divisor(weight)
            # W * m, in the shape of W
            replaced[name] = weight * straight_through(score, self.threshold, self.kind, divisor)
        return replaced

    def divisor(self, weight: Tensor) -> Tensor | float:
        """What gradients of scores are divided by: 1, or the scale of |W|, to which they are
        proportional (options of the authors' code).
        """
        size = weight.abs().clamp_min(SMALLEST_DIVISOR)
        if self.scaling == "layer":
            return size.mean()
        return size if self.scaling == "weight" else 1.0

    def score(self, name: str) -> nn.Parameter:
        """The scores of one weight tensor, in its shape."""
        return cast(nn.Parameter, self.scores[_dotless(name)])

    @torch.no_grad()
    def masks(self) -> dict[str, Tensor]:
        """The mask m of each weight tensor, by its name."""
        return {
            name: binarised(self.score(name), self.threshold, self.kind) for name in self.masked
        }

    @torch.no_grad()
    def pack(self) -> PackedMasks:
        """Section 3, what is stored: the masks at one bit per weight (ternary: two), the classifier
        and the task's batch norms. The scores are thrown away.
        """
        # These two say how a mask is learned; a learned one does not have them.
        settings = {k: v for k, v in self.config.items() if k not in ("threshold", "scaling")}
        packed = PackedMasks(**settings)
        for name, mask in self.masks().items():
            packed.put(name, mask)
        state = self.state_dict()
        shared = {k: v for k, v in state.items() if k.startswith(("head.", "norm."))}
        packed.load_state_dict(shared, strict=False)  # strict=False: the bits were put already
        return packed

    @torch.no_grad()
    def flips_and_zeros(self) -> dict[str, float]:
        """Of all weights that have a mask, the share whose mask changed since the last call and the
        share that is masked out.
        """
        num_flips, num_zeros, num_weights = 0, 0, 0
        for name, mask in self.masks().items():
            before = self.get_buffer(_dotless(f"before-{name}"))
            num_flips += int((before != mask).sum())
            num_zeros += int((mask == 0).sum())
            num_weights += mask.numel()
            before.copy_(mask)
        return {"flipped": num_flips / num_weights, "zeroed": num_zeros / num_weights}


def _dotless(name: str) -> str:
    """Names of parameters and buffers have no dot."""
    return name.replace(".", "-")


class Piggyback(Method):
    """Learn a mask over the source task's network for each target. Each target is a trial of its
    own, so all orders of the tasks share it.
    """

    name = "piggyback"
    tasks = roles("source", "targets", at_least=2)
    base_role = "source"
    metrics = METRICS
    components = (Kept("mask", by=("task",)),)
    matrices = MATRICES

    kind: Kind = axis(
        "binary",
        over=("binary", "ternary"),
        help="values of m: 0, 1 or -1, 0, 1 (section 3; no better in the paper, twice the bits)",
    )
    threshold: float = axis(
        5e-3,
        over=(2.5e-3, 5e-3, 7.5e-3),
        help=(
            "tau: weights with a score above it are kept; "
            "the nearer to `size`, the sooner weights are masked out, and the more of them"
        ),
    )
    start: Start = axis(
        "constant",
        over=("constant", "uniform", "weights"),
        help=(
            "first scores m^r: all `size`, which keeps every weight; drawn from [-size, size]; or "
            "the mean |W| of their layer, which tau masks out where it is not below it"
        ),
    )
    size: float = axis(
        1e-2,
        over=(1e-2, 2e-2),
        help="of the first scores m^r: the further above tau, the longer before any is masked out",
    )
    optimizer: Literal["adam", "sgd"] = axis(
        "adam",
        over=("adam", "sgd"),
        help="for scores m^r and batch norm; sgd needs a far larger lr",
    )
    lr: float = axis(
        1e-4,
        over=(3e-5, 1e-4, 3e-4, 1e-3),
        smoke=1e-2,
        help=(
            "of scores m^r and batch norm; a tenth in the second half; "
            "the larger, the more masks change"
        ),
    )
    norm_lr: float | None = axis(
        None,
        over=(None, 1e-3),
        help="of batch norm's scale and shift; None: `lr`, as in the authors' code",
    )
    head_lr: float = axis(
        1e-3,
        over=(1e-4, 1e-3),
        help=(
            "of the classifier, always with Adam; a tenth in the second half; "
            "too small, it stays undertrained"
        ),
    )
    norm: Norm = axis(
        "frozen",
        over=("frozen", "affine", "full"),
        help=(
            "batch norm: the base's (frozen), scale and shift trained per task (affine), "
            "running statistics, too (full)"
        ),
    )
    scaling: Scaling = axis(
        "none",
        over=("none", "layer", "weight"),
        help="dL/dm^r is divided by nothing, by the mean |W| of the layer, or by its own |W|",
    )
    layers: Layers = axis(
        "all",
        over=("all", "convolutions"),
        help="which W have masks: those of convolutions and linear layers, or of convolutions only",
    )
    after: str | None = axis(
        None,
        help="mask only layers after this split point: the later, the fewer weights are masked",
    )
    dropout: bool = axis(
        True, over=(True, False), help="dropout of the base stays active while masks are trained"
    )
    epochs: int = axis(
        30,
        over=(10, 30),
        smoke=2,
        help="passes through a target's images; with too few, no score crosses tau",
    )
    batch: int = axis(32, over=(32, 64), help="images per step")
    last_batch: Literal["drop", "keep"] = axis(
        "drop",
        over=("drop", "keep"),
        help="images that fill no batch at the end of an epoch: left out, or a smaller batch",
    )
    augmentation: Augmentation = augmentation_axis()
    base: FineTune = axis(FineTune(), smoke=FineTune(epochs=1), help="how the base is trained")

    def canonical(self) -> Self:
        idle = [] if self.start != "weights" else ["size"]
        if self.norm == "frozen" or self.norm_lr == self.lr:
            idle.append("norm_lr")
        return self.reset(*idle)

    def check(self, trial: Trial) -> Iterable[str]:
        network = trial.network
        if network and self.after is not None:
            yield from network.cannot_cut(self.after)
        if network and self.norm != "frozen" and not has_batch_norm(network):
            yield (
                f"norm={self.norm}, but {network.name} has no batch norm to train; "
                "leave it at frozen"
            )
        if self.start == "constant" and self.size <= self.threshold:
            yield (
                f"size={self.size:g} is not above threshold={self.threshold:g}: "
                "every weight would be masked out from the first step"
            )

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return needs_of_targets(trial, self.base)

    def train(self, run: Run) -> None:
        _source, *targets = run.tasks
        if len(targets) == 1:
            # One target: here it is learned. Several: each was
            # learned in a trial of its own, see `needs`.
            packed = {targets[0].name: self.learn(run, targets[0], base_network(run))}
        else:
            packed = adopted_masks(run)
        measure_tables(run, packed)
        log_storage(run, packed)

    def learn(self, run: Run, task: Task, base: Network) -> PackedMasks:
        """Train one task's scores on the frozen base, and keep its mask."""
        masks = Masks(
            network=recipe_of(base),
            classes=task.num_classes,
            masked=maskable_weights(base, self.layers, self.after),
            norm=self.norm,
            dropout=self.dropout,
            kind=self.kind,
            threshold=self.threshold,
            scaling=self.scaling,
        )
        masks.begin(base, self.start, self.size)
        self.warn_if_steps_are_few(run, task, masks)
        run.fit(
            "masks",
            {"masks": masks},
            self.loss,
            task.train.augmented(self.augmentation),
            frozen={"base": base},
            optimizer=self.optimizers,
            schedule=drops((0.5,)),
            epochs=self.epochs,
            batch=self.batch,
            last_batch=self.last_batch,
            watch=masks.flips_and_zeros,
        )
        # Packed before it is measured: the numbers are those of what is stored.
        packed = masks.pack()
        log_and_keep(run, task, packed, base)
        return packed

    def loss(self, nets: Any, batch: Any) -> Tensor:
        """L: cross entropy of the base with its weights masked, on the task's own classes."""
        return cross_entropy(nets["masks"](batch.x, nets["base"]), batch.y)

    def optimizers(self, parameters: Parameters) -> list[Optimizer]:
        """One for the scores (and batch norms), one for the classifier. No weight decay: it would
        pull every score below tau.
        """
        groups: list[dict[str, Any]] = [{"params": parameters.other("masks.head.*")}]
        if self.norm_lr is not None and self.norm != "frozen":
            groups = [
                {"params": parameters.other("masks.head.*", "masks.norm.*")},
                {"params": parameters.matching("masks.norm.*"), "lr": self.norm_lr},
            ]
        of_scores: Optimizer
        if self.optimizer == "adam":
            of_scores = Adam(groups, self.lr)
        else:
            of_scores = SGD(groups, self.lr, momentum=0.9)
        return [of_scores, Adam(parameters.matching("masks.head.*"), self.head_lr)]

    def warn_if_steps_are_few(self, run: Run, task: Task, masks: Masks) -> None:
        """A step of Adam moves a score by about `lr`, so it crosses tau after |m^r - tau| / lr
        steps at the earliest; warn of a training that is not five times as long for half of the
        scores of any layer.
        """
        num_images = run.count(task.train)
        whole, rest = divmod(num_images, self.batch)
        num_steps = self.epochs * (whole + bool(rest and self.last_batch == "keep"))
        steps = {}
        for name in masks.masked:
            distance = (masks.score(name).detach() - self.threshold).abs()
            steps[name] = float(distance.median()) / self.lr
        layer = max(steps, key=steps.__getitem__)
        if self.optimizer == "adam" and num_steps < 5 * steps[layer]:
            warnings.warn(
                f"{task.name}: {num_steps} steps are few, half of the scores of {layer} need "
                f"{steps[layer]:.0f} or more to cross the threshold",
                stacklevel=2,
            )
