"""The edges of a tailored graph: all of them, the live ones, the order in which blocks are removed,
and the guards that keep the graph in one piece.

Morgado and Vasconcelos, NetTailor, CVPR 2019, arXiv:1907.00274, sections 3.3 and 3.5. The guards
are ours: neither the paper nor the authors' code has one against a graph that falls apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from orchestrator import derive

Order = Literal["attention", "random", "last_first", "first_first"]
Guard = Literal["path", "proxy", "none"]


@dataclass(frozen=True, order=True)
class Edge:
    """From node `source` to node `target`: a block of the universal network, or a proxy that
    bridges `target` - `source` of them.
    """

    target: int
    source: int
    is_block: bool

    @property
    def name(self) -> str:
        return f"block{self.target}" if self.is_block else f"{self.source}-{self.target}"


def all_edges(num_blocks: int, skip: int | None) -> list[Edge]:
    """For each node l in turn: block l, then the proxies from the `skip` nodes before it, nearest
    first (None: from all of them).
    """
    edges = []
    for target in range(1, num_blocks + 1):
        edges.append(Edge(target, target - 1, True))
        first = 0 if skip is None else max(target - skip, 0)
        edges += [Edge(target, source, False) for source in range(target - 1, first - 1, -1)]
    return edges


def reachable(edges: Iterable[Edge]) -> set[int]:
    """Nodes that a path leads to from node 0."""
    nodes = {0}
    for edge in sorted(edges):  # by target, so a node's own edges come before those that leave it
        if edge.source in nodes:
            nodes.add(edge.target)
    return nodes


def live_edges(edges: Iterable[Edge], num_blocks: int) -> set[Edge]:
    """Edges on some path from node 0 to the last node; none where there is no path."""
    edges = list(edges)
    forward, backward = reachable(edges), {num_blocks}
    # Backwards from the last node: the edges that leave a node come before those that enter it.
    for edge in sorted(edges, key=lambda e: e.source, reverse=True):
        if edge.target in backward:
            backward.add(edge.source)
    return {e for e in edges if e.source in forward and e.target in backward}


def blocks_in_order(
    attention: Mapping[Edge, float], order: Order, *, seed: int | None
) -> list[Edge]:
    """All blocks, the first to be removed first: by attention, least first, as in the paper; or, as
    controls, in one random order a seed, or by their position.
    """
    blocks = sorted(edge for edge in attention if edge.is_block)
    if order == "attention":
        # Ties by position, so that the order is one
        return sorted(blocks, key=lambda e: (attention[e], e))
    if order == "random":
        generator = torch.Generator().manual_seed(derive(seed, "random order of blocks"))
        return [blocks[i] for i in torch.randperm(len(blocks), generator=generator)]
    return blocks[::-1] if order == "last_first" else blocks


def restored_proxies(
    guard: Guard,
    attention: Mapping[Edge, float],
    kept: set[Edge],
    removed: set[Edge],
    num_blocks: int,
) -> set[Edge]:
    """Proxies that a guard keeps in spite of their little attention. `path` keeps only what a path
    to the last node needs; `proxy` the best one into every node that has lost its block and has no
    other input; `none`, as in the paper, keeps nothing.
    """
    if guard == "path":
        return path_to_the_end(attention, kept, num_blocks)
    if guard == "proxy":
        return inputs_of_bare_nodes(attention, kept, removed)
    return set()


def path_to_the_end(attention: Mapping[Edge, float], kept: set[Edge], num_blocks: int) -> set[Edge]:
    """While the last node cannot be reached: the proxy of most attention that leads from a node
    that can be reached to one that cannot.
    """
    restored: set[Edge] = set()
    reached = reachable(kept)
    while num_blocks not in reached:
        proxies = [e for e in attention if not e.is_block]
        leading_on = [e for e in proxies if e.source in reached and e.target not in reached]
        # There is one: all proxies of the student are candidates, and a proxy leads into each node.
        restored.add(max(leading_on, key=lambda e: (attention[e], e)))
        reached = reachable(kept | restored)
    return restored


def inputs_of_bare_nodes(
    attention: Mapping[Edge, float], kept: set[Edge], removed: set[Edge]
) -> set[Edge]:
    """The best proxy, by attention, into each node that lost its block and has no other input."""
    restored = set()
    for node in {block.target for block in removed} - {edge.target for edge in kept}:
        proxies = [e for e in attention if not e.is_block and e.target == node]
        restored.add(max(proxies, key=lambda e: (attention[e], e)))
    return restored


def stages_lost(kept: set[int], stages: Sequence[str]) -> dict[str, float]:
    """For each stage, the share of its blocks that have been removed. `kept` holds numbers of
    blocks, from 1; `stages` names the stage of each block.
    """
    lost = {}
    for stage in dict.fromkeys(stages):
        blocks = [number for number, name in enumerate(stages, start=1) if name == stage]
        lost[stage] = sum(number not in kept for number in blocks) / len(blocks)
    return lost
