"""The task of a network that was trained elsewhere, on images that are not here."""

from __future__ import annotations

import hashlib
import math

import pytest
import torch

from methods.fine_tune import FineTune
from methods.networks import torchvision_network
from methods.packnet import PackNet
from methods.piggyback import Piggyback
from orchestrator import DataError, Result, Trial, digits, resolve, unseen
from orchestrator.spec.preparation import IMAGENET
from orchestrator.training.execute import execute, run_with_needs

IMAGENET_TASK = unseen("imagenet", classes=12, size=32)
TRAINED = FineTune(epochs=0, classifier="trained")


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file as torchvision publishes them, of a network for twelve classes."""
    from torchvision.models import resnet18

    monkeypatch.setenv("SPOLIA_DATA", str(tmp_path))
    torch.manual_seed(0)
    model = resnet18(num_classes=12)
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    name = f"resnet18-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    (tmp_path / "weights").mkdir()
    path.rename(tmp_path / "weights" / name)
    return name, model


def run(method, store, tasks, network):
    trial = resolve(Trial(method=method, network=network, tasks=tasks, seed=0), store)
    assert trial.problems() == []
    run_with_needs(trial, store)
    outcome = execute(trial, store)
    assert outcome.is_result, outcome.traceback
    return Result(store, store.find(trial.key))


def test_it_has_classes_and_no_image(store):
    task = resolve(Trial(method=FineTune(epochs=0), tasks=(IMAGENET_TASK,)), store).tasks[0]
    assert task.class_names == tuple(map(str, range(12)))
    assert task.statistics == IMAGENET
    assert task.name == "imagenet"
    assert task.is_unseen
    assert not digits.is_unseen


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(DataError, match="lower-case letters"):
        unseen("Image Net", classes=10)
    with pytest.raises(DataError, match="classes=1"):
        unseen("imagenet", classes=1)


def test_nothing_is_trained_on_it(store):
    for method, message in (
        (FineTune(), "there are no images of imagenet to train on; epochs=0"),
        (PackNet(), "there are no images of imagenet"),
    ):
        network = torchvision_network("resnet18")
        trial = Trial(method=method, network=network, tasks=(IMAGENET_TASK,), seed=0)
        trial = resolve(trial, store)
        assert message in str(trial.problems())


@pytest.mark.slow
def test_a_base_without_images_keeps_its_classifier_and_carries_tasks(store, weights):
    file, model = weights
    network = torchvision_network("resnet18", weights=file)
    target = digits.rgb().resized(32).images(limit=20).validation(0).named("digits")
    masks = Piggyback(epochs=1, batch=5, lr=1e-2, base=TRAINED)
    result = run(masks, store, (IMAGENET_TASK, target), network)
    base = Result(store, store.find(result.record["needs"]["base"]["key"]))
    net = base.module("network", task="imagenet").eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(net(x), model.eval()(x))
    assert math.isnan(base.metric("accuracy", task="imagenet"))
    # Images of the target are normalised as those of the base were.
    assert result.tasks["digits"].normalised_by == IMAGENET
    assert (
        0 < result.metric("accuracy", task="digits") < result.metric("top5_accuracy", task="digits")
    )


@pytest.mark.slow
def test_a_classifier_for_other_classes_is_refused(store, weights):
    file, _ = weights
    network = torchvision_network("resnet18", weights=file)
    trial = resolve(
        Trial(
            method=TRAINED,
            network=network,
            tasks=(unseen("imagenet", classes=10, size=32),),
            seed=0,
        ),
        store,
    )
    failed = execute(trial, store)
    assert "the trained classifier is for 12 classes, the task has 10" in failed.traceback
    trial = trial.replace(network=torchvision_network("resnet18"))
    assert "starts from no trained classifier" in execute(trial, store).traceback
