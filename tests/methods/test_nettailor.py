"""NetTailor against its specification: the unit tables of sections 2.2 and 3.2, pruning, export,
and the whole method on digits.
"""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from methods.fine_tune import FineTune
from methods.nettailor import NetTailor
from methods.nettailor.complexity import Attention, Edge, all_edges
from methods.nettailor.cost import complexities, edge_costs, ledger
from methods.nettailor.export import plain
from methods.nettailor.graph import TailoredGraph
from methods.nettailor.imitation import distance, teacher_outputs
from methods.nettailor.leanest import Leanest, area
from methods.nettailor.nettailor import PUBLISHED
from methods.nettailor.pruning import blocks_to_remove, live_edges, prune, stages_lost
from methods.nettailor.tailored_tasks import TailoredTasks, shared, storage
from methods.networks import cifar_resnet, resnet8, small_vgg, torchvision_network
from methods.networks.resnet import ResNet
from methods.pieces.attached import Attached
from methods.pieces.cost import Cost, network_cost
from methods.pieces.residual import backbone_of, count_blocks, sum_before_relu
from orchestrator import Result, Store, Trial, digits, resolve
from orchestrator.parts.component import state_digest
from orchestrator.spec.trial import locate
from orchestrator.store.content import content_digest
from orchestrator.training.execute import execute, run_with_needs

MILLION, BILLION = 1e6, 1e9


def network(name, classes=10):
    return {
        "path": "methods.networks.torchvision:TorchvisionNetwork",
        "config": {"name": name, "weights": None, "channels": 3, "classes": classes},
    }


def published(name, skip=3):
    return TailoredGraph(network=network(name), image=(3, 224, 224), classes=10, skip=skip)


def small(blocks=2, width=8, **settings):
    """A universal network on random weights with running statistics that are not the trivial ones,
    and its graph.
    """
    torch.manual_seed(0)
    universal = ResNet(blocks=blocks, width=width, channels=3, classes=5)
    for _ in range(3):
        universal(torch.randn(16, 3, 16, 16))
    universal.eval().requires_grad_(False)
    return universal, TailoredGraph.over(universal, (3, 16, 16), 4, **settings)


def moved(graph):
    """The graph with proxies and statistics that do something."""
    for proxy in graph.proxies.values():
        for layer in proxy:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.3)
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias)
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2.0)
    nn.init.normal_(graph.scores)
    return graph.eval()


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
        proxies = sum(
            (cost for edge, cost in edge_costs(graph).items() if not edge.is_block), Cost()
        )
        assert universal.parameters / MILLION == pytest.approx(parameters, abs=0.005)
        assert universal.flops / BILLION == pytest.approx(flops, abs=0.0005)
        assert proxies.parameters / MILLION == pytest.approx(proxy_parameters, abs=0.005)
        assert proxies.flops / BILLION == pytest.approx(proxy_flops, abs=0.001)

    @pytest.mark.parametrize(
        ("skip", "parameters"), [(1, 1.09), (3, 2.75), (5, 4.08), (None, 6.83)]
    )
    def test_proxies_of_resnet34_by_skip_range(self, skip, parameters):
        proxies = sum(
            (
                cost
                for edge, cost in edge_costs(published("resnet34", skip)).items()
                if not edge.is_block
            ),
            Cost(),
        )
        assert proxies.parameters / MILLION == pytest.approx(parameters, abs=0.005)

    def test_the_augmented_resnet34(self):
        found = ledger(published("resnet34"), "paper")
        assert found.parameters / MILLION == pytest.approx(24.04, abs=0.01)
        assert found.flops / BILLION == pytest.approx(4.05, abs=0.005)

    def test_the_true_stem_is_what_the_paper_leaves_out(self):
        graph = published("resnet50")
        assert sum(
            graph.backbone.block_costs, graph.backbone.stem_cost
        ).flops / BILLION == pytest.approx(4.11, abs=0.005)
        whole = locate(network("resnet50")["path"])(**network("resnet50")["config"])
        assert ledger(graph, "true").whole == network_cost(whole, (3, 224, 224))

    @pytest.mark.parametrize("name", ["resnet18", "resnet34"])
    def test_a_basic_block_costs_some_eighteen_proxies(self, name):
        costs = edge_costs(published(name))
        plain_blocks = [
            e
            for e in costs
            if e.is_block
            and published(name).backbone.nodes[e.source] == published(name).backbone.nodes[e.target]
        ]
        for block in plain_blocks:
            proxy = next(
                e
                for e in costs
                if not e.is_block and (e.source, e.target) == (block.source, block.target)
            )
            assert 17.4 <= costs[block].flops / costs[proxy].flops <= 18.0


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
    graph = published(
        "resnet18", 1
    )  # one proxy a node, so that the source of every edge is the node before its target
    complexity = complexities(graph, "flops", "paper")
    gradients = []
    for form in ("disjoint", "disjoint_code"):
        scores = torch.randn(
            len(graph.edges), generator=torch.Generator().manual_seed(0)
        ).requires_grad_()
        graph.routes.expected_complexity(graph.routes(scores), complexity, form).backward()
        gradients.append(scores.grad)
    torch.testing.assert_close(*gradients)


