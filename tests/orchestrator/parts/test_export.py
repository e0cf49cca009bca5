"""A component for use elsewhere: torch opens it without our code, and what cannot be had is
said.
"""

from __future__ import annotations

import pytest
import torch

from methods.compatible_features import CompatibleFeatures
from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Result, Store, Trial, digits, resolve
from orchestrator.training.execute import execute

TASKS = tuple(
    digits.classes(0, 1, last).images(limit=60).named(name) for last, name in ((2, "a"), (3, "b"))
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One for all tests: what one has trained, the next finds."""
    made = Store(tmp_path_factory.mktemp("export") / "store")
    made.prepare()
    return made


@pytest.fixture
def kept(store):
    """Runs a method; the result."""

    def run(method, tasks=TASKS[:1]):
        trial = resolve(Trial(method=method, network=resnet8(width=4), tasks=tasks, seed=0), store)
        assert execute(trial, store).is_result
        return Result(store, store.find(trial.key))

    return run


def test_a_network_comes_out_as_it_is(kept, store, spolia, tmp_path):
    result = kept(FineTune(epochs=1))
    code, out, err = spolia("export", result.key[:12], "--to", "net.pt2", "--store", store.address)
    assert code == 0, err
    assert "network-a of" in out
    for count in (1, 5):  # batches of any size
        x = torch.randn(count, 1, 8, 8)
        torch.testing.assert_close(
            torch.export.load(tmp_path / "net.pt2").module()(x),
            result.module("network", task="a")(x),
        )


def test_one_of_several_is_asked_for_by_its_title(kept, store, spolia, tmp_path):
    result = kept(CompatibleFeatures(epochs=1, ingredients=("common",)), TASKS)
    code, _, err = spolia("export", result.key, "--to", "net.pt2", "--store", store.address)
    assert (
        code,
        "kept several; say which with --component: network-a, network-b, auxiliary-common" in err,
    ) == (2, True)
    assert (
        spolia(
            "export",
            result.key,
            "--to",
            "net.pt2",
            "--component",
            "network-b",
            "--store",
            store.address,
        )[0]
        == 0
    )
    x = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(
        torch.export.load(tmp_path / "net.pt2").module()(x), result.module("network", task="b")(x)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--component", "netwrk-a"], "has no component 'netwrk-a'. Did you mean 'network-a'?"),
        (["--component", "auxiliary"], "is not a network that takes images (1, 8, 8)"),
        (
            ["--component", "network-a", "--to", "nowhere/net.pt2"],
            "nowhere/net.pt2 cannot be written: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_exported_is_said(kept, store, spolia, tmp_path, arguments, message):
    result = kept(CompatibleFeatures(epochs=1, ingredients=("common",)), TASKS)
    code, _, err = spolia(
        "export", result.key, "--to", "net.pt2", *arguments, "--store", store.address
    )
    assert (code, message in " ".join(err.split())) == (2, True), err
    assert list(tmp_path.glob("*.pt2*")) == []


def test_a_trial_without_a_result_has_nothing_to_export(store, spolia):
    code, _, err = spolia("export", "0" * 64, "--to", "net.pt2", "--store", store.address)
    assert (code, "error" in err) == (2, True)


def test_a_part_that_needs_another_says_so_where_it_cannot_be_joined():
    from orchestrator import MethodError, Part

    with pytest.raises(
        MethodError, match="Part does not say how it is joined with Part: define joined"
    ):
        Part().joined(Part())


def test_a_part_whose_forward_takes_its_base_says_nothing_about_joining():
    from orchestrator import Part

    class Doubled(Part):
        def forward(self, x, base):
            return 2 * base(x)

    base = torch.nn.Flatten()
    images = torch.ones(2, 1, 2, 2)
    assert torch.equal(Doubled().joined(base)(images), 2 * base(images))
