"""A network of a few hundred weights, for trying methods: `spolia check-method` trains it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orchestrator.parts.network import Network, network_spec
from orchestrator.spec.trial import NetworkSpec


class Residual(nn.Module):
    """Two convolutions beside their input, with half the resolution at the end where `stride` is
    2.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.beside = nn.Conv2d(width_in, width, 1, stride=stride, bias=False)
        self.layers = nn.Sequential(
            nn.Conv2d(width_in, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.beside(x) + self.layers(x))


class SmallNetwork(Network):
    """A stem, two residual stages, and a classifier; cut at stem, stage1, stage2 or pool."""

    def __init__(self, *, width: int = 4, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.set_stages(
            {
                "stem": nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()),
                "stage1": Residual(width, width, 1),
                "stage2": Residual(width, 2 * width, 2),
                "pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                "classifier": nn.Linear(2 * width, classes),
            }
        )


def small_network() -> NetworkSpec:
    """What a sweep would write for it."""
    return network_spec(SmallNetwork, width=4)
