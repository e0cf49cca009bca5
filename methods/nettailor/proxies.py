"""The small layers that a tailored graph puts beside frozen blocks, and a task's own statistics of
these blocks' batch norms.

Morgado and Vasconcelos, NetTailor, CVPR 2019, arXiv:1907.00274, section 2.2 of its specification.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.func import functional_call

from methods.pieces.residual import Shape, sum_before_relu


class Proxy(nn.Sequential):
    """Max-pooling where the resolution drops, then a 1x1 convolution with batch norm; beside
    bottleneck blocks two, with a narrow layer between them (as wide as in the authors' code: a 32nd
    of the output, at least 16). Convolutions are drawn from N(0, 0.01)."""

    def __init__(self, source: Shape, target: Shape, *, bottleneck: bool) -> None:
        step, narrow = max(1, round(source[1] / target[1])), max(target[0] // 32, 16)
        layers: list[nn.Module] = [nn.MaxPool2d(step + 1, step, step // 2)] if step > 1 else []
        layers += (
            [nn.Conv2d(source[0], narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU()]
            if bottleneck
            else []
        )
        layers += [
            nn.Conv2d(narrow if bottleneck else source[0], target[0], 1, bias=False),
            nn.BatchNorm2d(target[0]),
        ]
        super().__init__(*layers)
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)


class OwnStatistics(nn.Module):
    """Running statistics of one residual block's batch norms, the task's own; the block itself
    stays as it is.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        for name, value in block.named_buffers():
            self.register_buffer(name.replace(".", "-"), value)

    def take(self, block: nn.Module) -> None:
        """Begin from a block's own statistics."""
        self.load_state_dict(
            {name.replace(".", "-"): value for name, value in block.named_buffers()}
        )

    def summed(self, block: nn.Module, x: Tensor) -> Tensor:
        own = {"block." + name.replace("-", "."): value for name, value in self.named_buffers()}
        return cast(Tensor, functional_call(_Summed(block), own, (x,)))


class _Summed(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return sum_before_relu(self.block, x)
