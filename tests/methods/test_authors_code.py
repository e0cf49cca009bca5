"""What our masks, packed networks and tailored graphs compute, held against what the authors' own
code computed of the same weights and images; see `authors/record.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hidden import Hidden
from torch import nn
from torch.nn import functional as F
from waves import fill, put, wave

from methods.nettailor.edges import blocks_in_order, live_edges
from methods.nettailor.nettailor import TailoredGraph, distance, prune
from methods.networks import torchvision_network
from methods.networks.resnet import ResNet
from methods.networks.vgg import SmallVGG
from methods.packnet import PackedNetwork
from methods.pieces.building import recipe_of
from methods.pieces.maskable_weights import maskable_weights
from methods.piggyback import Piggyback
from methods.piggyback.piggyback import Masks
from orchestrator import Network, Parameters
from orchestrator.spec.classes import class_at

RECORDED = json.loads((Path(__file__).parent / "authors/recorded.json").read_text())
CLASSES, BATCH = 5, 8
NORM_TENSORS = "weight", "bias", "running_mean", "running_var"
CLOSE = {"rel": 1e-4, "abs": 2e-5}  # other machines add in another order


def images(name):
    return wave(name, (BATCH, 1, 8, 8))


def labels(step):
    return (torch.arange(BATCH) + step) % CLASSES


def a_vgg():
    net = SmallVGG(width=4, channels=1, classes=CLASSES)
    for name, value in net.state_dict().items():
        with torch.no_grad():
            put(value, name)
    return net


class TestPiggyback:
    """Forty steps of both optimisers: the forward pass, and the gradient past the threshold."""

    def trained(self, method, base, expected):
        """The masks after forty steps, held against what theirs were."""
        base.eval().requires_grad_(False)
        masks = Masks(
            network=recipe_of(base),
            classes=CLASSES,
            masked=maskable_weights(base),
            kind=method.kind,
            norm=method.norm,
        )
        masks.begin(base, method.start, method.size)
        fill(masks.head, "head.")
        parameters = Parameters({f"masks.{n}": p for n, p in masks.named_parameters()})
        optimizers, losses = method.optimizers(parameters), []
        for step in range(40):
            masks.train().zero_grad()
            loss = F.cross_entropy(masks(images(f"step {step}"), base), labels(step))
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[::8] == pytest.approx(expected["losses"], **CLOSE)
        zeroed = [int((mask == 0).sum()) for mask in masks.masks().values()]
        if method.start == "constant":  # the mean |W| is far above tau, so there none crosses it
            assert sum(zeroed) > 10
        # A score that ends next to the threshold may fall on either side of it.
        assert zeroed == pytest.approx(expected["zeroed"], abs=1)
        sums = [float(masks.score(name).detach().double().sum()) for name in masks.masked]
        assert sums == pytest.approx(expected["scores"], rel=1e-3, abs=1e-3)
        logits = masks.eval()(images("test"), base).flatten().tolist()
        assert logits == pytest.approx(expected["logits"], rel=1e-3, abs=1e-3)
        return masks

    @pytest.mark.parametrize(
        ("theirs", "settings"),
        [
            ("binarizer 1s", {}),
            ("ternarizer 1s", {"kind": "ternary"}),
            ("binarizer weight_based_1s", {"start": "weights"}),
        ],
    )
    def test_convolutions(self, theirs, settings):
        method = Piggyback(lr=1e-3, head_lr=1e-3, **settings)
        self.trained(method, a_vgg(), RECORDED["piggyback"][theirs])

    def test_a_linear_layer(self):
        method = Piggyback(lr=1e-3, head_lr=1e-3)
        self.trained(method, fill(Hidden(classes=CLASSES)), RECORDED["piggyback"]["linear layer"])

    @pytest.mark.parametrize(
        ("theirs", "norm"), [("batch norm frozen", "frozen"), ("batch norm trained", "full")]
    )
    def test_batch_norm(self, theirs, norm):
        """Frozen as they freeze it (their --train_bn off), and a task's own."""
        base = fill(ResNet(width=4, channels=1, classes=CLASSES))
        expected = RECORDED["piggyback"][theirs]
        masks = self.trained(Piggyback(lr=1e-3, head_lr=1e-3, norm=norm), base, expected)
        state = {**base.state_dict(), **masks.effective(base.state_dict())}
        layers = [name for name, m in base.named_modules() if isinstance(m, nn.BatchNorm2d)]
        sums = [
            [float(state[f"{layer}.{name}"].detach().double().sum()) for name in NORM_TENSORS]
            for layer in layers
        ]
        for found, told in zip(sums, expected["norms"], strict=True):
            assert found == pytest.approx(told, **CLOSE)