class TestAttention:
    def test_edges_that_enter_a_node_sum_to_one(self):
        edges = all_edges(6, 3)
        alpha = Attention(edges, 6)(torch.randn(len(edges)))
        for node in range(1, 7):
            assert float(
                sum(a for a, e in zip(alpha, edges, strict=True) if e.target == node)
            ) == pytest.approx(1.0)

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
        attention.expected_complexity(
            attention(masked), torch.ones(len(edges)), "independent"
        ).backward()
        assert torch.isfinite(scores.grad).all()


class TestGraph:
    def test_with_blocks_only_it_is_the_universal_network_bit_for_bit(self):
        universal, graph = small(statistics="frozen")
        alone = graph.with_edges([e.name for e in graph.edges if e.is_block]).eval()
        x = torch.randn(8, 3, 16, 16)
        features = universal.extractor("pool")(x)
        assert torch.equal(alone(x, universal), alone.head(features))
        assert torch.equal(alone.passed(x, universal).nodes[6], universal.extractor("stage3")(x))

    @pytest.mark.parametrize("name", ["resnet18", "resnet50"])
    def test_torchvisions_blocks_before_their_last_relu(self, name):
        torch.manual_seed(0)
        spec = torchvision_network(name)
        universal = locate(spec.path)(**dict(spec.settings), channels=3, classes=4).eval()
        x = torch.randn(2, 3, 64, 64)
        pieces = universal.pieces()
        with torch.no_grad():
            for piece in ("stem", "stage1.block1"):
                before, x = x, pieces[piece](x)
            assert torch.equal(F.relu(sum_before_relu(pieces["stage1.block1"], before)), x)

    @pytest.mark.parametrize("statistics", ["task", "frozen"])
    def test_the_universal_network_is_left_alone(self, statistics):
        universal, graph = small(statistics=statistics)
        before = {k: v.clone() for k, v in universal.state_dict().items()}
        graph.train()
        graph(torch.randn(8, 3, 16, 16), universal).sum().backward()
        assert all(torch.equal(before[k], v) for k, v in universal.state_dict().items())

    def test_a_task_has_statistics_of_its_own(self):
        universal, graph = small(statistics="task")
        begun = {k: v.clone() for k, v in graph.own_statistics.state_dict().items()}
        assert torch.equal(begun["1.bn1-running_mean"], universal.stage1[0].bn1.running_mean)
        graph.train()
        graph(torch.randn(8, 3, 16, 16) * 3, universal)
        changed = [
            k for k, v in graph.own_statistics.state_dict().items() if not torch.equal(begun[k], v)
        ]
        assert len(changed) == len(begun)

    @pytest.mark.parametrize("statistics", ["task", "frozen"])
    def test_the_local_pass_has_the_same_values_and_updates_statistics_once(self, statistics):
        universal, graph = small(statistics=statistics)
        moved(graph).train()
        found = graph.passed(torch.randn(8, 3, 16, 16), universal, local=True)
        for node, local in found.local.items():
            torch.testing.assert_close(local, found.nodes[node])
        assert {
            int(v) for k, v in graph.proxies.named_buffers() if k.endswith("num_batches_tracked")
        } == {1}

    def test_a_local_term_trains_its_own_layer_only(self):
        universal, graph = small()
        moved(graph).train()
        graph.passed(torch.randn(8, 3, 16, 16), universal, local=True).local[
            4
        ].square().sum().backward()
        with_gradient = {n for n, p in graph.proxies.named_parameters() if p.grad is not None}
        assert {n.partition(".")[0] for n in with_gradient} == {"3-4", "2-4", "1-4"}
        graph.zero_grad()
        graph.passed(torch.randn(8, 3, 16, 16), universal).nodes[4].square().sum().backward()
        assert {
            n.partition(".")[0] for n, p in graph.proxies.named_parameters() if p.grad is not None
        } > {"0-1", "3-4"}

    def test_the_teacher_term_follows_the_authors_normalisation(self):
        universal, graph = small()
        x = torch.randn(4, 3, 16, 16)
        torch.manual_seed(1)
        teacher = ResNet(blocks=2, width=8, channels=3, classes=4).eval()
        nodes, logits = teacher_outputs(teacher, graph.backbone, x)
        torch.testing.assert_close(nodes[6], teacher.extractor("stage3")(x))
        found = graph.eval().passed(x, universal)
        mse = F.mse_loss(found.logits, logits) + sum(
            F.mse_loss(found.nodes[n], nodes[n]) for n in range(1, 7)
        )
        torch.testing.assert_close(
            distance(found.nodes, found.logits, (nodes, logits), 6, "none"), mse / 6
        )
        scaled = {n: 10 * t for n, t in nodes.items()}, 10 * logits
        ten_times = {n: 10 * t for n, t in found.nodes.items()}
        one = distance(found.nodes, found.logits, (nodes, logits), 6, "variance")
        torch.testing.assert_close(
            distance(ten_times, 10 * found.logits, scaled, 6, "variance"), one, rtol=1e-3, atol=1e-4
        )

    @pytest.mark.parametrize("size", [15, 28, 35])
    def test_proxies_meet_odd_resolutions(self, size):
        torch.manual_seed(0)
        universal = ResNet(blocks=1, width=4, channels=1, classes=3).eval()
        graph = TailoredGraph.over(universal, (1, size, size), 3, skip=None)
        assert graph(torch.randn(2, 1, size, size), universal).shape == (2, 3)

    def test_a_network_without_residual_blocks_is_refused(self):
        with pytest.raises(
            ValueError,
            match="is no stem, residual blocks one behind another, and a pooling; its pieces are",
        ):
            count_blocks(small_vgg())
        assert [
            count_blocks(n) for n in (resnet8(), cifar_resnet(2), torchvision_network("resnet34"))
        ] == [3, 6, 16]

    def test_blocks_are_called_by_stage_and_number(self):
        spec = cifar_resnet(2)
        found = backbone_of(
            {"path": spec.path, "config": {**dict(spec.settings), "channels": 3, "classes": 2}},
            (3, 16, 16),
        )
        assert found.labels == tuple(f"{s}.{b}" for s in (1, 2, 3) for b in (1, 2))
        assert found.stages() == ["stage1"] * 2 + ["stage2"] * 2 + ["stage3"] * 2
        assert [n[1] for n in found.nodes] == [16, 16, 16, 8, 8, 4, 4]


