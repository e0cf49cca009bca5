"""What a network costs: parameters, and multiply-accumulates as NetTailor counts them.

Morgado and Vasconcelos, NetTailor, CVPR 2019, arXiv:1907.00274, as in the authors' code: every
multiply-accumulate of a convolution counts one, every output element of batch norm two; ReLU,
pooling and softmax are free. We also count the multiply-accumulates of linear layers; the paper
leaves the classifier out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass(frozen=True)
class Cost:
    """Trainable or frozen parameters (weights, biases, batch norm's scale and shift), and
    multiply-accumulates for one image.
    """

    parameters: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.flops + other.flops)


@torch.no_grad()
def output_and_cost(module: nn.Module, x: Tensor, *, area: int | None = None) -> tuple[Any, Cost]:
    """A module's output for one image [1, C, H, W] on the meta device, and its cost. With `area`
    every layer counts as if its output had that many positions: NetTailor's code counts the stem
    that way, at the resolution after its pooling.
    """
    flops = 0

    def count(layer: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal flops
        positions = out.shape[2:].numel() if area is None else area  # H * W of the output
        if isinstance(layer, nn.Conv2d):
            flops += positions * layer.weight.numel()  # out * in * k * k products at each position
        elif isinstance(layer, _BatchNorm):
            flops += 2 * positions * out.shape[1]  # a scale and a shift per element
        elif isinstance(layer, nn.Linear):
            flops += layer.weight.numel()

    # Hooks, so that any module can be priced: it need not know how.
    handles = [m.register_forward_hook(count) for m in module.modules()]
    # Batch norm takes torch 10 ms on the meta device, all others together one, and keeps the shape.
    norms = [m for m in module.modules() if type(m).forward is _BatchNorm.forward]
    for norm in norms:
        norm.forward = _unchanged
    try:
        out = module(x)
    finally:
        for norm in norms:
            del norm.forward  # the class's own is left
        for handle in handles:
            handle.remove()
    return out, Cost(sum(p.numel() for p in module.parameters()), flops)


def _unchanged(x: Tensor) -> Tensor:
    return x


def network_cost(network: nn.Module, image: Sequence[int]) -> Cost:
    """The cost of a whole network for images [C, H, W]; nothing is computed."""
    # A copy: moving a module to another device changes it.
    probe = copy.deepcopy(network).to("meta").eval()
    return output_and_cost(probe, torch.zeros(1, *image, device="meta"))[1]
