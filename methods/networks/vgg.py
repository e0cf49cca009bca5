"""A small network in the manner of VGG (Simonyan and Zisserman 2015, arXiv:1409.1556) without batch
norm: a backbone with no running statistics.
"""

from __future__ import annotations

from torch import nn

from orchestrator import Network, NetworkSpec


class SmallVGG(Network):
    """Three stages of two 3x3 convolutions with ReLU and max pooling, global average pooling,
    classifier. Images of at least 8x8 pixels.
    """

    def __init__(self, *, width: int = 16, channels: int = 3, classes: int = 10) -> None:
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
                nn.MaxPool2d(2),
            ]
            stages[f"stage{number}"] = nn.Sequential(*layers)
            before = after
        stages["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        stages["classifier"] = nn.Linear(before, classes)
        self.set_stages(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def small_vgg(*, width: int = 16) -> NetworkSpec:
    """Six convolutions without batch norm; 72 thousand parameters at width 16. Split points:
    stage1, stage2, stage3, pool.
    """
    return NetworkSpec(
        name="small_vgg",
        path="methods.networks.vgg:SmallVGG",
        settings=(("width", width),),
        defaults=(("width", 16),),
        splits=("stage1", "stage2", "stage3", "pool"),
    )
