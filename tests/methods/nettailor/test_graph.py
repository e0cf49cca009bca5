"""The student network, its teacher's term, and the universal network that it leaves alone."""

from __future__ import annotations

import pytest
import torch
from tailored_graphs import moved, small
from torch.nn import functional as F

from methods.nettailor.nettailor import TailoredGraph, distance, teacher_outputs
from methods.networks import cifar_resnet, resnet8, small_vgg, torchvision_network
from methods.networks.resnet import ResNet
from methods.pieces.residual import backbone_of, count_blocks, sum_before_relu
from orchestrator import Network
from orchestrator.spec.classes import class_at


def proxies_with_gradient(graph):
    parameters = graph.proxies.named_parameters()
    return {name.partition(".")[0] for name, p in parameters if p.grad is not None}


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
        universal = class_at(spec.path, Network)(
            **dict(spec.settings), channels=3, classes=4
        ).eval()
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
        now = graph.own_statistics.state_dict()
        changed = [name for name, value in now.items() if not torch.equal(begun[name], value)]
        assert len(changed) == len(begun)
        # Those of the stem are among them, as in the authors' code.
        assert begun["0.0-1-running_mean"].equal(universal.stem[1].running_mean)
        assert "0.0-1-running_mean" in changed

    @pytest.mark.parametrize("statistics", ["task", "frozen"])
    def test_the_local_pass_has_the_same_values_and_updates_statistics_once(self, statistics):
        universal, graph = small(statistics=statistics)
        moved(graph).train()
        found = graph.passed(torch.randn(8, 3, 16, 16), universal, local=True)
        for node, local in found.local.items():
            torch.testing.assert_close(local, found.nodes[node])
        buffers = dict(graph.proxies.named_buffers())
        updates = {int(v) for name, v in buffers.items() if name.endswith("num_batches_tracked")}
        assert updates == {1}

    def test_a_local_term_trains_its_own_layer_only(self):
        universal, graph = small()
        moved(graph).train()
        passed = graph.passed(torch.randn(8, 3, 16, 16), universal, local=True)
        passed.local[4].square().sum().backward()
        assert proxies_with_gradient(graph) == {"3-4", "2-4", "1-4"}
        graph.zero_grad()
        passed = graph.passed(torch.randn(8, 3, 16, 16), universal)
        passed.nodes[4].square().sum().backward()
        assert proxies_with_gradient(graph) > {"0-1", "3-4"}

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
        message = "is no stem, residual blocks one behind another, and a pooling; its pieces are"
        with pytest.raises(ValueError, match=message):
            count_blocks(small_vgg())
        networks = (resnet8(), cifar_resnet(2), torchvision_network("resnet34"))
        assert [count_blocks(network) for network in networks] == [3, 6, 16]

    def test_blocks_are_called_by_stage_and_number(self):
        spec = cifar_resnet(2)
        found = backbone_of(
            {"path": spec.path, "config": {**dict(spec.settings), "channels": 3, "classes": 2}},
            (3, 16, 16),
        )
        assert found.labels == tuple(f"{s}.{b}" for s in (1, 2, 3) for b in (1, 2))
        assert found.stages() == ["stage1"] * 2 + ["stage2"] * 2 + ["stage3"] * 2
        assert [n[1] for n in found.nodes] == [16, 16, 16, 8, 8, 4, 4]
