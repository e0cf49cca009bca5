"""Tailored graphs over small universal networks on random weights."""

from __future__ import annotations

import torch
from torch import nn

from methods.nettailor.nettailor import TailoredGraph
from methods.networks.resnet import ResNet


def small(blocks=2, width=8, **settings):
    """A universal network on random weights with running statistics that are not the trivial ones,
    and its graph.
    """
    torch.manual_seed(0)
    universal = ResNet(blocks=blocks, width=width, channels=3, classes=5)
    for _ in range(3):
        universal(torch.randn(16, 3, 16, 16))
    universal.eval().requires_grad_(False)
    return universal, TailoredGraph.over(universal, (3, 16, 16), 4, **settings)


def moved(graph):
    """The graph with proxies and statistics that do something."""
    for proxy in graph.proxies.values():
        for layer in proxy:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.3)
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias)
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2.0)
    nn.init.normal_(graph.scores)
    return graph.eval()
