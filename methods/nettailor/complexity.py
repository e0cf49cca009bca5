"""The edges of a tailored graph, their attention, and the expected complexity of the graph that
attention will leave.

Morgado and Vasconcelos, NetTailor, CVPR 2019, arXiv:1907.00274, section 3 (equations 3 and 5 to
10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Form = Literal["disjoint", "disjoint_code", "independent"]


@dataclass(frozen=True, order=True)
class Edge:
    """From node `source` to node `target`; a block of the universal network, or a proxy that skips
    `target` - `source` of them.
    """

    target: int
    source: int
    is_block: bool

    @property
    def name(self) -> str:
        return f"block{self.target}" if self.is_block else f"{self.source}-{self.target}"


def all_edges(num_blocks: int, skip: int | None) -> list[Edge]:
    """Into node l the block l, and proxies from the `skip` nodes before it (None: from all of
    them).
    """
    found = []
    for target in range(1, num_blocks + 1):
        found.append(Edge(target, target - 1, True))
        first = 0 if skip is None else max(target - skip, 0)
        found += [Edge(target, source, False) for source in range(target - 1, first - 1, -1)]
    return found


class Attention(nn.Module):
    """Which edges share a softmax, as index tables: attention and the products over a node's edges
    are a few operations for any graph.
    """

    entering: Tensor
    leaving: Tensor
    source: Tensor
    target: Tensor

    def __init__(self, edges: Sequence[Edge], num_blocks: int) -> None:
        super().__init__()
        self.last = num_blocks
        sources, targets = [e.source for e in edges], [e.target for e in edges]
        tables = {
            "entering": self._table(targets),
            "leaving": self._table(sources),
            "source": torch.tensor(sources),
            "target": torch.tensor(targets),
        }
        for (
            name,
            table,
        ) in tables.items():  # they follow the module to its device, and are not stored
            self.register_buffer(name, table, persistent=False)

    def _table(self, nodes: Sequence[int]) -> Tensor:
        """[nodes, most edges]: by node the places of its edges; one past the last edge fills up."""
        rows = [[i for i, node in enumerate(nodes) if node == n] for n in range(self.last + 1)]
        width = max(map(len, rows))
        return torch.tensor([row + [len(nodes)] * (width - len(row)) for row in rows])

    def forward(self, scores: Tensor) -> Tensor:
        """Attention of each edge, [edges]: softmax of the scores over the edges that enter its node
        (eq. 3). A score of -inf is an edge not there.
        """
        table = self.entering
        padded = torch.cat([scores, scores.new_full((1,), -torch.inf)])[table]
        used = (table[:, 0] < len(scores)).unsqueeze(1)  # a node that nothing enters has no softmax
        alpha = torch.where(used, padded, 0.0).softmax(1)
        return scores.new_zeros(len(scores) + 1).scatter(
            0, table.flatten(), torch.where(table < len(scores), alpha, 0.0).flatten()
        )[:-1]

    def excluded(self, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """By node the probability that all edges that enter it, and that all that leave it, are
        left out: products of 1 - alpha (eq. 6 to 8). The first node lacks no input and the last no
        output: 0 there."""
        kept_out = 1 - torch.cat([alpha, alpha.new_zeros(1)])
        inner = torch.ones(self.last + 1, device=alpha.device)
        no_input, no_output = inner.clone(), inner.clone()
        no_input[0], no_output[self.last] = 0.0, 0.0
        return kept_out[self.entering].prod(1) * no_input, kept_out[self.leaving].prod(
            1
        ) * no_output

    def expected_complexity(self, alpha: Tensor, complexity: Tensor, form: Form) -> Tensor:
        """Expected complexity of the graph, a scalar, from `complexity` [edges], each a share of
        the universal network.

        `disjoint` is the paper's eq. 9 and 10, which takes three events as exclusive that are not,
        and so can be negative. `disjoint_code` is what the authors' code computes: the node before
        an edge's target in place of its source, and 1 at the two ends. `independent` is our own:
        the edge, its source and its target are there independently of each other.
        """
        no_input, no_output = self.excluded(alpha)
        source, target = self.source, self.target
        if form == "independent":
            return (complexity * alpha * (1 - no_input[source]) * (1 - no_output[target])).sum()
        if form == "disjoint_code":
            ends = torch.arange(self.last + 1, device=alpha.device)
            no_input, no_output = (
                torch.where(ends == 0, 1.0, no_input),
                torch.where(ends == self.last, 1.0, no_output),
            )
            source = target - 1
        return (complexity * (alpha - no_input[source] - no_output[target])).sum()