def edge(name):
    if name.startswith("block"):
        return Edge(int(name[5:]), int(name[5:]) - 1, True)
    source, target = map(int, name.split("-"))
    return Edge(target, source, False)


def named(edges):
    return {e.name for e in edges}


class TestPruning:
    def test_what_leads_nowhere_is_dead(self):
        live = live_edges([edge(n) for n in ("block1", "block2", "0-2", "block4", "1-4")], 4)
        assert named(live) == {
            "block1",
            "1-4",
        }  # block 4 has no input, what enters node 2 no output

    def test_whole_chains_vanish(self):
        live = live_edges([edge(n) for n in ("block1", "block2", "block3", "0-4", "block5")], 5)
        assert named(live) == {"0-4", "block5"}

    def test_without_a_path_nothing_is_live(self):
        assert live_edges([edge(n) for n in ("block1", "block3")], 3) == set()

    def attention(self, **more):
        alpha = {
            e: 0.95 - 0.01 * e.target if e.is_block else 0.02 / (e.target - e.source)
            for e in all_edges(4, 3)
        }
        return alpha | {edge(n.replace("to", "-").lstrip("p")): a for n, a in more.items()}

    def test_the_guard_finds_the_best_way_over_a_removed_block(self):
        removed = {edge("block2"), edge("block3")}
        left = prune(self.attention(p1to3=0.04), removed, 0.05, "path", 4)
        assert set(left.edges) == {"block1", "1-3", "block4"}
        assert left.restored == 1

    def test_the_guard_by_proxies_bridges_each_removed_block(self):
        left = prune(self.attention(p1to3=0.04), {edge("block2"), edge("block3")}, 0.05, "proxy", 4)
        assert set(left.edges) == {
            "block1",
            "1-3",
            "block4",
        }  # the proxy beside block 2 leads nowhere then
        left = prune(self.attention(), {edge("block2"), edge("block3")}, 0.05, "proxy", 4)
        assert set(left.edges) == {"block1", "1-2", "2-3", "block4"}

    def test_without_a_guard_the_graph_falls_apart_as_in_the_paper(self):
        assert prune(self.attention(), {edge("block2")}, 0.05, "none", 4).edges == ()
        assert set(prune(self.attention(p1to2=0.06), {edge("block2")}, 0.05, "none", 4).edges) == {
            "block1",
            "1-2",
            "block3",
            "block4",
        }

    def test_a_guard_is_never_needed_where_a_path_is_left(self):
        left = prune(self.attention(p0to4=0.2), {edge("block2")}, 0.05, "path", 4)
        assert (set(left.edges), left.restored) == ({"0-4", "block4"} - {"block4"}, 0)

    @pytest.mark.parametrize("guard", ["path", "proxy"])
    def test_guards_connect_whatever_is_removed(self, guard):
        generator = torch.Generator().manual_seed(0)
        for _ in range(200):
            edges = all_edges(6, int(torch.randint(1, 4, (), generator=generator)))
            attention = {e: float(torch.rand((), generator=generator)) for e in edges}
            gone = {
                e for e in edges if e.is_block and float(torch.rand((), generator=generator)) < 0.7
            }
            left = prune(attention, gone, 0.9, guard, 6)
            assert (
                live_edges([edge(n) for n in left.edges], 6)
                == {edge(n) for n in left.edges}
                != set()
            )
            assert not named(gone) & set(left.edges)

    def test_orders_of_removal(self):
        attention = self.attention(block3=0.1, block1=0.2)
        order = {
            name: [sorted(named(blocks_to_remove(attention, k, name, seed=0))) for k in (1, 2)]
            for name in ("attention", "last_first", "first_first")
        }
        assert order["attention"] == [["block3"], ["block1", "block3"]]
        assert order["last_first"] == [["block4"], ["block3", "block4"]]
        assert order["first_first"] == [["block1"], ["block1", "block2"]]

    def test_a_random_order_is_one_shuffle_a_seed(self):
        attention = self.attention()
        nested = [named(blocks_to_remove(attention, k, "random", seed=3)) for k in range(5)]
        assert all(a < b for a, b in pairwise(nested))
        assert (
            len(
                {
                    frozenset(named(blocks_to_remove(attention, 2, "random", seed=s)))
                    for s in range(20)
                }
            )
            > 3
        )

    def test_shares_of_stages(self):
        assert stages_lost({1, 2, 3}, ["a", "a", "b", "b"]) == {"a": 0.0, "b": 0.5}


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

    def test_torch_opens_it_without_our_code(self, tmp_path, trained, spolia):
        store, key = trained
        code, out, err = spolia(
            "export", key[:10], "--to", tmp_path / "lean.pt2", "--store", store.address
        )
        assert code == 0, err
        assert "torch.export.load" in out
        component = Result(store, store.find(key)).component("student")
        joined = Attached(component.module(), component.required().module()).eval()
        x = torch.randn(7, 1, 8, 8)
        torch.save({"x": x, "y": joined(x).detach()}, tmp_path / "seen.pt")
        program = (
            "import sys, json, torch; d = torch.load('seen.pt'); y = torch.export.load('lean.pt2').module()(d['x'])\n"
            "print(json.dumps([float((y - d['y']).abs().max()), [m for m in sys.modules if m.split('.')[0] in ('orchestrator', 'methods')]]))"
        )
        ran = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        difference, ours = json.loads(ran.stdout)
        assert difference <= 1e-5
        assert ours == []


