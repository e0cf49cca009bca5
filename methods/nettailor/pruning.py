"""Taking edges out of a tailored graph: which go, which are dead then, and what keeps the graph
connected.

Morgado and Vasconcelos, NetTailor, CVPR 2019, arXiv:1907.00274, section 3.5 of its specification.
Paper and code have no guard against disconnection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from methods.nettailor.complexity import Edge
from orchestrator import derive

Order = Literal["attention", "random", "last_first", "first_first"]
Guard = Literal["path", "proxy", "none"]


@dataclass(frozen=True)
class Pruned:
    """What is left: names of the live edges (none where nothing leads from the first node to the
    last), and how many proxies the guard put back.
    """

    edges: tuple[str, ...]
    restored: int


def blocks_to_remove(
    attention: Mapping[Edge, float], count: int, order: Order, *, seed: int | None
) -> set[Edge]:
    """`count` blocks: those of least attention, or, as controls, drawn at random (the first ones of
    one shuffle a seed) or by their place.
    """
    blocks = sorted(e for e in attention if e.is_block)
    if order == "attention":
        ranked = sorted(blocks, key=lambda e: (attention[e], e))
    elif order == "random":
        shuffle = torch.randperm(
            len(blocks),
            generator=torch.Generator().manual_seed(derive(seed, "random order of blocks")),
        )
        ranked = [blocks[i] for i in shuffle]
    else:
        ranked = blocks[::-1] if order == "last_first" else blocks
    return set(ranked[:count])


def prune(
    attention: Mapping[Edge, float],
    removed: set[Edge],
    threshold: float,
    guard: Guard,
    num_blocks: int,
) -> Pruned:
    """Without the `removed` blocks and the proxies whose attention is at most `threshold`.

    The guard `path` puts back, while no path leads to the last node, the proxy of most attention
    that begins at a reachable node and enters one that is not; `proxy` keeps the best proxy beside
    every removed block, whatever its attention; `none` is the paper.
    """
    kept = {e for e, a in attention.items() if e not in removed and (e.is_block or a > threshold)}
    restored = set()
    if guard == "proxy":
        best = [
            max(
                (e for e in attention if not e.is_block and e.target == r.target),
                key=lambda e: (attention[e], e),
            )
            for r in removed
        ]
        restored = {e for e in best if not any(k.target == e.target for k in kept)}
    while guard == "path" and num_blocks not in (reached := reachable(kept | restored)):
        way = [
            e
            for e in attention
            if not e.is_block and e.source in reached and e.target not in reached
        ]
        restored.add(max(way, key=lambda e: (attention[e], e)))
    live = live_edges(kept | restored, num_blocks)
    return Pruned(tuple(e.name for e in sorted(live)), len(restored & live))


def reachable(edges: Iterable[Edge]) -> set[int]:
    """Nodes that a path leads to from node 0."""
    found = {0}
    for edge in sorted(edges):  # by target, so a node's own edges come before those that leave it
        if edge.source in found:
            found.add(edge.target)
    return found


def live_edges(edges: Iterable[Edge], num_blocks: int) -> set[Edge]:
    """Edges on some path from node 0 to the last node; none where there is no path."""
    edges = list(edges)
    forward, backward = reachable(edges), {num_blocks}
    for edge in sorted(edges, key=lambda e: e.source, reverse=True):
        if edge.target in backward:
            backward.add(edge.source)
    return {e for e in edges if e.source in forward and e.target in backward}


def stages_lost(kept: set[int], stages: Sequence[str]) -> dict[str, float]:
    """By stage the share of its blocks that are gone; `kept` holds numbers of blocks, from 1."""
    numbers = {
        stage: [i for i, s in enumerate(stages, start=1) if s == stage]
        for stage in dict.fromkeys(stages)
    }
    return {stage: sum(i not in kept for i in mine) / len(mine) for stage, mine in numbers.items()}
