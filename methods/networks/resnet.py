"""CIFAR-style residual networks (He et al. 2016, arXiv:1512.03385, section 4.2): 6n+2 layers, three
stages of n blocks.

Shortcuts where the shape changes are 1x1 convolutions with batch norm (option B); the paper's CIFAR
networks use option A.
"""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional as F

from orchestrator import Blocks, Network, NetworkSpec

Init = Literal["he", "torch"]


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut; ReLU after the sum, so nothing
    bypasses a cut after a block.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        # Only where the shape changes: an identity lets the gradient pass as it is.
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def sum_before_relu(self, x: Tensor) -> Tensor:
        """The sum before the last ReLU."""
        y = F.relu(self.bn1(self.conv1(x)))  # [B, width, H / stride, W / stride]
        return cast(Tensor, self.bn2(self.conv2(y)) + self.shortcut(x))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.sum_before_relu(x))


class ResNet(Network):
    """Stem, three stages of `blocks` blocks (`width`, 2 and 4 times `width` channels; the last two
    halve the resolution), pooling, classifier.

    Features of an image [C, H, W] at the split points, with w = `width`: stem and stage1
    [w, H, W], stage2 [2w, H/2, W/2], stage3 [4w, H/4, W/4] (rounded up), pool [4w]; after a block
    as after its stage.

    Convolutions are drawn as He et al. 2015 say (`init` = "he") or by torch's default ("torch"),
    whose weights are about half as large after the stem.
    """

    def __init__(
        self,
        *,
        blocks: int = 1,
        width: int = 16,
        channels: int = 3,
        classes: int = 10,
        init: Init = "he",
    ) -> None:
        super().__init__()
        stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        stages: dict[str, nn.Module] = {"stem": stem}
        before = width
        for number in (1, 2, 3):
            after = width * 2 ** (number - 1)
            # Only a stage's first block halves the resolution.
            first = Block(before, after, stride=2 if number > 1 else 1)
            others = [Block(after, after, stride=1) for _ in range(blocks - 1)]
            stages[f"stage{number}"] = Blocks(first, *others)
            before = after
        stages["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        stages["classifier"] = nn.Linear(before, classes)
        self.set_stages(stages)
        for module in self.modules():
            if init == "he" and isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def cifar_resnet(blocks: int, *, width: int = 16, init: Init = "he") -> NetworkSpec:
    """The residual network with 6 * blocks + 2 layers. Split points: stem, each block, each stage,
    pool.
    """
    splits = ["stem"]
    for stage in ("stage1", "stage2", "stage3"):
        # As `Network.splits` would give them, without building a network.
        splits += [*(f"{stage}.block{number}" for number in range(1, blocks)), stage]
    splits.append("pool")
    settings = (("blocks", blocks), ("width", width), ("init", init))
    return NetworkSpec(
        name=f"resnet{6 * blocks + 2}",
        path="methods.networks.resnet:ResNet",
        settings=settings,
        defaults=(("blocks", blocks), ("width", 16), ("init", "he")),
        splits=tuple(splits),
    )


def resnet8(*, width: int = 16, init: Init = "he") -> NetworkSpec:
    """8 layers; 78 thousand parameters at width 16."""
    return cifar_resnet(1, width=width, init=init)


def resnet20(*, width: int = 16, init: Init = "he") -> NetworkSpec:
    """20 layers; 0.27 million parameters at width 16."""
    return cifar_resnet(3, width=width, init=init)


def resnet56(*, width: int = 16, init: Init = "he") -> NetworkSpec:
    """56 layers; 0.86 million parameters at width 16."""
    return cifar_resnet(9, width=width, init=init)
