"""A pruned graph as a plain module."""

from __future__ import annotations

import pytest
import torch
from tailored_graphs import moved, small
from torch.nn import functional as F

from methods.nettailor.export import plain


class TestExport:
    @pytest.mark.parametrize("statistics", ["task", "frozen"])
    @pytest.mark.parametrize(
        "edges", [None, ["block1", "0-2", "1-3", "2-3", "block4", "2-4", "4-6"], ["0-3", "3-6"]]
    )
    def test_the_plain_module_computes_what_the_masked_student_does(self, statistics, edges):
        universal, graph = small(statistics=statistics)
        moved(graph)
        with torch.no_grad():
            for name, value in graph.own_statistics.named_buffers():
                if name.endswith("running_mean"):
                    value.normal_()
        chosen = [e.name for e in graph.edges] if edges is None else edges
        pruned = graph.with_edges(chosen).eval()
        x = torch.randn(8, 3, 16, 16)
        with torch.no_grad():
            masked = masked_forward(graph, universal, x, chosen)
            found = plain(pruned, universal)(x)
            torch.testing.assert_close(pruned(x, universal), masked, rtol=0, atol=1e-5)
        assert (found - masked).abs().max() <= 1e-5

    def test_it_holds_only_what_is_used(self):
        universal, graph = small(statistics="frozen")
        module = plain(graph.with_edges(["0-3", "3-6"]).eval(), universal)
        stem, head = (
            sum(p.numel() for p in universal.stem.parameters()),
            sum(p.numel() for p in graph.head.parameters()),
        )
        proxies = 8 * 16 + 16 + 16 * 32 + 32  # 1x1 convolutions with biases
        assert sum(p.numel() for p in module.parameters()) == stem + head + proxies


def masked_forward(graph, universal, x, chosen):
    """The student with scores of -inf on what is gone, written out: an edge at a time, nothing
    folded. Nodes that nothing enters are zero.
    """
    pieces, b, nodes = universal.pieces(), graph.backbone, {}
    nodes[0] = graph.stem_output(pieces, x)
    scores = {
        e: float(s) if e.name in chosen else -float("inf")
        for e, s in zip(graph.edges, graph.scores, strict=True)
    }
    for node in range(1, b.num_blocks + 1):
        into = [e for e in graph.edges if e.target == node]
        values = torch.tensor([scores[e] for e in into])
        weights = values.softmax(0) if values.isfinite().any() else torch.zeros(len(into))
        total = torch.zeros(len(x), *b.nodes[node])
        for e, weight in zip(into, weights, strict=True):
            if weight:
                out = (
                    graph.block_output(node, pieces[b.blocks[node - 1]], nodes[e.source])
                    if e.is_block
                    else graph.proxies[e.name](nodes[e.source])
                )
                total = total + weight * out
        nodes[node] = F.relu(total)
    return graph.head(pieces["pool"](nodes[b.num_blocks]))