def masked_forward(graph, universal, x, chosen):
    """The student with scores of -inf on what is gone, written out: an edge at a time, nothing
    folded. Nodes that nothing enters are zero.
    """
    pieces, b, nodes = universal.pieces(), graph.backbone, {}
    nodes[0] = pieces["stem"](x)
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
                    graph._block(node, pieces[b.blocks[node - 1]], nodes[e.source])
                    if e.is_block
                    else graph.proxies[e.name](nodes[e.source])
                )
                total = total + weight * out
        nodes[node] = F.relu(total)
    return graph.head(pieces["pool"](nodes[b.num_blocks]))


DIGITS = (
    digits.classes(0, 1, 2, 3, 4).images(limit=300).named("source"),
    digits.classes(5, 6, 7, 8, 9).images(limit=300).validation(0.3).named("t"),
)
SHORT = FineTune(epochs=2)
QUICK = NetTailor(removed=1, epochs=2, retrain_epochs=1, base=SHORT, teacher=SHORT)


def trial_of(method, tasks=DIGITS, network=None):
    return Trial(method=method, network=network or resnet8(width=4), tasks=tasks, seed=0)


@pytest.fixture(scope="module")
def digits_store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("nettailor") / "store")
    made.prepare()
    return made


def result_of(method, store, **about):
    resolved = resolve(trial_of(method, **about), store)
    assert resolved.problems() == []
    run_with_needs(resolved, store)
    outcome = execute(resolved, store)
    assert outcome.is_result, outcome.traceback
    return Result(store, store.find(resolved.key))


