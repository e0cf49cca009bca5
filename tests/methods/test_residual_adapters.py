"""Residual adapters: small convolutions of a task's own beside or behind frozen ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from methods.fine_tune import FineTune
from methods.networks import resnet8, small_vgg
from methods.networks.resnet import ResNet
from methods.pieces.building import recipe_of
from methods.residual_adapters import AdaptedNetwork, ResidualAdapters, adapted_weights
from orchestrator import Result, Trial, digits, resolve
from orchestrator.training.execute import execute, run_with_needs

BASE = digits.classes(0, 1, 2, 3, 4).images(limit=60).validation(0).named("base")
TARGET = digits.classes(5, 6, 7, 8, 9).images(limit=60).validation(0).named("a")


def a_base():
    torch.manual_seed(0)
    return ResNet(blocks=1, width=4, channels=1, classes=5).eval().requires_grad_(False)


def adapted(base, form):
    part = AdaptedNetwork(
        network=recipe_of(base), classes=3, adapted=adapted_weights(base), form=form
    )
    part.take(base)
    return part.eval()


def test_adapters_stand_beside_all_convolutions_but_those_of_kernel_one():
    base = a_base()
    names = adapted_weights(base)
    kernels = {
        n: base.get_parameter(n).shape[-1] for n, p in base.named_parameters() if p.ndim == 4
    }
    assert set(names) == {name for name, kernel in kernels.items() if kernel == 3}
    assert len(names) == 7 < len(kernels)


@pytest.mark.parametrize("form", ["parallel", "series"])
def test_at_first_the_features_are_the_bases(form):
    base, x = a_base(), torch.randn(3, 1, 8, 8)
    part = adapted(base, form)
    assert torch.equal(part(x, base), part.head(base.extractor("pool")(x)))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("form", ["parallel", "series"])
def test_an_adapter_is_a_convolution_of_its_own(form, stride):
    base = a_base()
    part, name = adapted(base, form), "stage2.0.conv1.weight"
    weight = base.get_parameter(name)
    adapter = part.adapters[name.replace(".", "-")]
    nn.init.normal_(adapter)
    x = torch.randn(2, weight.shape[1], 8, 8)
    found = F.conv2d(x, part.effective(base.state_dict())[name], None, stride, 1)
    frozen = F.conv2d(x, weight, None, stride, 1)
    kernel = adapter[:, :, None, None]
    if form == "parallel":
        expected = frozen + F.conv2d(x, kernel, None, stride)
    else:
        expected = frozen + F.conv2d(frozen, kernel)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_what_a_task_adds(store):
    method = ResidualAdapters(epochs=1, base=FineTune(epochs=1))
    trial = Trial(method=method, network=resnet8(width=4), tasks=(BASE, TARGET), seed=0)
    trial = resolve(trial, store)
    assert trial.problems() == []
    run_with_needs(trial, store)
    outcome = execute(trial, store)
    assert outcome.is_result, outcome.traceback
    result = Result(store, store.find(trial.key))
    part = result.module("part", task="a")
    added = sum(p.numel() for p in part.parameters())
    whole = sum(p.numel() for p in a_base().parameters())
    assert result.metric("task_share", task="a") == pytest.approx(added / whole)
    ready = result.component("part", task="a").ready()
    assert ready(torch.randn(2, 1, 8, 8)).shape == (2, 5)


def test_a_network_without_batch_norm_is_told_at_planning(store):
    trial = Trial(method=ResidualAdapters(), network=small_vgg(), tasks=(BASE, TARGET), seed=0)
    assert "say norm='frozen'" in str(resolve(trial, store).problems())
