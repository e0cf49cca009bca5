"""A tailored graph and its universal network as one plain module: no attention, no shared blocks,
nothing that is not used.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from methods.nettailor.graph import TailoredGraph
from methods.pieces.residual import sum_before_relu
from orchestrator import Network


class Scaled(nn.Module):
    """A residual block before its last ReLU, times a number."""

    def __init__(self, block: nn.Module, factor: float) -> None:
        super().__init__()
        self.block, self.factor = block, factor

    def forward(self, x: Tensor) -> Tensor:
        out = sum_before_relu(self.block, x)
        return out if self.factor == 1.0 else self.factor * out


class Plain(nn.Module):
    """Stem, nodes and classifier of a pruned network. `sources[i][j]` is the node that edge j into
    the i-th live node comes from.
    """

    def __init__(
        self,
        stem: nn.Module,
        edges: Sequence[Sequence[nn.Module]],
        sources: Sequence[Sequence[int]],
        nodes: Sequence[int],
        rest: nn.Module,
    ) -> None:
        super().__init__()
        self.stem, self.rest = stem, rest
        self.edges = nn.ModuleList(nn.ModuleList(into) for into in edges)
        self.sources, self.nodes = [list(s) for s in sources], list(nodes)

    def forward(self, x: Tensor) -> Tensor:
        found = {0: self.stem(x)}
        for node, into, sources in zip(self.nodes, self.edges, self.sources, strict=True):
            outs = [
                edge(found[source]) for edge, source in zip(into.children(), sources, strict=True)
            ]
            total = outs[0]
            for out in outs[1:]:
                total = total + out
            found[node] = F.relu(total)
        return self.rest(found[self.nodes[-1]])  # type: ignore[no-any-return]


@torch.no_grad()
def plain(graph: TailoredGraph, universal: Network) -> Plain:
    """The same function of images as `graph.joined(universal)` in eval mode, in floating point but
    for rounding: batch norm and attention are folded into the proxies' convolutions. It shares
    nothing with its origin."""
    pieces, b = universal.pieces(), graph.backbone
    attention = dict(zip(graph.edges, graph.attention().tolist(), strict=True))
    by_node: dict[int, list[tuple[int, nn.Module]]] = {}
    for edge in graph.edges:
        if edge.is_block:
            block = copy.deepcopy(pieces[b.blocks[edge.target - 1]])
            if graph.own_statistics:
                own = graph.own_statistics[str(edge.target)].named_buffers()
                block.load_state_dict(
                    {name.replace("-", "."): value for name, value in own}, strict=False
                )
            module: nn.Module = Scaled(block, attention[edge])
        else:
            module = _folded(graph.proxies[edge.name], attention[edge])
        by_node.setdefault(edge.target, []).append((edge.source, module))
    rest = nn.Sequential(
        *(copy.deepcopy(pieces[name]) for name in b.pool), copy.deepcopy(graph.head)
    )
    nodes = list(by_node)
    edges, sources = (
        [[m for _, m in by_node[n]] for n in nodes],
        [[s for s, _ in by_node[n]] for n in nodes],
    )
    return Plain(
        nn.Sequential(*(copy.deepcopy(pieces[name]) for name in b.stem)),
        edges,
        sources,
        nodes,
        rest,
    ).eval()


def _folded(proxy: nn.Module, factor: float) -> nn.Sequential:
    """A proxy with its batch norms folded into its convolutions, times a number."""
    layers: list[nn.Module] = []
    for layer in copy.deepcopy(proxy).eval().children():
        if isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.Conv2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    last = layers[-1]
    assert isinstance(last, nn.Conv2d)
    last.weight.mul_(factor)
    if last.bias is not None:
        last.bias.mul_(factor)
    return nn.Sequential(*layers)
