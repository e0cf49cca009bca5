"""A tailored graph and its universal network as one plain module: no attention, no shared blocks,
nothing that is not used.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from methods.nettailor.edges import Edge
from methods.nettailor.own_statistics import STEM, OwnStatistics
from methods.pieces.residual import sum_before_relu
from orchestrator import Network

if TYPE_CHECKING:  # signatures name the graph, which exports itself through this module
    from methods.nettailor.nettailor import TailoredGraph


class Scaled(nn.Module):
    """A residual block before its last ReLU, times a number."""

    def __init__(self, block: nn.Module, factor: float) -> None:
        super().__init__()
        self.block, self.factor = block, factor

    def forward(self, x: Tensor) -> Tensor:
        out = sum_before_relu(self.block, x)
        return out if self.factor == 1.0 else self.factor * out


class Plain(nn.Module):
    """Stem, nodes and classifier of a pruned network; `modules` computes each edge, in the order of
    their targets.
    """

    def __init__(self, stem: nn.Module, modules: Mapping[Edge, nn.Module], rest: nn.Module) -> None:
        super().__init__()
        self.stem, self.rest = stem, rest
        # Live ones, in order; the first is not always 1
        self.nodes = list(dict.fromkeys(edge.target for edge in modules))
        self.sources = [[e.source for e in modules if e.target == node] for node in self.nodes]
        self.edges = nn.ModuleList()
        for node in self.nodes:
            entering = [module for edge, module in modules.items() if edge.target == node]
            self.edges.append(nn.ModuleList(entering))

    def forward(self, x: Tensor) -> Tensor:
        nodes = {0: self.stem(x)}
        for node, modules, sources in zip(self.nodes, self.edges, self.sources, strict=True):
            inputs = [nodes[source] for source in sources]
            outputs = [m(x) for m, x in zip(modules.children(), inputs, strict=True)]
            nodes[node] = F.relu(reduce(torch.add, outputs))
        return self.rest(nodes[self.nodes[-1]])  # type: ignore[no-any-return]  # a Module's call


@torch.no_grad()
def plain(graph: TailoredGraph, universal: Network) -> Plain:
    """The same function of images as the graph's with its universal network in eval mode, but for
    rounding: batch norm and attention are folded into the proxies' convolutions. It shares no
    tensor with either.
    """
    pieces, backbone = universal.pieces(), graph.backbone
    modules: dict[Edge, nn.Module] = {}
    # Attention is a number now: the graph is trained, and the softmax is computed once, here.
    for edge, alpha in zip(graph.edges, graph.attention().tolist(), strict=True):
        if edge.is_block:
            block = copy.deepcopy(pieces[backbone.blocks[edge.target - 1]])
            if graph.own_statistics:
                own = graph.own_statistics[str(edge.target)]
                assert isinstance(own, OwnStatistics)
                block.load_state_dict(own.by_name(), strict=False)
            # A block cannot take the factor into its weights where its shortcut is the identity.
            modules[edge] = Scaled(block, alpha)
        else:
            modules[edge] = folded(graph.proxies[edge.name], alpha)
    stem = nn.Sequential(*copied(pieces[name] for name in backbone.stem))
    if graph.own_statistics:
        own = graph.own_statistics[STEM]
        assert isinstance(own, OwnStatistics)
        stem.load_state_dict(own.by_name(), strict=False)
    rest = nn.Sequential(*copied(pieces[name] for name in backbone.pool), *copied([graph.head]))
    return Plain(stem, modules, rest).eval()


def copied(modules: Iterable[nn.Module]) -> list[nn.Module]:
    return [copy.deepcopy(module) for module in modules]


def folded(proxy: nn.Module, factor: float) -> nn.Sequential:
    """A proxy with its batch norms folded into its convolutions, times a number."""
    layers: list[nn.Module] = []
    for layer in copy.deepcopy(proxy).eval().children():
        if isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.Conv2d):
            # In eval mode batch norm is a scale and a shift per
            # channel, which a convolution has itself.
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    last = layers[-1]
    assert isinstance(last, nn.Conv2d)
    # The last layer is linear and nothing follows it in the proxy, so the factor fits into it.
    last.weight.mul_(factor)
    if last.bias is not None:
        last.bias.mul_(factor)
    return nn.Sequential(*layers)
