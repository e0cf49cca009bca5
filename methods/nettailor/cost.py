"""What a tailored graph costs: a ledger of parameters and multiply-accumulates, edge by edge, by
the paper's counting and by the true one.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch
from torch import Tensor, nn

from methods.nettailor.complexity import Edge
from methods.nettailor.graph import TailoredGraph
from methods.pieces.cost import Cost, output_and_cost

Counting = Literal["paper", "true"]


@dataclass(frozen=True)
class Ledger:
    """Parameters of the universal pieces in use (stem and blocks) and of what the task adds
    (proxies, attention, classifier, statistics of its own), multiply-accumulates an image; and
    those of the whole universal network with the task's classifier, to compare with."""

    universal: int
    task: int
    flops: int
    whole: Cost

    @property
    def parameters(self) -> int:
        return self.universal + self.task


def edge_costs(graph: TailoredGraph) -> dict[Edge, Cost]:
    """Parameters and multiply-accumulates of each edge."""
    b, found = graph.backbone, {}
    for edge in graph.edges:
        if edge.is_block:
            found[edge] = b.block_costs[edge.target - 1]
        else:
            x = torch.zeros(1, *b.nodes[edge.source], device="meta")
            found[edge] = output_and_cost(
                copy.deepcopy(graph.proxies[edge.name]).to("meta").eval(), x
            )[1]
    return found


def ledger(graph: TailoredGraph, counting: Counting = "true") -> Ledger:
    """The `paper` counts the stem behind its pooling and no classifier."""
    b, edges = graph.backbone, edge_costs(graph)
    stem = b.stem_cost if counting == "true" else b.paper_stem
    head = sum(p.numel() for p in graph.head.parameters())
    classifier = graph.head.weight.numel() if counting == "true" else 0
    blocks = sum((edges[e] for e in graph.edges if e.is_block), Cost())
    proxies = sum((edges[e] for e in graph.edges if not e.is_block), Cost())
    own = graph.scores.numel() + head + sum(s.numel() for s in graph.own_statistics.buffers())
    whole = sum(b.block_costs, stem) + Cost(head, classifier)
    return Ledger(
        stem.parameters + blocks.parameters,
        proxies.parameters + own,
        stem.flops + blocks.flops + proxies.flops + classifier,
        whole,
    )


def complexities(
    graph: TailoredGraph, of: Literal["flops", "parameters"], counting: Counting
) -> Tensor:
    """Of each edge, [edges], as a share of stem and all universal blocks."""
    b, costs = graph.backbone, edge_costs(graph)
    total = sum(b.block_costs, b.paper_stem if counting == "paper" else b.stem_cost)
    return torch.tensor([getattr(costs[e], of) / getattr(total, of) for e in graph.edges])


@torch.inference_mode()
def latency_share(net: nn.Module, whole: nn.Module, x: Tensor, *, rounds: int = 15) -> float:
    """Median time of `net` on a batch over that of `whole`, taken in turns so that a busy machine
    slows both. A measurement: it differs each time.
    """
    ratios = []
    for _ in range(rounds + 3):
        seconds = []
        for module in (net, whole):
            began = time.perf_counter()
            module(x)
            if x.is_cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
        ratios.append(seconds[0] / seconds[1])
    return median(ratios[3:])
