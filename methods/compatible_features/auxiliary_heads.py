"""An auxiliary head that does not repeat the layers of a network's own head."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from orchestrator import Part


class PooledHead(Part):
    """Global average pooling, then one linear layer (`hidden` = 0) or two with ReLU between them.
    Features [B, C, H, W] or [B, C] to logits [B, classes].
    """

    def __init__(self, *, channels: int, classes: int, hidden: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(channels, hidden), nn.ReLU()] if hidden else []
        self.layers = nn.Sequential(*layers, nn.Linear(hidden or channels, classes))

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim > 2:
            features = features.flatten(2).mean(2)  # [B, C]
        return cast(Tensor, self.layers(features))
