"""Kernels that compute wrongly, and how training keeps off them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def without_faulty_kernels(modules: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Training of these modules without oneDNN, where it would write beyond its memory.

    Up to oneDNN 3.13 (torch 2.15) at least, the backward pass of a convolution of size 1 with a
    stride, over fewer channels than a vector of the CPU holds and in the layout channels-last,
    corrupts memory (uxlfoundation/oneDNN, issue 6035): the shortcut of a narrow ResNet. Torch's own
    kernels take its place meanwhile.

    Example: `nn.Conv2d(4, 8, 1, stride=2)` is one of them, `nn.Conv2d(16, 32, 1, stride=2)` is not.
    """
    mkldnn: Any = torch.backends.mkldnn
    before = mkldnn.enabled
    layers = (layer for module in modules for layer in module.modules())
    if device.type == "cpu" and any(_is_faulty(layer) for layer in layers):
        mkldnn.enabled = False
    try:
        yield
    finally:
        mkldnn.enabled = before


def _is_faulty(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.Conv2d) or layer.in_channels >= _floats_in_a_vector():
        return False
    return set(layer.kernel_size) == {1} and set(layer.stride) != {1}


def _floats_in_a_vector() -> int:
    return 16 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else 8
