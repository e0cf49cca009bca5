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

from methods.pieces.residual import build_network
from orchestrator import Network, NetworkSpec, Part

Norm = Literal["frozen", "affine", "full"]


def has_batch_norm(spec: NetworkSpec) -> bool:
    """Whether a network has any batch norm."""
    with torch.device("meta"):
        net = build_network(
            {"path": spec.path, "config": {**dict(spec.settings), "channels": 3, "classes": 2}}
        )
    return any(isinstance(module, _BatchNorm) for module in net.modules())


class TaskNorm(nn.Module):
    """A task's own batch norms: scale and shift, which are trained, and with `statistics` running
    statistics.
    """

    def __init__(self, network: Network, *, statistics: bool) -> None:
        super().__init__()
        self.names: dict[str, str] = {}  # ours to the network's
        for layer, module in network.named_modules():
            if not isinstance(module, _BatchNorm):
                continue
            state = {
                **dict(module.named_parameters(recurse=False)),
                **(dict(module.named_buffers(recurse=False)) if statistics else {}),
            }
            for name, value in state.items():
                own = f"{layer}-{name}".replace(".", "-")
                self.names[own] = f"{layer}.{name}"
                if isinstance(value, nn.Parameter):
                    self.register_parameter(own, nn.Parameter(value.detach().clone()))
                else:
                    self.register_buffer(own, value.clone())

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Begin from a network's own."""
        self.load_state_dict({own: state[name] for own, name in self.names.items()})

    def tensors(self) -> dict[str, Tensor]:
        """By the network's names."""
        return {
            self.names[own]: value
            for own, value in (*self.named_parameters(), *self.named_buffers())
        }


class TaskNetwork(Part):
    """What one task adds to a frozen base: a classifier and, as `norm` says, batch norms of its
    own. Subclasses change weights, too.
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
        """Begin from the base's batch norms."""
        if self.norm is not None:
            self.norm.take(base.state_dict())

    def effective(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """By the base's names: the tensors that take the place of its own, which are `weights`."""
        own = {f"{self.classifier}.{name}": value for name, value in self.head.named_parameters()}
        return own | (self.norm.tensors() if self.norm is not None else {})

    def forward(self, x: Tensor, base: Network) -> Tensor:
        """Images [B, C, H, W] to the task's logits [B, classes]. The base is not changed."""
        for module in base.modules():
            if isinstance(module, _BatchNorm):
                module.training = self.training and self.norm_mode == "full"
            elif isinstance(module, nn.Dropout):
                module.training = self.training and self.dropout
        return cast(Tensor, functional_call(base, self.effective(base.state_dict()), (x,)))

    @torch.no_grad()
    def joined(self, other: Part) -> Network:
        """The task's network by itself: the base's layers with everything that is the task's in
        place.
        """
        state = other.state_dict()
        ready = build_network(
            {"path": other.path, "config": {**other.config, "classes": self.head.out_features}}
        )
        ready.load_state_dict(
            {
                **state,
                **{name: value.detach().clone() for name, value in self.effective(state).items()},
            }
        )
        return ready.eval()
