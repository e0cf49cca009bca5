"""Networks that cannot be used are told while planning, on one image."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from torch import nn

from methods.networks import projected, resnet8, resnet20, small_fcn, small_mobilenet, small_vgg
from orchestrator import (
    InputError,
    Method,
    Network,
    PlanError,
    Sweep,
    axis,
    digits,
    make_plan,
    product,
)
from orchestrator.parts.network import network_spec
from orchestrator.parts.network_checks import problems_of_network
from orchestrator.spec.trial import NetworkSpec

GREY = (1, 8, 8)


class Plain(Network):
    """Three stages, as it should be."""

    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.set_stages(
            {
                "stem": nn.Conv2d(channels, 4, 3, padding=1),
                "pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                "classifier": nn.Linear(4, classes),
            }
        )


class Bypassing(Plain):
    def forward(self, x):
        features = self.stem(x)
        return self.classifier(self.pool(features) + x.mean())


class BypassingBehindAZero(Plain):
    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        super().__init__(channels=channels, classes=classes)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return super().forward(x) + self.gate * x.mean()


class BypassingBehindABuffer(Plain):
    """As a warm-up does, that grows with the steps of a training."""

    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        super().__init__(channels=channels, classes=classes)
        self.register_buffer("share", torch.zeros(1))

    def forward(self, x):
        return super().forward(x) + self.share * x.mean()


class Leaving(nn.Module):
    """Leaves what it makes in a place that another stage knows."""

    def __init__(self, conv, place):
        super().__init__()
        self.conv, self.place = conv, place

    def forward(self, x):
        self.place["skip"] = self.conv(x)
        return self.place["skip"]


class Taking(nn.Module):
    def __init__(self, place, take):
        super().__init__()
        self.place, self.take = place, take

    def forward(self, x):
        return x.mean((2, 3)) + self.take(self.place, "skip").amax((2, 3))


class KeptForLater(Network):
    """A skip connection as a U-Net is often written: no forward shows it, and extractor and head of
    one network compose.
    """

    take = staticmethod(dict.__getitem__)

    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        place: dict = {}
        middle = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout())
        stem = Leaving(nn.Conv2d(channels, 4, 3, padding=1), place)
        stages = {"stem": stem, "middle": middle, "pool": Taking(place, self.take)}
        self.set_stages({**stages, "classifier": nn.Linear(4, classes)})


class KeptOnce(KeptForLater):
    take = staticmethod(dict.pop)


class TakenByAHook(Plain):
    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        super().__init__(channels=channels, classes=classes)
        seen = []
        self.stem.register_forward_hook(lambda module, inputs, made: seen.append(made))
        self.pool.register_forward_pre_hook(lambda module, inputs: (inputs[0] + seen[-1].mean(),))


class Joining(Plain):
    """The classifier takes features of two places: its input is wider than the pool's output."""

    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.set_stages(
            {
                "stem": nn.Conv2d(channels, 4, 3, padding=1),
                "pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                "classifier": nn.Linear(8, classes),
            }
        )

    def forward(self, x):
        features = self.pool(self.stem(x))
        return self.classifier(torch.cat([features, features], 1))


class BypassingInTraining(Plain):
    def forward(self, x):
        return super().forward(x) + (x.mean() if self.training else 0)


class BypassingWithGradients(Plain):
    def forward(self, x):
        return super().forward(x) + (x.mean() if torch.is_grad_enabled() else 0)


class Training(Network):
    """Everything that does other things in training, all of it inside the stages."""

    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Dropout2d(0.5))
        pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(0.5)]
        self.set_stages(
            {"stem": stem, "pool": nn.Sequential(*pool), "classifier": nn.Linear(4, classes)}
        )


class WithTwoInputs(Plain):
    """The second stage is given two things; alone, as a head, it gets one."""

    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        super().__init__(channels=channels, classes=classes)
        self.pool = TwoInputs()

    def forward(self, x):
        features = self.stem(x)
        return self.classifier(self.pool(features, features))


class TwoInputs(nn.Module):
    def forward(self, x, skip):
        return (x + skip).mean((2, 3))


class TwoOutputs(Plain):
    def forward(self, x):
        logits = super().forward(x)
        return (logits, logits) if self.training else logits


class FailingInTraining(Plain):
    def forward(self, x):
        if self.training:
            raise ZeroDivisionError("no batch")
        return super().forward(x)


class NoStages(Network):
    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.layer = nn.Linear(channels, classes)


class NotLinear(Network):
    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        stem = nn.Conv2d(channels, 4, 3)
        end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
        self.set_stages({"stem": stem, "end": end})


class Broken(Plain):
    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        raise ZeroDivisionError("too few")


def spec_of(cls, **changes):
    given = {"name": cls.__name__, "path": f"{cls.__module__}:{cls.__name__}", "splits": ("stem",)}
    return NetworkSpec(**{**given, **changes})


