"""A gradient's way back through a module without images, one layer at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.networks.pooling import AveragedTo
from methods.pieces.building import example_network
from orchestrator import NetworkSpec

UNCHANGED = (nn.Dropout, nn.Identity)
POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
PASSABLE = (nn.Conv2d, nn.Linear, nn.ReLU, nn.Upsample, nn.Flatten, *POOLING, *UNCHANGED)


@dataclass(frozen=True)
class Layer:
    """A layer with its name in the module and the shape of one image's input to it."""

    name: str
    module: nn.Module
    input_shape: tuple[int, ...]

    @property
    def is_relu(self) -> bool:
        return isinstance(self.module, nn.ReLU)


def named_layers(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Layers in order, by name. Raises ValueError for one that a surrogate gradient cannot pass."""
    # Leaves in the order of registration, in which nn.Sequential applies them.
    layers = [(name, layer) for name, layer in module.named_modules() if not list(layer.children())]
    for name, layer in layers:
        if not isinstance(layer, PASSABLE):
            raise ValueError(
                f"{name} is a {type(layer).__name__}; gradients without images pass convolutions, "
                "linear layers, ReLU and pooling only"
            )
    return layers


@torch.no_grad()
def layers_of(module: nn.Module, features: Sequence[int]) -> list[Layer]:
    """Layers in order, where the first reads the features [C, H, W] of one image."""
    layers = []
    # On the module's own device; only shapes are read off what passes.
    x = next(module.parameters()).new_zeros(1, *features)
    for name, layer in named_layers(module):
        layers.append(Layer(name, layer, tuple(x.shape[1:])))
        x = layer(x)
    return layers


@torch.no_grad()
def output_shape(module: nn.Module, features: Sequence[int]) -> tuple[int, ...]:
    """Shape of a module's outputs for one image's features."""
    device = next(module.parameters()).device
    return tuple(module(torch.zeros(1, *features, device=device)).shape[1:])


def gate_shapes(module: nn.Module, features: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """By the name of each ReLU, the shape of one image's features there."""
    return {layer.name: layer.input_shape for layer in layers_of(module, features) if layer.is_relu}


def backward_through(layer: Layer, d: Tensor) -> Tensor:
    """The gradient with respect to a layer's input [B, *input_shape], from that with respect to its
    output, `d`. Pooling spreads it evenly, whichever pixel was the largest; dropout is ignored."""
    module, shape = layer.module, layer.input_shape
    if isinstance(module, nn.Linear):  # d is [B, outputs], or for every pixel [B, outputs, H, W]
        return (d.movedim(1, -1) @ module.weight).movedim(-1, 1)
    if isinstance(module, nn.Conv2d):
        return backward_through_convolution(module, d, shape)
    if isinstance(module, nn.Flatten):
        return d.reshape(len(d), *shape)
    if isinstance(module, UNCHANGED):
        return d
    # Outputs for each input pixel: the sum over all pixels is the same on both sides.
    density = d.shape[2] * d.shape[3] / (shape[1] * shape[2])
    if isinstance(module, nn.Upsample):
        return AveragedTo((shape[1], shape[2])).forward(d) * density
    assert isinstance(module, POOLING), "ReLUs are handled by their gates"
    return F.interpolate(d, size=shape[1:], mode="nearest") * density


def backward_through_convolution(
    layer: nn.Conv2d, d: Tensor, input_shape: tuple[int, ...]
) -> Tensor:
    stride, kernel = layer.stride, layer.kernel_size
    padding = cast(tuple[int, int], layer.padding)
    # Rows and columns at the far edge that a stride above 1 does not reach.
    unreached = []
    for axis in (0, 1):
        reached = (d.shape[axis + 2] - 1) * stride[axis] - 2 * padding[axis] + kernel[axis]
        unreached.append(input_shape[axis + 1] - reached)
    return F.conv_transpose2d(d, layer.weight, None, stride, padding, output_padding=unreached)


def reasons_it_is_impassable(network: NetworkSpec, split: str) -> Iterator[str]:
    """Which layer after the split point a surrogate gradient cannot pass, if there is one."""
    built = example_network(network)
    if split not in built.splits:
        return
    try:
        named_layers(built.head(split))
    except ValueError as error:
        yield f"{network.name}: {error}"
