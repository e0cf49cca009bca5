"""A universal network with small proxy layers beside and across its blocks.

Morgado and Vasconcelos, NetTailor, CVPR 2019, arXiv:1907.00274, sections 2 and 3. x_l = ReLU(a_l
G_l(x_{l-1}) + sum over p of a_{p,l} A_{p,l}(x_p)): G_l is a frozen block before its last ReLU, A a
proxy, a the softmax over the edges that enter node l.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.nettailor.complexity import Attention, Edge, all_edges
from methods.nettailor.proxies import OwnStatistics, Proxy
from methods.pieces.batch_norm_statistics import held_statistics
from methods.pieces.building import build_network
from methods.pieces.residual import apply_pieces, backbone_of, sum_before_relu
from orchestrator import Network, Part

Statistics = Literal["frozen", "task"]


@dataclass
class Passed:
    """What a pass leaves: live nodes' outputs, the logits, and the same computed a node at a time
    from inputs through which no gradient flows.
    """

    nodes: dict[int, Tensor]
    logits: Tensor
    local: dict[int, Tensor] = field(default_factory=dict)


class TailoredGraph(Part):
    """What one task adds to a universal network: proxies, attention and a classifier. It computes
    only together with that network, whose blocks it does not hold.

    `network` is the universal network's `{"path", "config"}`, `image` the shape [C, H, W], `skip`
    how many blocks a proxy skips at most (None: any), `start` the scores of blocks and of proxies,
    `edges` the names of the edges that are left (None: all). With `statistics` "task" the universal
    batch norms normalise by the task's own statistics, which belong to the task then.
    """

    # Of each edge, as a share of the universal network; set by who trains it, not stored.
    complexity: Tensor

    def __init__(
        self,
        *,
        network: Mapping[str, Any],
        image: Sequence[int],
        classes: int,
        skip: int | None = 3,
        start: Sequence[float] = (2.0, -2.0),
        edges: Sequence[str] | None = None,
        statistics: Statistics = "frozen",
    ) -> None:
        super().__init__()
        self.backbone = b = backbone_of(network, image)
        self.edges = [e for e in all_edges(b.num_blocks, skip) if edges is None or e.name in edges]
        self.routes = Attention(self.edges, b.num_blocks)
        self.scores = nn.Parameter(
            torch.tensor([float(start[0 if e.is_block else 1]) for e in self.edges])
        )
        shapes, deep = b.nodes, b.bottleneck
        self.proxies = nn.ModuleDict(
            {
                e.name: Proxy(shapes[e.source], shapes[e.target], bottleneck=deep)
                for e in self.edges
                if not e.is_block
            }
        )
        self.head = nn.Linear(b.features, classes)
        self.register_buffer("complexity", torch.zeros(len(self.edges)), persistent=False)
        self.own_statistics = nn.ModuleDict()
        if statistics == "task":
            pieces = build_network(network).pieces()
            self.own_statistics = nn.ModuleDict(
                {str(n): OwnStatistics(pieces[b.blocks[n - 1]]) for n in sorted(self.kept_blocks)}
            )

    @classmethod
    def over(cls, universal: Network, image: Sequence[int], classes: int, **settings: Any) -> Self:
        """A new graph over a universal network, whose running statistics it begins with where it
        has some of its own.
        """
        graph = cls(
            network={"path": universal.path, "config": universal.config},
            image=image,
            classes=classes,
            **settings,
        )
        for node, own in graph.own_statistics.items():
            cast(OwnStatistics, own).take(universal.pieces()[graph.backbone.blocks[int(node) - 1]])
        return graph

    @property
    def kept_blocks(self) -> set[int]:
        """Numbers (from 1) of the universal blocks that are left."""
        return {e.target for e in self.edges if e.is_block}

    def attention(self) -> Tensor:
        """Of each edge, [edges]; over the edges that enter a node they sum to 1."""
        return self.routes(self.scores)  # type: ignore[no-any-return]

    def watched(self) -> dict[str, float]:
        """Attention by edge, for curves."""
        return {
            f"attention/{e.name}": a
            for e, a in zip(self.edges, self.attention().tolist(), strict=True)
        }

    def forward(self, x: Tensor, universal: Network) -> Tensor:
        """Images [B, C, H, W] to logits [B, classes]."""
        return self.passed(x, universal).logits

    def passed(self, x: Tensor, universal: Network, *, local: bool = False) -> Passed:
        """One pass. `local` also gives every node's output as a function of that node's own layers
        alone (the authors' code evaluates each layer twice; here only the proxies are, without a
        second update of their running statistics: a frozen block's output is the same in both)."""
        pieces, b = universal.pieces(), self.backbone
        alpha = dict(zip(self.edges, self.attention(), strict=True))
        nodes, blocks = {0: apply_pieces(pieces, b.stem, x)}, {}
        for node, edges in self._by_target().items():
            parts = []
            for e in edges:
                if e.is_block:
                    blocks[node] = self._block(node, pieces[b.blocks[node - 1]], nodes[e.source])
                parts.append(
                    alpha[e]
                    * (blocks[node] if e.is_block else self.proxies[e.name](nodes[e.source]))
                )
            nodes[node] = F.relu(reduce(torch.add, parts))
        found = Passed(nodes, self.head(apply_pieces(pieces, b.pool, nodes[b.num_blocks])))
        if local:
            held = {node: x.detach() for node, x in nodes.items()}
            with held_statistics(self.proxies):
                for node, edges in self._by_target().items():
                    outs = [
                        alpha[e]
                        * (
                            blocks[node].detach()
                            if e.is_block
                            else self.proxies[e.name](held[e.source])
                        )
                        for e in edges
                    ]
                    found.local[node] = F.relu(reduce(torch.add, outs))
        return found

    def _by_target(self) -> dict[int, list[Edge]]:
        found: dict[int, list[Edge]] = {}
        for edge in self.edges:  # in the order of their targets
            found.setdefault(edge.target, []).append(edge)
        return found

    def _block(self, node: int, block: nn.Module, x: Tensor) -> Tensor:
        if not self.own_statistics:
            return sum_before_relu(block, x)
        return cast(OwnStatistics, self.own_statistics[str(node)]).summed(
            block.train(self.training), x
        )

    def with_edges(self, names: Sequence[str]) -> TailoredGraph:
        """The same graph with these edges only, and the weights that it has now."""
        smaller = type(self)(
            **{**self.config, "edges": [e.name for e in self.edges if e.name in set(names)]}
        )
        wanted = smaller.state_dict()
        state = {k: v for k, v in self.state_dict().items() if k in wanted and k != "scores"}
        kept = [i for i, e in enumerate(self.edges) if e.name in set(names)]
        smaller.load_state_dict({**state, "scores": self.scores.detach()[kept]})
        return smaller

    def joined(self, other: Part) -> nn.Module:
        """The task's network by itself, with the universal blocks it uses; see
        `methods.nettailor.export.plain`.
        """
        from methods.nettailor.export import plain

        return plain(self, cast(Network, other))