@pytest.fixture
def trained(digits_store):
    return digits_store, result_of(QUICK, digits_store).key


class TestMethod:
    def test_n3_the_universal_network_keeps_its_bits(self, digits_store):
        result = result_of(QUICK, digits_store)
        universal = (
            Result(digits_store, digits_store.find(result.record["needs"]["universal"]["key"]))
            .component("network", task="source")
            .module()
        )
        assert result.record["frozen"]["retrain"]["universal"] == state_digest(universal)
        student = Result(digits_store, digits_store.find(result.record["needs"]["student"]["key"]))
        assert student.record["frozen"]["train"]["universal"] == state_digest(universal)

    def test_all_prunings_share_one_student_and_the_teacher(self, digits_store):
        trials = [
            resolve(trial_of(QUICK.replace(removed=k, order=o, threshold=t)), digits_store)
            for k, o, t in ((1, "attention", 0.05), (2, "random", 0.05), (1, "last_first", 0.1))
        ]
        assert len({t.key for t in trials}) == 3
        assert len({t.needs["student"].key for t in trials}) == 1
        assert {t.needs["teacher"].key for t in trials} == {
            resolve(trial_of(SHORT), digits_store).key
        }

    def test_without_its_weight_there_is_no_teacher(self, digits_store):
        assert (
            "teacher"
            not in resolve(trial_of(QUICK.replace(teacher_weight=0.0)), digits_store).needs
        )

    def test_a_teacher_trained_otherwise_still_starts_from_the_universal_network(
        self, digits_store
    ):
        trial = resolve(trial_of(QUICK.replace(teacher=FineTune(epochs=1, lr=0.01))), digits_store)
        assert trial.needs["teacher"].needs["before"].key == trial.needs["universal"].key

    def test_it_leaves_its_graph_as_data_and_attention_over_time(self, digits_store):
        result = result_of(QUICK.replace(removed=None), digits_store)
        graph, attention = result.matrix("graph"), result.matrix("attention")
        assert graph.columns == ("attention", "flops", "parameters")
        assert attention.columns == ("1", "2")
        assert attention.rows == graph.rows == tuple(e.name for e in all_edges(3, 3))
        assert attention.values[:, 1] == pytest.approx(graph.values[:, 0])
        assert graph.values[graph.rows.index("block1")].tolist()[1:] == [
            4 * 4 * 9 * 64 * 2 + 2 * 2 * 4 * 64,
            4 * 4 * 9 * 2 + 2 * 2 * 4,
        ]

    def test_a_removed_block_is_gone_and_the_ledger_says_so(self, digits_store):
        whole, pruned = (
            result_of(QUICK.replace(removed=0), digits_store),
            result_of(QUICK.replace(removed=2), digits_store),
        )
        assert whole.metric("blocks") == 3
        assert pruned.metric("blocks") <= 1  # less than one where what is left leads nowhere
        for metric in ("flops", "parameters", "flops_share", "parameters_share"):
            assert pruned.metric(metric) < whole.metric(metric)
        module = pruned.component("student").ready()
        assert sum(p.numel() for p in module.parameters()) <= pruned.metric("parameters")

    def test_a_graph_without_a_path_is_infeasible(self, digits_store):
        result = result_of(QUICK.replace(guard="none", threshold=0.9), digits_store)
        assert result.outcome == "infeasible"
        assert (
            "without 1 blocks and the proxies up to 0.9, nothing leads from stem to classifier"
            in result.record["reason"]
        )

    def test_a_student_that_diverged_has_no_prunings(self, digits_store):
        result = result_of(QUICK.replace(lr=1e12), digits_store)
        assert (result.outcome, result.record["reason"]) == (
            "infeasible",
            "what it needs is not there: student diverged",
        )

    @pytest.mark.parametrize(
        ("changes", "about", "message"),
        [
            ({"removed": 4}, {}, "removed=4, but the network has 3 blocks"),
            ({"complexity_weight": -0.1}, {}, "complexity_weight=-0.1 is negative"),
            ({"skip": 0}, {}, "skip=0: a proxy bridges at least one block"),
            (
                {"teacher": FineTune(epochs=1, base=SHORT)},
                {},
                "teacher.base is set; the teacher starts from the universal network",
            ),
            (
                {},
                {"network": small_vgg()},
                "is no stem, residual blocks one behind another, and a pooling",
            ),
        ],
    )
    def test_what_cannot_run_is_told_at_planning(self, digits_store, changes, about, message):
        problems = resolve(trial_of(QUICK.replace(**changes), **about), digits_store).problems()
        assert any(message in p for p in problems), problems

    def test_a_time_is_no_part_of_what_tells_results_apart(self, digits_store):
        record = result_of(QUICK, digits_store).record
        slower = {
            **record,
            "metrics": [
                {**m, "value": 2 * m["value"]} if m.get("timing") else m for m in record["metrics"]
            ],
        }
        assert [m["name"] for m in record["metrics"] if m.get("timing")] == ["latency_share"]
        assert content_digest(slower) == content_digest(record)

    @pytest.mark.parametrize(
        "changes",
        [
            {"imitated": "end_to_end"},
            {"imitated": "logits"},
            {"statistics": "frozen"},
            {"cost": "parameters"},
            PUBLISHED,
        ],
    )
    def test_every_form_trains(self, digits_store, changes):
        assert result_of(QUICK.replace(**changes, removed=None), digits_store).outcome in (
            "done",
            "diverged",
        )

    def test_the_complexity_term_lowers_the_attended_complexity(self, digits_store):
        heavy = [
            result_of(
                QUICK.replace(removed=None, epochs=6, complexity_weight=w), digits_store
            ).metric("attended_complexity")
            for w in (0.0, 3.0)
        ]
        assert heavy[1] < heavy[0] - 0.05


