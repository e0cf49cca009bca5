"""Whether a tailored network is faster in fact, not only in multiply-accumulates: ResNet-34 at 224
pixels, 0, 3, 7 and 11 of its 16 blocks removed.

Weights are as drawn (time does not depend on them). Late blocks of a stage go first, and each
removed block keeps the proxy beside it. The network is timed as it is exported, in turns with the
whole ResNet-34.

    python benchmarks/tailored.py
"""

from __future__ import annotations

import sys

import torch

from methods.nettailor.cost import latency_share, ledger
from methods.nettailor.edges import Edge
from methods.nettailor.export import plain
from methods.nettailor.nettailor import TailoredGraph, prune
from methods.networks import torchvision_network
from orchestrator import Network, class_at

# The share of the whole network's time with 7 of 16 blocks removed, as in the paper's Flowers
# model.
BAR = 0.9
# Numbers of blocks in the order of removal; stages end with 3, 7, 13 and 16.
ORDER = (16, 15, 13, 12, 7, 6, 3, 11, 10, 2, 5)


def main() -> int:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    spec = torchvision_network("resnet34")
    universal = class_at(spec.path, Network)(**dict(spec.settings), channels=3, classes=102).eval()
    graph = TailoredGraph.over(universal, (3, 224, 224), 102)
    images = torch.randn(4, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    universal = universal.to(memory_format=torch.channels_last)
    print("Shares of the whole ResNet-34; one thread, batches of 4")
    print(f"{'removed':>8}{'parameters':>12}{'FLOPs':>8}{'time':>8}")
    times = {count: measure(graph, universal, count, images) for count in (0, 3, 7, 11)}
    falls = times[0] > times[3] > times[7] > times[11]
    print(f"tailored_latency: {times[7]:.2f} (bar {BAR:.2f})")
    return 0 if falls and times[7] <= BAR else 1


def measure(
    graph: TailoredGraph, universal: Network, num_removed: int, images: torch.Tensor
) -> float:
    """Print what the pruning costs; returns its time as a share of the whole network's."""
    attention = dict(zip(graph.edges, graph.attention().tolist(), strict=True))
    removed = {Edge(number, number - 1, True) for number in ORDER[:num_removed]}
    left = prune(attention, removed, 0.05, "proxy", graph.backbone.num_blocks)
    smaller = graph.with_edges(left.edges)
    costs = ledger(smaller)
    exported = plain(smaller, universal)
    exported.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stubs
    time = latency_share(exported, universal, images, rounds=9)
    parameters = costs.parameters / costs.untailored.parameters
    flops = costs.flops / costs.untailored.flops
    print(f"{num_removed:>8}{parameters:>12.2f}{flops:>8.2f}{time:>8.2f}")
    return time


if __name__ == "__main__":
    sys.exit(main())
