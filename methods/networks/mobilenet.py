"""A small network in the manner of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381): inverted
residuals with depthwise convolutions.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from orchestrator import Blocks, Network, NetworkSpec


class InvertedResidual(nn.Module):
    """1x1 convolution to `expansion` times the channels, 3x3 depthwise, 1x1 to `width` without
    activation; a shortcut where the shape stays.
    """

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.layers = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            # Depthwise: one filter a channel.
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            # No activation after it: a ReLU on few channels loses too much.
            nn.Conv2d(wide, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.is_residual = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return cast(Tensor, x + y if self.is_residual else y)


class SmallMobileNet(Network):
    """Stem, three stages of two inverted residuals as wide as those of `ResNet`, pooling,
    classifier. The last two stages halve the resolution.

    Features of an image [C, H, W] at the split points, with w = `width`: stem and stage1
    [w, H, W], stage2 [2w, H/2, W/2], stage3 [4w, H/4, W/4] (rounded up), pool [4w]; after a first
    block as after its stage.
    """

    def __init__(
        self, *, width: int = 16, expansion: int = 3, channels: int = 3, classes: int = 10
    ) -> None:
        super().__init__()
        stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU6()
        )
        stages: dict[str, nn.Module] = {"stem": stem}
        before = width
        for number in (1, 2, 3):
            after = width * 2 ** (number - 1)
            stride = 2 if number > 1 else 1
            first = InvertedResidual(before, after, stride, expansion)
            stages[f"stage{number}"] = Blocks(first, InvertedResidual(after, after, 1, expansion))
            before = after
        stages["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        stages["classifier"] = nn.Linear(before, classes)
        self.set_stages(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def small_mobilenet(*, width: int = 16, expansion: int = 3) -> NetworkSpec:
    """Six inverted residuals; 53 thousand parameters at width 16. Split points: stem, each block,
    each stage, pool.
    """
    splits = ["stem"]
    for stage in ("stage1", "stage2", "stage3"):
        splits += [f"{stage}.block1", stage]  # the last block's split point has the stage's name
    splits.append("pool")
    settings = (("width", width), ("expansion", expansion))
    return NetworkSpec(
        name="small_mobilenet",
        path="methods.networks.mobilenet:SmallMobileNet",
        settings=settings,
        defaults=(("width", 16), ("expansion", 3)),
        splits=tuple(splits),
    )
