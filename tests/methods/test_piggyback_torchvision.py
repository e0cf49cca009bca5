"""Masks over torchvision's networks at 224 pixels, as the paper has them, and over weights that the
user brings.
"""

from __future__ import annotations

import hashlib

import pytest
import torch

from methods.fine_tune import FineTune
from methods.networks import torchvision_network
from methods.pieces.building import recipe_of
from methods.pieces.maskable_weights import maskable_weights
from methods.piggyback import Piggyback
from methods.piggyback.piggyback import Masks
from orchestrator import Network, Result, Trial, digits, resolve
from orchestrator.spec.classes import class_at
from orchestrator.training.execute import execute, run_with_needs

PAPER = [
    ("vgg16", 134_248_128, 16.78),
    ("resnet50", 23_454_912, 2.93),
    ("densenet121", 6_870_208, 0.86),
]
# Half a gigabyte of weights, and as much of scores: in `make test` the others show it.
LARGE = pytest.param("vgg16", marks=pytest.mark.long)


def drawn(name):
    """The network, for 4 classes of colour images."""
    spec = torchvision_network(name)
    return class_at(spec.path, Network)(**dict(spec.settings), channels=3, classes=4)


def sizes_of(base):
    """How many weights each masked tensor has; the last layer, which each task has anew, is none
    of them.
    """
    masked = maskable_weights(base)
    assert not any(name in f"{base.stage_names[-1]}.weight" for name in masked)
    return [base.get_parameter(name).numel() for name in masked]


def num_bytes(sizes):
    """What masks take at one bit a weight, each tensor rounded up to a byte."""
    return sum(-(-size // 8) for size in sizes)


@pytest.mark.parametrize(("name", "weights", "megabytes"), PAPER)
def test_the_sizes_of_masks_are_the_papers(name, weights, megabytes):
    with torch.device("meta"):  # shapes without memory
        sizes = sizes_of(drawn(name))
    assert sum(sizes) == weights
    assert num_bytes(sizes) / 1e6 == pytest.approx(megabytes, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "densenet121", LARGE])
def test_masks_at_224_pixels(name):
    """With all weights kept the network is the base; with any mask the packed one computes what the
    scores do, and takes a bit a weight.
    """
    torch.manual_seed(0)
    base = drawn(name).eval().requires_grad_(False)
    masks = Masks(network=recipe_of(base), classes=4, masked=maskable_weights(base)).eval()
    masks.begin(base, "constant", 1e-2)
    masks.head.load_state_dict(base.last_layer.state_dict())
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        logits_of_base = base(x)
        assert torch.equal(masks(x, base), logits_of_base)
        for score in masks.scores.values():
            score[::3] = 0.0  # every third filter is masked out
        packed = masks.pack().eval()
        logits = masks(x, base)
        assert logits.shape == (1, 4)
        assert not torch.equal(logits, logits_of_base)
        assert torch.equal(packed(x, base), logits)
    assert packed.payload == num_bytes(sizes_of(base))
    assert {b.dtype for n, b in packed.named_buffers() if n.startswith("kept-")} == {torch.uint8}


def own_weights(folder, monkeypatch, name="resnet18"):
    """Weights of our own in a file named as torchvision names its own."""
    monkeypatch.setenv("SPOLIA_DATA", str(folder))
    (folder / "weights").mkdir()
    torch.manual_seed(7)
    from torchvision import models  # takes as long as torch

    torch.save(getattr(models, name)(weights=None).state_dict(), folder / "w.pth")
    file = f"{name}-{hashlib.sha256((folder / 'w.pth').read_bytes()).hexdigest()[:8]}.pth"
    (folder / "w.pth").rename(folder / "weights" / file)
    return file


@pytest.mark.slow
def test_the_base_may_be_pretrained_weights_as_they_are(store, tmp_path, monkeypatch):
    """`FineTune(epochs=0)`: the user's file, untouched, is the need that all targets share."""
    spec = torchvision_network("resnet18", weights=own_weights(tmp_path, monkeypatch))
    images = digits.rgb().resized(32)
    base, target = (
        images.classes(0, 1).images(limit=20).named("base"),
        images.classes(2, 3, 4).images(limit=24).named("target"),
    )
    method = Piggyback(epochs=2, batch=8, lr=1e-2, base=FineTune(epochs=0))
    trial = resolve(Trial(method=method, network=spec, tasks=(base, target), seed=0), store)
    assert trial.problems() == []
    run_with_needs(trial, store)
    assert execute(trial, store).kind == "done"
    result = Result(store, store.find(trial.key))
    found = Result(store, store.find(result.record["needs"]["base"]["key"])).module(
        "network", task="base"
    )
    body = {n: v for n, v in found.pretrained().items() if not n.startswith("classifier.")}
    assert found.state_dict().keys() > body.keys()
    assert all(torch.equal(found.state_dict()[n], v) for n, v in body.items())
    assert result.metric("zeroed", task="target") > 0
    component = result.component("mask", task="target")
    assert component.ready()(torch.randn(2, 3, 32, 32)).shape == (2, 3)


def test_a_base_as_drawn_is_the_same_whatever_its_training_would_have_been(store):
    base, target = (
        digits.classes(*c).images(limit=30).named(n)
        for n, c in (("base", (0, 1)), ("target", (2, 3)))
    )
    keys = set()
    for drawn in (FineTune(epochs=0), FineTune(epochs=0, lr=0.5, batch=7)):
        trial = resolve(
            Trial(
                method=Piggyback(base=drawn),
                network=torchvision_network("resnet18"),
                tasks=(base, target),
                seed=0,
            ),
            store,
        )
        keys.add((trial.key, trial.needs["base"].key))
    assert len(keys) == 1
