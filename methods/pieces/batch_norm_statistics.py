"""Batch norm's running statistics: left alone in a forward pass, or estimated anew."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from orchestrator import Data, Run, in_order

Net = TypeVar("Net", bound=nn.Module)


@contextmanager
def held_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise by the batch as in training, but leave running means, variances and batch counts
    alone.
    """
    tracking = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for m in tracking:
        # Without them batch norm in training mode normalises by the batch and writes nothing.
        m.track_running_stats = False
    try:
        yield
    finally:
        for m in tracking:
            m.track_running_stats = True


@torch.no_grad()
def re_estimated(run: Run, net: Net, data: Data) -> Net:
    """A copy of a network with the running statistics of these images, a mean over batches. Labels
    are not used (Li, Wang, Shi, Liu, Hou: Revisiting Batch Normalization For Practical Domain
    Adaptation, 2016, arXiv:1603.04779).
    """
    copied = copy.deepcopy(net).to(run.device).eval()
    for module in copied.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.reset_running_stats()
            module.momentum = None  # a cumulative average
            module.train()
    for x, _ in in_order(data, run.device):  # the forward passes are all that is wanted of it
        copied(x)
    return copied.eval()
