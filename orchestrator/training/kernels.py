"""Kernels that compute wrongly, and how a trial keeps off them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

NARROW = 8  # input channels from which on the kernel is right


def keep_off_faulty_kernels(modules: Iterable[nn.Module], device: torch.device) -> None:
    """Switch oneDNN off for the rest of the trial where it would write beyond its memory; see
    `arithmetic`, which switches it on again.

    On CPUs without AVX-512, oneDNN 3.13 (torch 2.15) corrupts memory in the backward pass of a
    convolution of size 1 with a stride over fewer than 8 channels whose layout is channels-last:
    the shortcut of a ResNet that is 4 wide. Torch's own kernels take its place.

    Example: `nn.Conv2d(4, 8, 1, stride=2)` is one of them, `nn.Conv2d(8, 16, 1, stride=2)` is not.
    """
    if device.type == "cpu" and not _has_avx512():
        layers = (layer for module in modules for layer in module.modules())
        if any(_is_faulty(layer) for layer in layers):
            mkldnn: Any = torch.backends.mkldnn
            mkldnn.enabled = False


def _has_avx512() -> bool:
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def _is_faulty(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.Conv2d) or layer.in_channels >= NARROW:
        return False
    return set(layer.kernel_size) == {1} and set(layer.stride) != {1}