class TestLeanest:
    choice = Leanest(of=QUICK, removed=(0, 1, 2), against=SHORT, drop=1.0)

    def test_it_takes_the_leanest_that_is_good_enough(self, digits_store):
        found = result_of(self.choice, digits_store)
        assert found.metric("tailored") == 1
        assert (
            found.component("student").record.blob
            == result_of(QUICK.replace(removed=2), digits_store).component("student").record.blob
        )
        teacher = result_of(SHORT, digits_store)
        assert found.metric("drop") == pytest.approx(
            teacher.metric("accuracy", task="t") - found.metric("accuracy")
        )

    def test_where_none_is_it_takes_the_fine_tuned_network(self, digits_store):
        better = FineTune(epochs=12)
        found = result_of(self.choice.replace(drop=0.0, against=better), digits_store)
        assert [
            found.metric(m) for m in ("tailored", "flops_share", "parameters_share", "drop")
        ] == [0, 1, 1, 0]
        assert found.components("student") == []

    def test_it_chooses_by_size_on_validation_images(self, digits_store):
        sizes = {k: result_of(QUICK.replace(removed=k), digits_store) for k in (0, 1, 2)}
        allowed = int(sizes[1].metric("parameters"))
        found = result_of(self.choice.replace(parameters_at_most=allowed), digits_store)
        best = max((1, 2), key=lambda k: (sizes[k].metric("val_accuracy"), k))
        assert found.metric("accuracy") == sizes[best].metric("accuracy")
        assert (
            result_of(self.choice.replace(parameters_at_most=1), digits_store).outcome
            == "infeasible"
        )

    def test_candidates_are_all_there_the_infeasible_ones_too(self, digits_store):
        found = result_of(
            self.choice.replace(of=QUICK.replace(guard="none", threshold=0.9)), digits_store
        )
        matrix = found.matrix("candidates")
        assert matrix.rows == ("0", "1", "2")
        assert matrix.values[0].min() >= 0
        assert np.isnan(matrix.values[1]).all()

    def test_the_choice_needs_validation_images(self, digits_store):
        tasks = (DIGITS[0], DIGITS[1].validation(0))
        assert "t holds out no validation images to choose on" in str(
            resolve(trial_of(self.choice, tasks=tasks), digits_store).problems()
        )

    def test_area_is_what_a_budget_buys(self):
        class Pruning:
            def __init__(self, **values):
                self.metric = values.__getitem__

        lean, large = (
            Pruning(flops_share=0.5, val_accuracy=0.8, accuracy=0.7),
            Pruning(flops_share=0.9, val_accuracy=0.9, accuracy=0.95),
        )
        # budgets 0.25 to 1 in steps of 0.05: five below 0.5 buy chance, eight the lean one, three
        # the large one
        assert area([lean, large], 0.1) == pytest.approx((5 * 0.1 + 8 * 0.7 + 3 * 0.95) / 16)


