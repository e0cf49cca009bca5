"""A small network in the manner of VGG (Simonyan and Zisserman 2015, arXiv:1409.1556) without batch
norm: a backbone with no running statistics.
"""

from __future__ import annotations

from torch import nn

from orchestrator import Network, NetworkSpec


def vgg_stage(channels: int, width: int, *, pooled: bool = True) -> nn.Sequential:
    """Two 3x3 convolutions with ReLU; `pooled` halves the resolution after them."""
    layers = [
        nn.Conv2d(channels, width, 3, 1, 1),  # kernel, stride, padding: H and W stay
        nn.ReLU(),
        nn.Conv2d(width, width, 3, 1, 1),
        nn.ReLU(),
    ]
    if pooled:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def draw_convolutions(network: nn.Module) -> None:
    """Weights as He et al. 2015 say for ReLU (arXiv:1502.01852), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class SmallVGG(Network):
    """Three stages of two 3x3 convolutions with ReLU and max pooling, global average pooling,
    classifier. Images of at least 8x8 pixels.

    Features of an image [C, H, W] at the split points, with w = `width`: stage1 [w, H/2, W/2],
    stage2 [2w, H/4, W/4], stage3 [4w, H/8, W/8] (rounded down), pool [4w].
    """

    def __init__(self, *, width: int = 16, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        stages: dict[str, nn.Module] = {}
        before = channels
        for number in (1, 2, 3):
            after = width * 2 ** (number - 1)  # twice the channels at half the resolution
            stages[f"stage{number}"] = vgg_stage(before, after)
            before = after
        stages["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        stages["classifier"] = nn.Linear(before, classes)
        self.set_stages(stages)
        draw_convolutions(self)


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
