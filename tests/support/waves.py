"""Weights and images by formula, so that two programs can be given the same ones without a file."""

from __future__ import annotations

import zlib

import torch
from torch import nn


def wave(name, shape, size=1.0):
    """Numbers between -size and size that depend on a name and a shape only, to the last bit."""
    count = torch.Size(shape).numel()
    start = zlib.crc32(name.encode()) % 100_003
    places = torch.arange(count, dtype=torch.float64) + start
    # A multiple that no period divides, squared, so that neighbours have little in common
    turns = (places.square() * 0.618033988749895) % 1.0
    return (size * torch.sin(2 * torch.pi * turns)).float().reshape(shape)


@torch.no_grad()
def fill(module: nn.Module, prefix: str = "") -> nn.Module:
    """Every tensor of a module by its name: weights as large as He et al. draw them, batch norms
    near one, biases and means small.
    """
    for name, value in module.state_dict().items():
        put(value, prefix + name)
    return module


@torch.no_grad()
def put(value: torch.Tensor, name: str) -> None:
    """Fill one tensor as what it is called."""
    if not value.is_floating_point():
        value.zero_()
    elif name.endswith("running_var"):
        value.copy_(1 + 0.5 * wave(name, value.shape).square())
    elif value.ndim == 1 and name.endswith("weight"):
        value.copy_(1 + wave(name, value.shape, 0.2))  # of batch norm
    elif value.ndim == 1:
        value.copy_(wave(name, value.shape, 0.1))
    else:
        fan_in = value[0].numel()
        value.copy_(wave(name, value.shape, 2 / fan_in**0.5))
