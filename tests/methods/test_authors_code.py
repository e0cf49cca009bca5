"""What our masks, packed networks and tailored graphs compute, held against what the authors' own
code computed of the same weights and images; see `authors/record.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from waves import fill, put, wave

from methods.nettailor.edges import blocks_in_order, live_edges
from methods.nettailor.nettailor import TailoredGraph, distance, prune
from methods.networks import torchvision_network
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
    @pytest.mark.parametrize(
        ("theirs", "settings"),
        [
            ("binarizer 1s", {}),
            ("ternarizer 1s", {"kind": "ternary"}),
            ("binarizer weight_based_1s", {"start": "weights"}),
        ],
    )
    def test_forty_steps_of_masks(self, theirs, settings):
        """Both optimisers, the forward pass and the gradient that passes the threshold."""
        method = Piggyback(lr=1e-3, head_lr=1e-3, **settings)
        base = a_vgg().eval().requires_grad_(False)
        masks = Masks(
            network=recipe_of(base),
            classes=CLASSES,
            masked=maskable_weights(base),
            kind=method.kind,
        )
        masks.begin(base, method.start, method.size)
        fill(masks.head, "head.")
        parameters = Parameters({f"masks.{n}": p for n, p in masks.named_parameters()})
        optimizers, losses = method.optimizers(parameters), []
        for step in range(40):
            masks.zero_grad()
            loss = F.cross_entropy(masks(images(f"step {step}"), base), labels(step))
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append(float(loss.detach()))
        expected = RECORDED["piggyback"][theirs]
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


@pytest.mark.slow
class TestNetTailor:
    """ResNet-18 with proxies that bridge up to three blocks, costs as at 224 pixels."""

    def networks(self):
        spec = torchvision_network("resnet18")
        universal = class_at(spec.path, Network)(**dict(spec.settings), channels=3, classes=CLASSES)
        fill(universal).eval().requires_grad_(False)
        graph = TailoredGraph.over(universal, (3, 224, 224), CLASSES, statistics="task")
        fill(graph.head, "head.")
        for edge, proxy in graph.proxies.items():
            for layer in proxy:
                kind = "bn" if isinstance(layer, torch.nn.BatchNorm2d) else "conv"
                fill(layer, f"proxies.{edge}.{kind}.")
        with torch.no_grad():
            for node in range(1, 9):
                places = [i for i, edge in enumerate(graph.edges) if edge.target == node]
                graph.scores[places] = wave(f"scores into {node}", (len(places),))
        return universal, graph

    def test_two_steps_with_teacher_and_complexity(self):
        from methods.nettailor.cost import complexities

        expected, (universal, graph) = RECORDED["nettailor"], self.networks()
        x, y = wave("images", (4, 3, 64, 64)), torch.arange(4)
        logits = graph.eval()(x, universal).detach().flatten().tolist()
        assert logits == pytest.approx(expected["eval"], **CLOSE)

        graph.train()
        complexity = complexities(graph, "flops", "paper")
        optimizer = torch.optim.SGD(graph.parameters(), lr=0.01, momentum=0.9)
        for step in (1, 2):
            found = graph.passed(x, universal, local=True)
            nodes = {n: wave(f"teacher {n}", end.shape) for n, end in found.local.items()}
            teacher = nodes, wave("teacher logits", found.logits.shape)
            omega = distance(found.local, found.logits, teacher, 8, "none")
            cost = graph.routes.expected_complexity(graph.attention(), complexity, "disjoint_code")
            optimizer.zero_grad()
            (F.cross_entropy(found.logits, y) + 0.3 * cost + 10.0 * omega).backward()
            told = expected[f"step {step}"]
            logits = found.logits.detach().flatten().tolist()
            assert logits == pytest.approx(told["logits"], rel=1e-3, abs=1e-3)
            assert float(omega.detach()) == pytest.approx(told["omega"], rel=1e-4)
            assert float(cost.detach()) == pytest.approx(told["complexity"], rel=1e-5)
            assert graph.scores.grad.tolist() == pytest.approx(told["scores"], rel=1e-2, abs=1e-4)
            for edge, proxy in graph.proxies.items():
                conv = next(layer for layer in proxy if isinstance(layer, torch.nn.Conv2d))
                norm = told["proxies"][f"proxies.{edge}.conv.weight"]
                assert float(conv.weight.grad.norm()) == pytest.approx(norm, rel=1e-2, abs=1e-6)
            if step == 1:
                own = graph.own_statistics["0"].by_name()
                stem = [float(own[f"0.1.{name}"].sum()) for name in ("running_mean", "running_var")]
                assert stem == pytest.approx(expected["stem"], rel=1e-4)
            optimizer.step()
        self.check_choice(graph, expected["pruned"])

    def check_choice(self, graph, kept):
        """What is taken out: three blocks of least attention, and proxies up to 0.2."""
        attention = dict(zip(graph.edges, graph.attention().tolist(), strict=True))
        removed = set(blocks_in_order(attention, "attention", seed=0)[:3])
        edges = [[edge for edge in graph.edges if edge.target == node] for node in range(1, 9)]
        theirs = {
            edge
            for into, flags in zip(edges, kept, strict=True)
            for edge, is_kept in zip(into, flags, strict=True)
            if is_kept
        }
        assert theirs < set(graph.edges)
        left = prune(attention, removed, 0.2, "none", num_blocks=8)
        # Their flags still have edges that lead nowhere.
        assert left.edges == tuple(edge.name for edge in sorted(live_edges(theirs, 8)))
