"""A small network that labels every pixel, for tasks whose labels are masks of an object (Long,
Shelhamer, Darrell 2015, arXiv:1411.4038: fully convolutional).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from methods.networks.vgg import draw_convolutions, vgg_stage
from orchestrator import Network, NetworkSpec


class PerPixel(nn.Linear):
    """One linear layer for every pixel: features [B, C, H, W] to logits [B, outputs, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)


class SmallFCN(Network):
    """The stages of `SmallVGG` without the last pooling, then back up to the size of the images,
    whose sides are multiples of 4. Logits are [B, classes, H, W].

    Features of an image [C, H, W] at the split points, with w = `width`: stage1 [w, H/2, W/2],
    stage2 [2w, H/4, W/4], stage3 [4w, H/4, W/4], up [w, H, W].
    """

    def __init__(self, *, width: int = 16, channels: int = 3, classes: int = 2) -> None:
        super().__init__()
        stages: dict[str, nn.Module] = {}
        before = channels
        for number in (1, 2, 3):
            # Only the first two stages pool: logits have to come back up to every pixel.
            after = width * 2 ** (number - 1)
            stages[f"stage{number}"] = vgg_stage(before, after, pooled=number < 3)
            before = after
        stages["up"] = nn.Sequential(
            nn.Upsample(scale_factor=4, mode="nearest"),  # two poolings made a quarter of H and W
            nn.Conv2d(before, width, 3, 1, 1),
            nn.ReLU(),
        )
        stages["classifier"] = PerPixel(width, classes)
        self.set_stages(stages)
        draw_convolutions(self)


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
