"""Kernels that compute wrongly, and how training keeps off them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def without_faulty_kernels(modules: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Training of these modules without the kernel of oneDNN that writes beyond its memory.

    Up to oneDNN 3.13 (torch 2.15) at least, the gradient of the weights of a convolution of size 1
    with a stride, over fewer channels than a vector of the CPU holds and in the layout
    channels-last, corrupts memory (uxlfoundation/oneDNN, issue 6035): the shortcut of a narrow
    ResNet. Without a stride, or with padding, it is right. So such a layer leaves out the pixels
    that its stride passes over first, and then goes on without a stride.

    Example: `nn.Conv2d(4, 8, 1, stride=2)` is one of them, `nn.Conv2d(16, 32, 1, stride=2)` is not.
    """
    layers = {layer for module in modules for layer in module.modules()}
    faulty = [layer for layer in layers if device.type == "cpu" and _is_faulty(layer)]
    for layer in faulty:
        # A partial of a function: copies and pickles that are made meanwhile take it with them,
        # bound to the layer that is theirs, and go on to compute the same.
        vars(layer)["forward"] = partial(_of_what_it_reads, layer)
    try:
        yield
    finally:
        for layer in faulty:
            del vars(layer)["forward"]


def _of_what_it_reads(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """What the layer gives for x, [B, C, H, W] to [B, C', H / stride, W / stride]."""
    # Pooling over one pixel: unlike a slice, its gradient stays in the layout channels-last.
    read = nn.functional.avg_pool2d(x, 1, layer.stride)
    stride, layer.stride = layer.stride, (1, 1)
    try:
        return type(layer).forward(layer, read)
    finally:
        layer.stride = stride


def _is_faulty(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    if not isinstance(layer, nn.Conv2d) or layer.in_channels >= _floats_in_a_vector():
        return False
    if "forward" in vars(layer):  # a copy from an earlier training, or somebody else's own
        return False
    padding: Any = layer.padding
    is_padded = padding not in ("valid", (0, 0))
    return layer.kernel_size == (1, 1) and layer.stride != (1, 1) and not is_padded


def _floats_in_a_vector() -> int:
    return 16 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else 8
