"""Sizes, attention and expected complexity against sections 2.2 and 3.2 of the specification."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from tailored_graphs import small

from methods.nettailor.cost import complexities, edge_costs, ledger
from methods.nettailor.edges import Edge, all_edges
from methods.nettailor.nettailor import Attention, TailoredGraph
from methods.pieces.cost import Cost, network_cost
from orchestrator import Network
from orchestrator.spec.classes import class_at

MILLION, BILLION = 1e6, 1e9


def network(name, classes=10):
    return {
        "path": "methods.networks.torchvision:TorchvisionNetwork",
        "config": {"name": name, "weights": None, "channels": 3, "classes": classes},
    }


@cache
def published(name, skip=3):
    """Nothing here changes a graph, and a ResNet-50 with its proxies takes a second."""
    return TailoredGraph(network=network(name), image=(3, 224, 224), classes=10, skip=skip)


priced = cache(edge_costs)


def cost_of_proxies(graph):
    costs = priced(graph)
    return sum((cost for edge, cost in costs.items() if not edge.is_block), Cost())


class TestFiguresOfThePaper:
    @pytest.mark.parametrize(
        ("name", "parameters", "flops", "proxy_parameters", "proxy_flops"),
        [
            ("resnet18", 11.18, 1.729, 1.15, 0.170),
            ("resnet34", 21.28, 3.581, 2.75, 0.469),
            ("resnet50", 23.51, 4.020, 3.35, 0.598),
        ],
    )
    def test_sizes_of_universal_network_and_proxies(
        self, name, parameters, flops, proxy_parameters, proxy_flops
    ):
        graph = published(name)
        universal = sum(graph.backbone.block_costs, graph.backbone.paper_stem)
        proxies = cost_of_proxies(graph)
        assert universal.parameters / MILLION == pytest.approx(parameters, abs=0.005)
        assert universal.flops / BILLION == pytest.approx(flops, abs=0.0005)
        assert proxies.parameters / MILLION == pytest.approx(proxy_parameters, abs=0.005)
        assert proxies.flops / BILLION == pytest.approx(proxy_flops, abs=0.001)

    @pytest.mark.parametrize(
        ("skip", "parameters"), [(1, 1.09), (3, 2.75), (5, 4.08), (None, 6.83)]
    )
    def test_proxies_of_resnet34_by_skip_range(self, skip, parameters):
        proxies = cost_of_proxies(published("resnet34", skip))
        assert proxies.parameters / MILLION == pytest.approx(parameters, abs=0.005)

    def test_the_augmented_resnet34(self):
        found = ledger(published("resnet34"), "paper")
        assert found.parameters / MILLION == pytest.approx(24.04, abs=0.01)
        assert found.flops / BILLION == pytest.approx(4.05, abs=0.005)

    def test_the_true_stem_is_what_the_paper_leaves_out(self):
        graph = published("resnet50")
        universal = sum(graph.backbone.block_costs, graph.backbone.stem_cost)
        assert universal.flops / BILLION == pytest.approx(4.11, abs=0.005)
        whole = class_at(network("resnet50")["path"], Network)(**network("resnet50")["config"])
        assert ledger(graph, "true").untailored == network_cost(whole, (3, 224, 224))

    @pytest.mark.parametrize("name", ["resnet18", "resnet34"])
    def test_a_basic_block_costs_some_eighteen_proxies(self, name):
        graph = published(name)
        costs, nodes = priced(graph), graph.backbone.nodes
        for block in [edge for edge in costs if edge.is_block]:
            if nodes[block.source] == nodes[block.target]:
                beside = Edge(block.target, block.source, False)
                assert 17.4 <= costs[block].flops / costs[beside].flops <= 18.0


# Name, skip, scores of (blocks, proxies), disjoint, disjoint_code, independent, sum of complexity x
# attention.
TABLE = [
    ("resnet34", 3, (2.0, -2.0), 0.8464, 0.7039, 0.8640, 0.9456),
    ("resnet34", 3, (0.0, 0.0), -0.3720, -0.5165, 0.1534, 0.3038),
    ("resnet34", 3, (-2.0, 2.0), -0.5745, -0.7191, 0.0294, 0.0540),
    ("resnet34", 3, "two steps", -0.0456, -0.1877, 0.0237, 0.5410),
    ("resnet34", 1, (2.0, -2.0), 0.9403, 0.8036, 0.9428, 0.9748),
    ("resnet50", 3, (2.0, -2.0), 0.8443, 0.7175, 0.8634, 0.9464),
    ("resnet18", 3, (2.0, -2.0), 0.8565, 0.5654, 0.8688, 0.9401),
]


@pytest.mark.parametrize(
    ("name", "skip", "scores", "disjoint", "code", "independent", "naive"), TABLE
)
def test_expected_complexity_is_that_of_the_unit_table(
    name, skip, scores, disjoint, code, independent, naive
):
    graph = published(name, skip)
    if scores == "two steps":  # even nodes take the proxy that skips two blocks, odd ones are dead
        chosen = [
            e.source == e.target - 2 if e.target % 2 == 0 else e.is_block for e in graph.edges
        ]
        values = torch.tensor([6.0 if c else -6.0 for c in chosen])
    else:
        values = torch.tensor([scores[0 if e.is_block else 1] for e in graph.edges])
    alpha, complexity = graph.routes(values), complexities(graph, "flops", "paper")
    found = [
        float(graph.routes.expected_complexity(alpha, complexity, form))
        for form in ("disjoint", "disjoint_code", "independent")
    ]
    assert found == pytest.approx([disjoint, code, independent], abs=6e-5)
    assert float((alpha * complexity).sum()) == pytest.approx(naive, abs=6e-5)


def test_the_codes_boundaries_shift_the_value_and_not_the_gradient():
    # One proxy a node, so that the source of every edge is the node before its target.
    graph = published("resnet18", 1)
    complexity = complexities(graph, "flops", "paper")
    gradients = []
    for form in ("disjoint", "disjoint_code"):
        generator = torch.Generator().manual_seed(0)
        scores = torch.randn(len(graph.edges), generator=generator).requires_grad_()
        graph.routes.expected_complexity(graph.routes(scores), complexity, form).backward()
        gradients.append(scores.grad)
    torch.testing.assert_close(*gradients)


class TestAttention:
    def test_edges_that_enter_a_node_sum_to_one(self):
        edges = all_edges(6, 3)
        alpha = Attention(edges, 6)(torch.randn(len(edges)))
        for node in range(1, 7):
            entering = [float(a) for a, e in zip(alpha, edges, strict=True) if e.target == node]
            assert sum(entering) == pytest.approx(1.0)

    def test_first_scores_are_the_papers(self):
        _, graph = small(blocks=2, skip=3)
        alpha = dict(zip([e.name for e in graph.edges], graph.attention().tolist(), strict=True))
        assert [round(alpha[f"block{n}"], 3) for n in (1, 2, 3)] == [0.982, 0.965, 0.948]
        assert [round(alpha[n], 4) for n in ("0-1", "1-2", "2-3")] == [0.018, 0.0177, 0.0174]

    @pytest.mark.parametrize(("skip", "count"), [(1, 12), (2, 17), (3, 21), (None, 27)])
    def test_proxies_of_each_layer(self, skip, count):
        assert len(all_edges(6, skip)) == count

    def test_a_gradient_comes_through_where_an_edge_is_not_there(self):
        edges = all_edges(3, 2)
        scores = torch.zeros(len(edges), requires_grad=True)
        masked = torch.where(torch.tensor([e.name == "block2" for e in edges]), -torch.inf, scores)
        attention = Attention(edges, 3)
        ones = torch.ones(len(edges))
        attention.expected_complexity(attention(masked), ones, "independent").backward()
        assert torch.isfinite(scores.grad).all()
