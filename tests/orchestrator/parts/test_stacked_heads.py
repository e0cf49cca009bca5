"""Many heads on one set of features."""

from __future__ import annotations

import pytest
import torch

from methods.compatible_features.auxiliary_heads import PooledHead
from methods.networks import resnet8, small_vgg
from orchestrator import Network
from orchestrator.parts import stacked_heads
from orchestrator.parts.stacked_heads import StackedHeads
from orchestrator.spec.classes import class_at

CPU = torch.device("cpu")


def unasked(position):
    pytest.fail("the shape was asked for though the features enter")


def built(spec, **settings):
    torch.manual_seed(settings.pop("draw", 0))
    return class_at(spec.path, Network)(**dict(spec.settings), **settings).eval()


def apart(stack, features, wanted, count):
    found = [None] * count
    for places, logits in stack.logits(features, wanted):
        for place, one in zip(places, logits, strict=True):
            found[place] = one
    return found


@pytest.mark.parametrize("split", ["stage2", "stage3", "pool"])
def test_together_they_give_what_each_gives_alone(split):
    nets = [
        built(resnet8(width=4), classes=classes, draw=i) for i, classes in enumerate((5, 7, 5, 5))
    ]
    heads = [net.head(split) for net in nets]
    stack = StackedHeads(heads, CPU, unasked)
    assert [len(group.positions) for group in stack.groups] == [3, 1]
    with torch.no_grad():
        features = nets[0].extractor(split)(torch.randn(6, 3, 16, 16))
        for wanted in ([0, 1, 2, 3], [2, 1], [3]):
            found = apart(stack, features, wanted, 4)
            assert [i for i, one in enumerate(found) if one is not None] == sorted(wanted)
            for i in wanted:
                assert torch.allclose(found[i], heads[i](features), atol=1e-6)


def test_heads_with_convolutions_in_one_go_are_right_too():
    """On a CPU they go one by one; on a GPU this is the way they go."""
    nets = [built(resnet8(width=4), classes=5, draw=i) for i in range(3)]
    stack = StackedHeads([net.head("stage1") for net in nets], CPU, unasked)
    assert not stack.groups[0].is_batched
    stack.groups[0].is_batched = True
    with torch.no_grad():
        features = nets[0].extractor("stage1")(torch.randn(6, 3, 16, 16))
        found = apart(stack, features, [0, 1, 2], 3)
        assert all(
            torch.allclose(found[i], net.head("stage1")(features), atol=1e-5)
            for i, net in enumerate(nets)
        )


def test_a_head_that_cannot_take_the_features_says_so_and_the_others_go_on():
    wide, narrow = built(resnet8(width=8), classes=3), built(resnet8(width=4), classes=3)
    heads = [wide.head("stage2"), narrow.head("stage2"), PooledHead(channels=8, classes=3)]
    made_for = [(16, 4, 4), (8, 4, 4), (8, 4, 4)]
    stack = StackedHeads(heads, CPU, made_for.__getitem__)
    features = torch.randn(2, 8, 4, 4)
    assert list(stack.refusals((2, 8, 4, 4))) == [0]
    assert stack.refusals((2, 8, 4, 4))[0].startswith("features of 8x4x4 do not enter the head: ")
    with torch.no_grad():
        assert [one is None for one in apart(stack, features, [0, 1, 2], 3)] == [True, False, False]


class Broken(torch.nn.Module):
    """Takes features of 3 numbers, and raises `error` all the same."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


@pytest.mark.parametrize("shape", [(2, 3), (2, 5)], ids=["its own shape", "another"])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("out of order"),
        NotImplementedError("out of order"),
        ValueError("out of order"),
        IndexError("out of order"),
        torch.OutOfMemoryError("out of order"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_a_head_that_is_none_of_shape_is_raised(error, shape):
    stack = StackedHeads([Broken(error)], CPU, lambda position: (3,))
    with pytest.raises(type(error), match="out of order"):
        stack.refusals(shape)
    with pytest.raises(type(error), match="out of order"):
        list(stack.logits(torch.randn(*shape), [0]))


def test_networks_of_other_kinds_are_builds_of_their_own():
    heads = [
        built(spec, classes=3).head("stage2") for spec in (resnet8(width=4), small_vgg(width=4))
    ]
    assert [group.positions for group in StackedHeads(heads, CPU, unasked).groups] == [[0], [1]]


def test_heads_are_copied_to_the_device_once_whichever_are_wanted():
    """`meta` stands for a GPU. A build of one head is moved there."""
    nets = [built(resnet8(width=4), classes=classes, draw=i) for i, classes in enumerate((5, 5, 3))]
    heads = [net.head("stage1") for net in nets]
    meta = torch.device("meta")
    stack = StackedHeads(heads, meta, unasked)
    group, features = stack.groups[0], torch.empty(4, 4, 16, 16, device=meta)
    assert stack.refusals((4, 4, 16, 16)) == {}
    copied = group._stack
    assert {(value.device, len(value)) for value in copied.values()} == {(meta, 2)}
    with torch.no_grad():
        for wanted in ([0, 1, 2], [1], [0, 2]):
            shapes = [tuple(logits.shape) for _, logits in stack.logits(features, wanted)]
            assert [shape[1] for shape in shapes] == [4] * len(shapes)
            assert sum(shape[0] for shape in shapes) == len(wanted)
    assert group._stack is copied
    where = [{parameter.device.type for parameter in head.parameters()} for head in heads]
    assert where == [{"cpu"}, {"cpu"}, {"meta"}]


def test_more_heads_than_go_at_once_are_right_in_any_choice(monkeypatch):
    monkeypatch.setattr(stacked_heads, "AT_ONCE", 2)
    nets = [built(resnet8(width=4), classes=3, draw=i) for i in range(5)]
    heads = [net.head("pool") for net in nets]
    stack = StackedHeads(heads, CPU, unasked)
    features = torch.randn(6, 16)
    with torch.no_grad():
        for wanted in ([0, 1, 2, 3, 4], [0, 2, 3], [4]):
            found = apart(stack, features, wanted, 5)
            assert all(torch.allclose(found[i], heads[i](features), atol=1e-6) for i in wanted)
