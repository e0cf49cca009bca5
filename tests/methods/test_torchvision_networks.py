"""torchvision's networks with our split points: the same functions, cut where nothing bypasses,
started from weights the user has.
"""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from methods.networks import torchvision_network
from methods.networks.torchvision import NAMES
from orchestrator import (
    DataError,
    InputError,
    Network,
    NetworkSpec,
    Run,
    Trial,
    digits,
    network_spec,
    resolve,
)
from orchestrator.spec.classes import class_at

ASKED = ("resnet18", "resnet50", "vgg16", "mobilenet_v2", "densenet121")


def build(spec: NetworkSpec, *, channels=3, classes=7):
    torch.manual_seed(0)
    return class_at(spec.path, Network)(
        **dict(spec.settings), channels=channels, classes=classes
    ).eval()


def original(name, classes=7):
    from torchvision import models

    torch.manual_seed(0)
    return getattr(models, name)(weights=None, num_classes=classes).eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ASKED)
def test_it_computes_what_torchvisions_own_computes(name):
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = build(torchvision_network(name))(x), original(name)(x)
    if name.startswith("vgg"):  # whose pooling is ours, and adds up in another order
        assert torch.allclose(ours, theirs, atol=1e-6)
    else:
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_the_split_points_of_the_plan_are_those_of_the_network(name):
    spec = torchvision_network(name)
    with torch.device("meta"):
        net = class_at(spec.path, Network)(**dict(spec.settings), channels=3, classes=3)
    assert net.splits == spec.splits


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("resnet18", "stage2.block1"),
        ("vgg16", "stage3"),
        ("mobilenet_v2", "stage9"),
        ("densenet121", "stage2"),
    ],
)
def test_extractor_and_head_compose_to_the_network(name, split):
    net, x = build(torchvision_network(name)), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net.head(split)(net.extractor(split)(x)), net(x))


def test_grey_images_get_a_first_layer_of_one_channel():
    assert build(torchvision_network("resnet18"), channels=1)(torch.randn(1, 1, 32, 32)).shape == (
        1,
        7,
    )


def trained(folder, monkeypatch, name="resnet18", classes=1000):
    """Weights as torchvision publishes them: a state dict in a file named by its hash."""
    monkeypatch.setenv("SPOLIA_DATA", str(folder))
    (folder / "weights").mkdir()
    torch.manual_seed(7)
    from torchvision import models

    model = getattr(models, name)(weights=None, num_classes=classes)
    torch.save(model.state_dict(), folder / "w.pth")
    digest = hashlib.sha256((folder / "w.pth").read_bytes()).hexdigest()
    file = f"{name}-{digest[:8]}.pth"
    (folder / "w.pth").rename(folder / "weights" / file)
    return file, model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_a_network_starts_from_the_users_weights_all_but_the_classifier(
    store, tmp_path, monkeypatch, name
):
    from sample_methods import Faulty

    file, model = trained(tmp_path, monkeypatch, name)
    spec = torchvision_network(name, weights=file)
    assert spec.identity() != torchvision_network(name).identity()
    trial = resolve(
        Trial(method=Faulty(), network=spec, tasks=(digits.rgb().classes(0, 1, 2),), seed=0), store
    )
    net = Run(trial, {}).network("n")
    assert torch.equal(next(net.parameters()), next(model.parameters()))
    theirs = {
        k: v for k, v in model.state_dict().items() if not k.startswith(("fc.", "classifier."))
    }
    mine = {k: v for k, v in net.state_dict().items() if not k.startswith("classifier.")}
    assert sum(v.double().sum() for v in mine.values()) == pytest.approx(
        float(sum(v.double().sum() for v in theirs.values()))
    )
    assert net.last_layer.out_features == 3
    grey = resolve(trial.replace(tasks=(digits.classes(0, 1, 2),)), store)
    with pytest.raises(
        DataError, match=r"was trained on three channels and the task has 1; use task.rgb\(\)"
    ):
        Run(grey, {}).network("n")


def test_weights_that_are_not_there_or_damaged_are_named(tmp_path, monkeypatch):
    file, _ = trained(tmp_path, monkeypatch)
    path = tmp_path / "weights" / file
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match="is damaged or another file"):
        build(torchvision_network("resnet18", weights=file)).pretrained()
    path.unlink()
    with pytest.raises(DataError, match="weights are never downloaded, put the file there"):
        build(torchvision_network("resnet18", weights=file)).pretrained()


def test_names_that_are_not_known_are_explained():
    with pytest.raises(
        InputError,
        match=r"no torchvision network 'resnet19' is known here. Did you mean 'resnet18'\?",
    ):
        torchvision_network("resnet19")
    with pytest.raises(InputError, match=r"must be called NAME-HASH.pth"):
        torchvision_network("resnet18", weights="mine.pth")


class Own(Network):
    """A user's own network."""

    def __init__(self, *, width: int = 4, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.set_stages(
            {
                "front": nn.Conv2d(channels, width, 3),
                "pool": pool,
                "classifier": nn.Linear(width, classes),
            }
        )


def test_a_users_own_network_names_its_split_points_in_its_definition():
    spec = network_spec(Own, width=6)
    assert (spec.splits, spec.settings) == (("front", "pool"), (("width", 6),))
    assert spec.identity()["settings"] == {"width": 6}
    assert network_spec(Own).identity()["settings"] == {}
    with pytest.raises(InputError, match=r"Own has no setting 'widht'. Did you mean 'width'\?"):
        network_spec(Own, widht=3)


def test_trained_weights_of_another_network_are_refused():
    with pytest.raises(InputError, match="are of another network"):
        Own().take({"nothing.weight": torch.zeros(1)})
