"""Auxiliary heads that several networks share: fed with features at a split point, thrown away
after training.
"""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor, nn

from orchestrator import Part, Run

Kind = Literal["same_as_head", "linear", "mlp"]


class PooledHead(Part):
    """Global average pooling, then one linear layer (`hidden` = 0) or two with ReLU. Features [B,
    C, H, W] or [B, C] to [B, classes].
    """

    def __init__(self, *, channels: int, classes: int, hidden: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(channels, hidden), nn.ReLU()] if hidden else []
        self.layers = nn.Sequential(*layers, nn.Linear(hidden or channels, classes))

    def forward(self, features: Tensor) -> Tensor:
        return cast(
            Tensor, self.layers(features.flatten(2).mean(2) if features.ndim > 2 else features)
        )


def auxiliary_head(run: Run, kind: Kind, split: str, name: str, classes: int) -> Part:
    """A head for `classes` outputs: the network's own layers behind the split point, one linear
    layer, or two.
    """
    network = run.network(name, classes=classes)
    if kind == "same_as_head":
        return network.head(split)
    channels = network.shape(split, run.image(run.tasks[0]))[0]
    return PooledHead(channels=channels, classes=classes, hidden=128 if kind == "mlp" else 0)
