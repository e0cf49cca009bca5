"""A small network that tells for each pixel whether it is the object's (Long, Shelhamer, Darrell
2015, arXiv:1411.4038: fully convolutional).
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from orchestrator import Network, NetworkSpec


class PerPixel(nn.Linear):
    """One linear layer for every pixel: features [B, C, H, W] to logits [B, outputs, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)


class SmallFCN(Network):
    """The convolutions of `SmallVGG` but for its last pooling, then up to the images' size again.
    Sides of images are multiples of 4.
    """

    def __init__(self, *, width: int = 16, channels: int = 3, classes: int = 2) -> None:
        super().__init__()
        stages: dict[str, nn.Module] = {}
        before = channels
        for number in (1, 2, 3):
            after = width * 2 ** (number - 1)
            layers = [
                nn.Conv2d(before, after, 3, 1, 1),
                nn.ReLU(),
                nn.Conv2d(after, after, 3, 1, 1),
                nn.ReLU(),
            ]
            stages[f"stage{number}"] = nn.Sequential(
                *layers, *([nn.MaxPool2d(2)] if number < 3 else [])
            )
            before = after
        stages["up"] = nn.Sequential(
            nn.Upsample(scale_factor=4, mode="nearest"),
            nn.Conv2d(before, width, 3, 1, 1),
            nn.ReLU(),
        )
        stages["classifier"] = PerPixel(width, classes)
        self.set_stages(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(cast(Tensor, module.bias))


def small_fcn(*, width: int = 16) -> NetworkSpec:
    """Seven convolutions for tasks whose labels are masks; 81 thousand parameters at width 16.
    Split points: stage1, stage2, stage3, up.
    """
    return NetworkSpec(
        name="small_fcn",
        path="methods.networks.fcn:SmallFCN",
        settings=(("width", width),),
        defaults=(("width", 16),),
        splits=("stage1", "stage2", "stage3", "up"),
    )