class TestPackNet:
    def trained(self, packed, stage):
        trained = [p for p in packed.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=0.05, momentum=0.9)
        for step in range(5):
            packed.zero_grad()
            F.cross_entropy(packed(images(f"{stage} {step}")), labels(step)).backward()
            optimizer.step()

    def told(self, packed, task):
        return packed(images("test"), task).flatten().tolist()

    def test_two_tasks_in_one_network(self):
        expected, net = RECORDED["packnet"], a_vgg()
        packed = PackedNetwork(network=recipe_of(net), classes=[CLASSES])
        packed.body.load_state_dict(net.state_dict())
        fill(packed.heads[0], "heads.0.")
        packed.freeze_earlier()
        packed.claim(0.5)
        assert self.told(packed, 1) == pytest.approx(expected["first, pruned"], **CLOSE)
        self.trained(packed, "retrain first")
        assert self.told(packed, 1) == pytest.approx(expected["first"], **CLOSE)

        packed = packed.with_task(CLASSES)
        fill(packed.heads[1], "heads.1.")
        self.trained(packed, "second")
        assert self.told(packed, 2) == pytest.approx(expected["second, all free weights"], **CLOSE)
        packed.claim(0.25)
        self.trained(packed, "retrain second")
        assert self.told(packed, 2) == pytest.approx(expected["second"], **CLOSE)
        assert self.told(packed, 1) == pytest.approx(expected["first, at the end"], **CLOSE)
        owned = [
            [int((packed.owner(name) == owner).sum()) for owner in (0, 1, 2)]
            for name in packed.packed
        ]
        assert owned == expected["owned"]


def layers_of_proxy(graph, edge):
    """The layers of a proxy that have weights, by the authors' names."""
    layers = [
        layer for layer in graph.proxies[edge] if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d))
    ]
    names = ["conv", "bn"] if len(layers) == 2 else ["conv1", "bn1", "conv2", "bn2"]
    return zip(names, layers, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
class TestNetTailor:
    """Proxies that bridge up to three blocks (of ResNet-50 narrow ones), costs as at 224 pixels."""

    def networks(self, name):
        spec = torchvision_network(name)
        universal = class_at(spec.path, Network)(**dict(spec.settings), channels=3, classes=CLASSES)
        fill(universal).eval().requires_grad_(False)
        graph = TailoredGraph.over(universal, (3, 224, 224), CLASSES, statistics="task")
        fill(graph.head, "head.")
        for edge in graph.proxies:
            for their_name, layer in layers_of_proxy(graph, edge):
                fill(layer, f"proxies.{edge}.{their_name}.")
        with torch.no_grad():
            for node in range(1, graph.backbone.num_blocks + 1):
                places = [i for i, edge in enumerate(graph.edges) if edge.target == node]
                graph.scores[places] = wave(f"scores into {node}", (len(places),))
        return universal, graph

    def test_two_steps_with_teacher_and_complexity(self, name):
        from methods.nettailor.cost import complexities

        expected, (universal, graph) = RECORDED["nettailor"][name], self.networks(name)
        x, y = wave("images", (4, 3, 64, 64)), torch.arange(4)
        logits = graph.eval()(x, universal).detach().flatten().tolist()
        assert logits == pytest.approx(expected["eval"], **CLOSE)

        graph.train()
        complexity = complexities(graph, "flops", "paper")
        num_blocks = graph.backbone.num_blocks
        optimizer = torch.optim.SGD(graph.parameters(), lr=0.01, momentum=0.9)
        for step in (1, 2):
            outputs = graph.passed(x, universal, local=True)
            nodes = {n: wave(f"teacher {n}", end.shape) for n, end in outputs.local.items()}
            teacher = nodes, wave("teacher logits", outputs.logits.shape)
            omega = distance(outputs.local, outputs.logits, teacher, num_blocks, "none")
            cost = graph.routes.expected_complexity(graph.attention(), complexity, "disjoint_code")
            optimizer.zero_grad()
            (F.cross_entropy(outputs.logits, y) + 0.3 * cost + 10.0 * omega).backward()
            told = expected[f"step {step}"]
            logits = outputs.logits.detach().flatten().tolist()
            assert logits == pytest.approx(told["logits"], rel=1e-3, abs=1e-3)
            assert float(omega.detach()) == pytest.approx(told["omega"], rel=1e-4)
            assert float(cost.detach()) == pytest.approx(told["complexity"], rel=1e-5)
            assert graph.scores.grad.tolist() == pytest.approx(told["scores"], rel=1e-2, abs=1e-4)
            for edge in graph.proxies:
                for their_name, layer in layers_of_proxy(graph, edge):
                    if isinstance(layer, nn.Conv2d):
                        norm = told["proxies"][f"proxies.{edge}.{their_name}.weight"]
                        found = float(layer.weight.grad.norm())
                        assert found == pytest.approx(norm, rel=1e-2, abs=1e-6)
            if step == 1:
                own = graph.own_statistics["0"].by_name()
                stem = [float(own[f"0.1.{name}"].sum()) for name in ("running_mean", "running_var")]
                assert stem == pytest.approx(expected["stem"], rel=1e-4)
            optimizer.step()
        self.check_choice(graph, expected["pruned"], num_blocks)

    def check_choice(self, graph, kept, num_blocks):
        """What is taken out: three blocks of least attention, and proxies up to 0.2."""
        attention = dict(zip(graph.edges, graph.attention().tolist(), strict=True))
        removed = set(blocks_in_order(attention, "attention", seed=0)[:3])
        edges = [
            [edge for edge in graph.edges if edge.target == node]
            for node in range(1, num_blocks + 1)
        ]
        theirs = {
            edge
            for into, flags in zip(edges, kept, strict=True)
            for edge, is_kept in zip(into, flags, strict=True)
            if is_kept
        }
        assert theirs < set(graph.edges)
        left = prune(attention, removed, 0.2, "none", num_blocks=num_blocks)
        # Their flags still have edges that lead nowhere.
        assert left.edges == tuple(edge.name for edge in sorted(live_edges(theirs, num_blocks)))
