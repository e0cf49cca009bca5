"""A network put into another mode or onto another device for a while."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import nn


@contextlib.contextmanager
def in_eval_mode(net: nn.Module) -> Iterator[None]:
    """The net in eval mode; afterwards each of its modules is in the mode that it was in."""
    # Each module's own: parts of a net may be in eval mode on purpose.
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextlib.contextmanager
def on_device(net: nn.Module, device: torch.device) -> Iterator[None]:
    """The net on a device; afterwards it is where it was."""
    before = device_of(net)
    net.to(device)
    try:
        yield
    finally:
        net.to(before)


@contextlib.contextmanager
def as_they_were(nets: Sequence[nn.Module]) -> Iterator[None]:
    """Afterwards each net is on the device that it was on."""
    before = [device_of(net) for net in nets]
    try:
        yield
    finally:
        for net, device in zip(nets, before, strict=True):
            net.to(device)


def device_of(net: nn.Module) -> torch.device:
    """Where a net's first tensor is; the CPU for a net without any."""
    tensor = next(itertools.chain(net.parameters(), net.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device
