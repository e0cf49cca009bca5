"""What a tailored graph costs: parameters and multiply-accumulates, edge by edge, as they are and
as the paper counts them.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from methods.nettailor.edges import Edge
from methods.pieces.cost import Cost, output_and_cost

if TYPE_CHECKING:  # signatures name the graph, whose training asks this module for complexities
    from methods.nettailor.nettailor import TailoredGraph

Counting = Literal["paper", "true"]


@dataclass(frozen=True)
class Ledger:
    """Parameters of the universal pieces in use (stem and blocks) and of what the task adds
    (proxies, attention, classifier, statistics of its own), and multiply-accumulates per image;
    `untailored` is the cost of the universal network with the task's classifier and all of its
    blocks, for comparison.
    """

    universal: int
    task: int
    flops: int
    untailored: Cost

    @property
    def parameters(self) -> int:
        return self.universal + self.task


def edge_costs(graph: TailoredGraph) -> dict[Edge, Cost]:
    """Parameters and multiply-accumulates of each edge."""
    backbone = graph.backbone
    costs = {}
    for edge in graph.edges:
        if edge.is_block:
            costs[edge] = backbone.block_costs[edge.target - 1]
        else:
            # One image's x_p; only shapes are computed
            x = torch.zeros(1, *backbone.nodes[edge.source], device="meta")
            proxy = copy.deepcopy(graph.proxies[edge.name]).to("meta").eval()
            _, costs[edge] = output_and_cost(proxy, x)
    return costs


def ledger(graph: TailoredGraph, counting: Counting = "true") -> Ledger:
    """The ledger of a graph. As `paper` counts, the stem has the resolution after its pooling and
    the classifier is free.
    """
    backbone, costs = graph.backbone, edge_costs(graph)
    if counting == "paper":
        stem, classifier_flops = backbone.paper_stem, 0
    else:
        # One product per weight, [classes, C]
        stem, classifier_flops = backbone.stem_cost, graph.head.weight.numel()
    blocks = sum((cost for edge, cost in costs.items() if edge.is_block), Cost())
    proxies = sum((cost for edge, cost in costs.items() if not edge.is_block), Cost())
    head = sum(p.numel() for p in graph.head.parameters())
    statistics = sum(values.numel() for values in graph.own_statistics.buffers())
    return Ledger(
        universal=stem.parameters + blocks.parameters,
        task=proxies.parameters + graph.scores.numel() + head + statistics,
        flops=stem.flops + blocks.flops + proxies.flops + classifier_flops,
        untailored=sum(backbone.block_costs, stem) + Cost(head, classifier_flops),
    )


def complexities(
    graph: TailoredGraph, of: Literal["flops", "parameters"], counting: Counting
) -> Tensor:
    """C of section 3.4.1: the cost of each edge, [edges], as a share of stem and universal blocks
    together.
    """
    backbone, costs = graph.backbone, edge_costs(graph)
    stem = backbone.paper_stem if counting == "paper" else backbone.stem_cost
    # Without proxies: what C is a share of does not grow with what is added.
    total = sum(backbone.block_costs, stem)
    return torch.tensor([getattr(costs[edge], of) / getattr(total, of) for edge in graph.edges])


@torch.inference_mode()
def latency_share(net: nn.Module, reference: nn.Module, x: Tensor, *, rounds: int = 15) -> float:
    """Median time of `net` on a batch over that of `reference`, taken in turns so that a busy
    machine slows both. A measurement: it differs each time.
    """
    ratios = []
    # Three rounds to warm up: caches, and on a GPU the choice of kernels.
    for _ in range(rounds + 3):
        seconds = []
        for module in (net, reference):
            began = time.perf_counter()
            module(x)
            if x.is_cuda:
                torch.cuda.synchronize()  # kernels run on after the call has returned
            seconds.append(time.perf_counter() - began)
        ratios.append(seconds[0] / seconds[1])
    return median(ratios[3:])