class TestTailoredTasks:
    TASKS = (
        DIGITS[0],
        DIGITS[1],
        digits.classes(0, 5).images(limit=100).validation(0.3).named("u"),
    )

    def test_matrices_and_storage(self, digits_store):
        choice = TestLeanest.choice
        result = result_of(TailoredTasks(of=choice), digits_store, tasks=self.TASKS)
        assert result.matrix("kept").rows == ("t", "u")
        assert result.matrix("kept").columns == ("1.1", "2.1", "3.1")
        kept = result.matrix("kept").values
        assert result.matrix("shared").values == pytest.approx(kept @ kept.T / 3)
        students = [
            result_of(choice, digits_store, tasks=(DIGITS[0], task)) for task in self.TASKS[1:]
        ]
        ledgers = [ledger(s.component("student").module()) for s in students]
        graph = students[0].component("student").module()
        used = kept.max(0)
        universal = graph.backbone.stem_cost.parameters + sum(
            c.parameters for c, u in zip(graph.backbone.block_costs, used, strict=True) if u
        )
        assert result.metric("storage_parameters") == universal + sum(
            entry.task for entry in ledgers
        )
        assert result.metric("storage_share") == pytest.approx(
            result.metric("storage_parameters") / sum(entry.whole.parameters for entry in ledgers)
        )

    def test_a_fine_tuned_network_is_stored_whole(self):
        _, graph = small(statistics="frozen")
        alone = storage(graph.backbone, {"a": graph}, others=[])
        beside = storage(graph.backbone, {"a": graph}, others=[5])
        whole = sum(
            p.numel() for p in ResNet(blocks=2, width=8, channels=3, classes=5).parameters()
        )
        assert [b - a for a, b in zip(alone, beside, strict=True)] == [whole, whole]

    def test_a_task_that_keeps_its_fine_tuned_network_shares_nothing(self):
        values = shared(["a", "b"], {"a": {1, 2}}, 4)
        assert values[0, 0] == 0.5
        assert np.isnan(values).tolist() == [[False, True], [True, True]]


class TestFineTuneFromABase:
    def test_the_first_network_may_be_trained_otherwise(self, digits_store):
        trial = resolve(trial_of(FineTune(epochs=1, base=SHORT)), digits_store)
        assert (
            trial.needs["before"].key
            == resolve(trial_of(SHORT, tasks=DIGITS[:1]), digits_store).key
        )

    def test_a_base_like_itself_changes_nothing(self, digits_store):
        assert (
            resolve(trial_of(SHORT.replace(base=SHORT)), digits_store).key
            == resolve(trial_of(SHORT), digits_store).key
        )

    @pytest.mark.parametrize(
        ("base", "tasks", "message"),
        [
            (SHORT, DIGITS[:1], "there is one task only"),
            (QUICK, DIGITS, "it may be another fine_tune"),
        ],
    )
    def test_a_base_that_cannot_be_meant(self, digits_store, base, tasks, message):
        assert message in str(
            resolve(trial_of(FineTune(epochs=1, base=base), tasks=tasks), digits_store).problems()
        )