@pytest.mark.parametrize(
    "network",
    [
        resnet8(width=4),
        resnet20(width=4),
        small_vgg(width=4),
        small_fcn(width=4),
        small_mobilenet(width=4),
        projected(resnet8(width=4), behind="stage2"),
        spec_of(Plain),
        spec_of(Training),
    ],
    ids=lambda network: network.name,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_that_applies_its_stages_has_no_problem(network, channels):
    assert problems_of_network(network, (channels, 8, 8)) == ()


@pytest.mark.parametrize(
    "cls", [Bypassing, BypassingBehindAZero, BypassingBehindABuffer, Joining, WithTwoInputs]
)
def test_a_network_that_bypasses_a_split_point_is_told(cls):
    (problem,) = problems_of_network(spec_of(cls), GREY)
    assert f":{cls.__name__}: extractor and head do not compose to the network" in problem


@pytest.mark.parametrize("cls", [BypassingInTraining, BypassingWithGradients])
def test_so_is_one_that_bypasses_it_in_training_only(cls):
    (problem,) = problems_of_network(spec_of(cls), GREY)
    assert f":{cls.__name__}: extractor and head do not compose to the network in tr" in problem


@pytest.mark.parametrize("cls", [KeptForLater, KeptOnce, TakenByAHook])
def test_so_is_one_whose_stages_leave_something_for_each_other(cls):
    (problem,) = problems_of_network(spec_of(cls), GREY)
    assert f":{cls.__name__}: the stage 'pool' makes other things of the same features" in problem


class OfNetworks(Method):
    """Has networks among its settings, and one of its own or none."""

    name = "of_networks"
    uses = frozenset({"network", "tasks", "seed"})

    other: NetworkSpec | None = axis(None)
    several: tuple[NetworkSpec, ...] = axis(())
    inner: Method | None = axis(None)

    def train(self, run):
        raise AssertionError


@pytest.mark.parametrize("cls", [Bypassing, BypassingInTraining, NoStages, NotLinear, Broken])
@pytest.mark.parametrize("where", ["other", "several", "inner"])
def test_networks_among_the_settings_are_tried_as_the_trials_own(store, cls, where):
    bad = spec_of(cls)
    value = {"other": bad, "several": (resnet8(width=4), bad), "inner": OfNetworks(other=bad)}
    settings = {where: value[where]}
    cells = product(OfNetworks.grid(**settings), network=spec_of(Plain), tasks=digits, seed=0)
    (problem,) = problems_of_network(bad, GREY)
    with pytest.raises(PlanError, match=re.escape(problem)):
        make_plan("asked", Sweep(question="?", cells=cells, expect=1), store)


def test_networks_are_tried_on_images_of_every_task(store):
    class Small(Plain):
        def forward(self, x):
            assert x.shape[2] == 8, f"no images of {x.shape[2]} pixels"
            return super().forward(x)

    globals()["Small"] = Small
    Small.__qualname__ = "Small"
    tasks = (digits.named("small"), digits.resized(16).named("large"))
    cells = product(OfNetworks.grid(), network=spec_of(Small), tasks=tasks, seed=0)
    with pytest.raises(PlanError, match=r"fails on images of 1x16x16: .*no images of 16 pixels"):
        make_plan("asked", Sweep(question="?", cells=cells, expect=1), store)


def test_a_network_with_a_forward_of_its_own_is_not_projected(store):
    """The projection would be made of its stages and leave out what else its forward does."""
    network = projected(spec_of(Bypassing), behind="stem")
    (problem,) = problems_of_network(network, GREY)
    assert "Bypassing has a forward of its own" in problem


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (spec_of(NoStages), "NoStages has no stages: call self.set_stages"),
        (
            spec_of(NotLinear),
            "NotLinear: the last stage, 'end', is Sequential and must be one",
        ),
        (spec_of(Broken), "Broken cannot be built: ZeroDivisionError: too few"),
        (
            spec_of(Plain, splits=("middle",)),
            "no split point 'middle'; it can be cut at stem",
        ),
        (spec_of(TwoOutputs), r"TwoOutputs gives tuple in training where logits \[B, classes\]"),
        (spec_of(FailingInTraining), r"fails on images of 1x8x8 in training: ZeroDiv.*no batch"),
        (spec_of(Plain, settings=(("width", 3),)), "cannot be built: TypeError.*'width'"),
        (
            dataclasses.replace(resnet8(), settings=(("blocks", 1), ("width", "two"))),
            r"ResNet cannot be built: width: expected int, got 'two' \(str\)$",
        ),
        (spec_of(Plain, path="methods.nowhere:Net"), "methods.nowhere:Net cannot be imported"),
        (spec_of(Plain, path="methods.fine_tune:FineTune"), "is not a Network; it is not called"),
    ],
)
def test_what_a_network_lacks_is_told(spec, message):
    (problem,) = problems_of_network(spec, GREY)
    assert re.search(message, problem)


def test_trying_a_network_moves_nobodys_random_numbers():
    before = torch.random.get_rng_state()
    problems_of_network(spec_of(Plain, revision=7, name="other"), (1, 9, 9))
    assert torch.equal(before, torch.random.get_rng_state())


def test_planning_tells_it(store):
    from methods.fine_tune import FineTune

    cells = product(FineTune.grid(), network=spec_of(Bypassing), tasks=digits, seed=range(2))
    with pytest.raises(PlanError, match=r"do not compose to the network.*\(2 of 2 cells\)"):
        make_plan("asked", Sweep(question="?", cells=cells, expect=2), store)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (NoStages, "NoStages has no stages"),
        (NotLinear, "the last stage, 'end', is Sequential"),
        (nn.Linear, "is no subclass of orchestrator.Network"),
    ],
)
def test_network_spec_refuses_what_cannot_be_cut(cls, message):
    with pytest.raises(InputError, match=message):
        network_spec(cls)


def test_network_spec_refuses_former_paths_that_are_none(monkeypatch):
    monkeypatch.setattr(Plain, "moved_from", "old:Plain", raising=False)
    with pytest.raises(InputError, match=r"Plain.moved_from = 'old:Plain' is not a tuple of paths"):
        network_spec(Plain)


def test_checks_begin_the_random_numbers_of_no_other_device(monkeypatch):
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("of every device"))
    before = torch.get_rng_state()
    assert problems_of_network(resnet8(width=5), GREY) == ()
    assert torch.equal(torch.get_rng_state(), before)
