"""One network whose weights are shared out among tasks.

Mallya and Lazebnik: PackNet: Adding Multiple Tasks to a Single Network by Iterative Pruning, CVPR
2018, arXiv:1711.05769, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from methods.pieces.residual import build_network
from methods.piggyback.masking import maskable
from orchestrator import Part

FREE = 0  # owner of a weight that no task has kept


class PackedNetwork(Part):
    """A network and the owner of each weight: task number 1, 2, ... or nobody. A task computes with
    its own weights and those of all earlier ones.

    `classes` are the numbers of classes of the tasks so far. Biases and batch norms are the first
    task's and do not change after it.
    """

    def __init__(self, *, network: Mapping[str, Any], classes: Sequence[int]) -> None:
        super().__init__()
        self.body = build_network(network)
        self.classifier = self.body.stage_names[-1]
        self.packed = maskable(self.body, "all", None)
        self.heads = nn.ModuleList(
            nn.Linear(self.body.last_layer.in_features, count) for count in classes
        )
        state = self.body.state_dict()
        for name in self.packed:
            self.register_buffer(
                self._place(name), torch.zeros_like(state[name], dtype=torch.uint8)
            )
        self.growing = False

    @staticmethod
    def _place(name: str) -> str:
        return f"owner-{name}".replace(".", "-")

    def owner(self, name: str) -> Tensor:
        """Of each weight of a layer the number of the task that owns it."""
        return self.get_buffer(self._place(name))

    @property
    def last(self) -> int:
        """Number of the newest task."""
        return len(self.heads)

    def weights(self, task: int) -> dict[str, Tensor]:
        """The weights with which a task computes. Those of earlier tasks get no gradient; while the
        network grows, free ones are the newest's.
        """
        found = {}
        for name in self.packed:
            weight, owner = self.body.get_parameter(name), self.owner(name)
            mine = (
                (owner == task) | (owner == FREE)
                if self.growing and task == self.last
                else owner == task
            )
            found[name] = weight.detach() * ((owner > FREE) & (owner < task)) + weight * mine
        return found

    def forward(self, x: Tensor, task: int | None = None) -> Tensor:
        """Images [B, C, H, W] to logits of a task (default: the newest)."""
        number = task or self.last
        for module in self.body.modules():
            if isinstance(module, _BatchNorm):
                module.training = self.training and self.last == 1
        head = cast(nn.Linear, self.heads[number - 1])
        classifier = {
            f"{self.classifier}.weight": head.weight,
            f"{self.classifier}.bias": head.bias,
        }
        return cast(
            Tensor, functional_call(self.body, {**self.weights(number), **classifier}, (x,))
        )

    @torch.no_grad()
    def claim(self, keep: float) -> None:
        """Give the newest task, in each layer, the share `keep` of the free weights that are
        largest; the others are zero and free again.
        """
        for name in self.packed:
            weight, owner = self.body.get_parameter(name), self.owner(name)
            free = owner == FREE
            count = round(keep * int(free.sum()))
            size = torch.where(free, weight.abs(), torch.full_like(weight, -1.0)).flatten()
            chosen = torch.zeros_like(size, dtype=torch.bool)
            chosen[size.topk(count).indices] = True
            owner[free & chosen.view_as(owner)] = self.last
            weight[owner == FREE] = 0.0

    @torch.no_grad()
    def freeze_earlier(self) -> PackedNetwork:
        """Only the newest head is trained, and biases and batch norms with the first task only."""
        for name, parameter in self.body.named_parameters():
            if name not in self.packed:
                parameter.requires_grad_(
                    self.last == 1 and not name.startswith(self.classifier + ".")
                )
        for number, head in enumerate(self.heads, start=1):
            head.requires_grad_(number == self.last)
        return self

    def shares(self) -> list[float]:
        """Share of all weights that each task owns, free ones first."""
        counts = torch.stack(
            [
                torch.bincount(self.owner(n).flatten().long(), minlength=self.last + 1)
                for n in self.packed
            ]
        ).sum(0)
        return [float(c) / float(counts.sum()) for c in counts]

    def with_task(self, classes: int) -> PackedNetwork:
        """The same network with a head for one more task."""
        grown = PackedNetwork(
            network=self.config["network"], classes=[*self.config["classes"], classes]
        )
        grown.load_state_dict(self.state_dict(), strict=False)
        return grown.freeze_earlier()


class OneTask(nn.Module):
    """A packed network for one of its tasks."""

    def __init__(self, packed: PackedNetwork, task: int) -> None:
        super().__init__()
        self.packed, self.task = packed, task

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.packed(x, self.task))
