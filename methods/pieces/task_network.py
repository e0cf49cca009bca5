"""What a task adds to a frozen network that other tasks share: a classifier, and batch norms of its
own where it may have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from methods.pieces.building import build_network, example_network
from orchestrator import Network, NetworkSpec, Part

Norm = Literal["frozen", "affine", "full"]


def has_batch_norm(spec: NetworkSpec) -> bool:
    """Whether a network has any batch norm."""
    return any(isinstance(module, _BatchNorm) for module in example_network(spec).modules())


class TaskNorm(nn.Module):
    """A task's own batch norms: scale and shift, which are trained, and with `statistics` running
    statistics.
    """

    def __init__(self, network: Network, *, statistics: bool) -> None:
        super().__init__()
        self.name_in_network: dict[str, str] = {}  # by our own name, which has no dot
        for layer, module in network.named_modules():
            if not isinstance(module, _BatchNorm):
                continue
            for name, parameter in module.named_parameters(recurse=False):
                own = nn.Parameter(parameter.detach().clone())  # [C]: scale, shift
                self.register_parameter(self._own_name(layer, name), own)
            if statistics:
                for name, buffer in module.named_buffers(recurse=False):
                    self.register_buffer(self._own_name(layer, name), buffer.clone())

    def _own_name(self, layer: str, name: str) -> str:
        own = f"{layer}-{name}".replace(".", "-")
        self.name_in_network[own] = f"{layer}.{name}"
        return own

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Copy a network's own."""
        self.load_state_dict({own: state[name] for own, name in self.name_in_network.items()})

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and statistics by the network's names."""
        own_tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        return {self.name_in_network[own]: value for own, value in own_tensors.items()}


class TaskNetwork(Part):
    """What one task adds to a frozen base: a classifier, and batch norms of its own as `norm` says.

    Subclasses change weights, too, by overriding `effective`.

    `network` is the recipe of the base. `norm` is "frozen" (the base's batch norms as they are),
    "affine" (scale and shift are the task's) or "full" (running statistics, too, and training
    normalises by the batch). Without `dropout`, the base's own is off while the task is trained.
    """

    def __init__(
        self,
        *,
        network: Mapping[str, Any],
        classes: int,
        norm: Norm = "frozen",
        dropout: bool = True,
    ) -> None:
        super().__init__()
        base = build_network(network)
        self.classifier = base.stage_names[-1]
        self.norm_mode, self.dropout = norm, dropout
        self.head = nn.Linear(base.last_layer.in_features, classes)
        self.norm = TaskNorm(base, statistics=norm == "full") if norm != "frozen" else None

    def take(self, base: Network) -> None:
        """Copy the base's batch norms."""
        if self.norm is not None:
            self.norm.take(base.state_dict())

    def effective(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that replace the base's own, `weights`, by the same names."""
        replaced: dict[str, Tensor] = {}
        for name, value in self.head.named_parameters():
            # The base's classifier is for the base's classes:
            # the task's takes its place, rows and all.
            replaced[f"{self.classifier}.{name}"] = value
        if self.norm is not None:
            replaced |= self.norm.tensors()
        return replaced

    def forward(self, x: Tensor, base: Network) -> Tensor:
        """Images [B, C, H, W] to the task's logits [B, classes]. The base is not changed."""
        for module in base.modules():
            if isinstance(module, _BatchNorm):
                # A frozen net is in eval mode; batch norm and
                # dropout follow the task's part instead.
                module.training = self.training and self.norm_mode == "full"
            elif isinstance(module, nn.Dropout):
                module.training = self.training and self.dropout
        # A call with other tensors instead of a changed base: many tasks can share one.
        return cast(Tensor, functional_call(base, self.effective(base.state_dict()), (x,)))

    @torch.no_grad()
    def joined(self, other: Part) -> Network:
        """The task's network on its own: the base's layers, with the task's tensors in place of the
        base's. It shares no tensor with either.
        """
        # The base as it would be for this task's classes; every tensor in it is then overwritten.
        config = {**other.config, "classes": self.head.out_features}
        network = build_network({"path": other.path, "config": config})
        state = other.state_dict()
        own = {name: value.detach().clone() for name, value in self.effective(state).items()}
        network.load_state_dict({**state, **own})
        return network.eval()
