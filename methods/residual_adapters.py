"""Many tasks on one frozen network, each with small convolutions of its own beside the frozen ones.

Rebuffi, Bilen, Vedaldi: Learning multiple visual domains with residual adapters, NeurIPS 2017,
arXiv:1705.08045 (adapters behind a convolution, `series`); Efficient parametrization of
multi-domain deep neural networks, CVPR 2018, arXiv:1803.10082 (beside it, `parallel`). The rival of
NetTailor's table 3. Only the 1x1 adapters, batch norms and a classifier are learned for a task.

Both forms change the weights of a frozen convolution and nothing else, so a task's network costs
what the base costs (W [out, in, k, k], A the adapter, [out, in] or [out, out])::

    parallel    y = W * x + A x          W + A at the centre of the kernel
    series      y = (1 + A) (W * x)      (1 + A) W

What it costs: for each task a 1x1 convolution per convolution with a larger kernel, batch norms,
and a classifier; one training of them, whose gradients pass through the whole network.

Departs from the paper: adapters start at zero, so that the features are the base's at first (theirs
are drawn small in the second paper). Convolutions of kernel 1 have none, and grouped ones neither.
The weight decay is one number for all (theirs is chosen for each set), rate and schedule are our
own. Images that fill no batch at the end of an epoch are left out of it, and images are not
augmented unless `augmentation` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from methods.fine_tune import FineTune
from methods.pieces.accuracies import ACCURACIES
from methods.pieces.building import build_network, example_recipe, recipe_of
from methods.pieces.losses import cross_entropy
from methods.pieces.task_network import Norm, TaskNetwork, has_batch_norm
from methods.pieces.task_orders import (
    ACCURACY_AFTER_EACH_TASK,
    ACCURACY_AT_PLACE,
    keep_part,
    learn_or_adopt,
    needs_of_targets,
)
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
    one_cycle,
    roles,
    sgd,
)

Form = Literal["parallel", "series"]


def adapted_weights(network: Network) -> list[str]:
    """Names of the weights of convolutions that an adapter stands beside: all but those of kernel 1
    and grouped ones.
    """
    return [
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1 and module.groups == 1
    ]


class AdaptedNetwork(TaskNetwork):
    """One task's adapters A by the names of the weights beside which they stand, its classifier,
    and its batch norms as `norm` says.
    """

    def __init__(
        self,
        *,
        network: Mapping[str, Any],
        classes: int,
        adapted: Sequence[str],
        form: Form = "parallel",
        norm: Norm = "full",
        dropout: bool = True,
    ) -> None:
        super().__init__(network=network, classes=classes, norm=norm, dropout=dropout)
        self.adapted, self.form = list(adapted), form
        self.adapters = nn.ParameterDict()
        weights = build_network(network).state_dict()
        for name in self.adapted:
            num_out, num_in = weights[name].shape[:2]
            size = (num_out, num_in if form == "parallel" else num_out)
            self.adapters[_dotless(name)] = nn.Parameter(torch.zeros(size))

    def effective(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that replace the base's own: kernels with their adapters, and the classifier
        and batch norms of `TaskNetwork`.
        """
        replaced = super().effective(weights)
        for name in self.adapted:
            weight, adapter = weights[name], cast(Tensor, self.adapters[_dotless(name)])
            if self.form == "series":
                replaced[name] = weight + torch.einsum("po,oihw->pihw", adapter, weight)
            else:
                replaced[name] = weight + at_centre(adapter, weight.shape)
        return replaced


def at_centre(adapter: Tensor, shape: torch.Size) -> Tensor:
    """A 1x1 kernel [out, in] as one of a larger `shape` [out, in, h, w], zero but at the centre."""
    height, width = shape[2:]
    top, left = height // 2, width // 2
    around = (left, width - 1 - left, top, height - 1 - top)
    return nn.functional.pad(adapter[:, :, None, None], around)


def _dotless(name: str) -> str:
    """Names of parameters have no dot."""
    return name.replace(".", "-")


class ResidualAdapters(Method):
    """Train adapters, batch norms and a classifier for each target on the source task's network.
    Each target is a trial of its own.
    """

    name = "residual_adapters"
    tasks = roles("source", "targets", at_least=2)
    base_role = "source"
    metrics = (
        *ACCURACIES,
        Metric(
            "task_share",
            by=("task",),
            higher_is_better=False,
            help="Parameters that a task adds, as a share of the whole network's.",
        ),
        ACCURACY_AT_PLACE,
    )
    components = (Kept("part", by=("task",)),)
    matrices = (ACCURACY_AFTER_EACH_TASK,)

    form: Form = axis(
        "parallel",
        over=("parallel", "series"),
        help="where an adapter stands: beside its convolution (2018), or behind it (2017)",
    )
    norm: Norm = axis(
        "full",
        over=("full", "affine", "frozen"),
        help="batch norm: scale, shift and running statistics are the task's (full, as in the "
        "papers), scale and shift only, or the base's as they are",
    )
    epochs: int = axis(30, over=(10, 30), smoke=1, help="passes through a target's training images")
    batch: int = axis(32, over=(32, 64), help="images per step")
    lr: float = axis(
        0.03, over=(0.01, 0.03, 0.1), help="highest learning rate of the one-cycle schedule"
    )
    weight_decay: float = axis(
        5e-4,
        over=(5e-4, 2e-3),
        help="of adapters, batch norms and classifier; the more, the nearer features stay to the "
        "base's",
    )
    dropout: bool = axis(
        True, over=(True, False), help="dropout of the base stays active in training"
    )
    augmentation: Augmentation = augmentation_axis()
    base: FineTune = axis(FineTune(), smoke=FineTune(epochs=1), help="how the base is trained")

    def check(self, trial: Trial) -> Iterable[str]:
        if trial.network is None:
            return
        if self.norm != "frozen" and not has_batch_norm(trial.network):
            yield f"{trial.network.name} has no batch norm to train; say norm='frozen'"
        with torch.device("meta"):
            network = build_network(example_recipe(trial.network))
        if not adapted_weights(network):
            yield f"{trial.network.name} has no convolution that an adapter could stand beside"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return needs_of_targets(trial, self.base)

    def train(self, run: Run) -> None:
        learn_or_adopt(run, self.learn)

    def learn(self, run: Run, task: Task, base: Network) -> None:
        """Train and keep one task's adapters."""
        part = AdaptedNetwork(
            network=recipe_of(base),
            classes=task.num_classes,
            adapted=adapted_weights(base),
            form=self.form,
            norm=self.norm,
            dropout=self.dropout,
        )
        part.take(base)  # batch norms of its own begin as the base's
        run.fit(
            "train",
            {"part": part},
            self.loss,
            task.train.augmented(self.augmentation),
            frozen={"base": base},
            optimizer=sgd(self.lr, weight_decay=self.weight_decay),
            schedule=one_cycle(),
            epochs=self.epochs,
            batch=self.batch,
        )
        whole = sum(parameter.numel() for parameter in base.parameters())
        added = sum(parameter.numel() for parameter in part.parameters())
        run.log(task_share=added / whole, by={"task": task.name})
        keep_part(run, task, part, base)

    def loss(self, nets: Any, batch: Any) -> Tensor:
        """Cross entropy of the base with the task's adapters, on the task's own classes."""
        return cross_entropy(nets["part"](batch.x, nets["base"]), batch.y)
