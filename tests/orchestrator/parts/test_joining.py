"""Two networks joined by hand."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from methods.compatible_features import CompatibleFeatures
from methods.fine_tune import FineTune
from methods.networks import small_vgg
from methods.piggyback import Piggyback
from methods.recombine import Recombine
from orchestrator import (
    Component,
    InputError,
    MethodError,
    Network,
    Result,
    Store,
    Trial,
    accuracy,
    class_at,
    common_classes,
    digits,
    join,
    resolve,
)
from orchestrator.training.execute import execute, run_with_needs

TRAINING = CompatibleFeatures(epochs=6, batch=32, lr=0.02)
TASKS = (
    digits.classes(0, 1, 2, 3).images(0, of=2, limit=120).named("a"),
    digits.classes(3, 2, 7, 8, 1).images(1, of=2, limit=120).named("b"),
)


def done(store, method, network=None, tasks=TASKS):
    trial = resolve(
        Trial(method=method, network=network or small_vgg(width=4), tasks=tasks, seed=0), store
    )
    run_with_needs(trial, store)
    assert execute(trial, store, raise_errors=True).is_result
    return Result.open(trial.key, store)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A matrix of two networks, and the store that has it."""
    store = Store(tmp_path_factory.mktemp("measured"))
    store.prepare()
    return done(store, Recombine(of=(TRAINING,), split="stage2")), store


def built(spec, classes=4, channels=1):
    return class_at(spec.path, Network)(**dict(spec.settings), channels=channels, classes=classes)


PAIRS = [(row, column) for row in "ab" for column in "ab"]


@pytest.mark.parametrize(("row", "column"), PAIRS)
def test_the_number_is_the_entry_of_the_matrix(measured, row, column):
    result, store = measured
    for name, images in (("by_extractor", row), ("by_head", column)):
        matrix = result.matrix(f"accuracy_{name}")
        joined = join(*matrix.pair(row, column), split="stage2", store=store)
        assert accuracy(joined, result.tasks[images]) == matrix[row, column]
        restricted = result.matrix(f"restricted_{name}")
        found = accuracy(
            joined,
            result.tasks[images],
            among=common_classes([result.tasks[images], result.tasks[column]]),
        )
        assert found == restricted[row, column]


def test_entries_differ_so_that_a_wrong_pair_would_show(measured):
    values = measured[0].matrix("accuracy_by_head").values
    assert len(set(values.ravel().tolist())) == 4


def test_guessing_is_zero_on_the_normalised_scale_and_unknown_among_common_classes(measured):
    result, _ = measured
    for protocol in ("by_extractor", "by_head"):
        assert (result.matrix(f"accuracy_{protocol}").chance > 0).all()
        assert (result.matrix(f"normalised_{protocol}").chance == 0).all()
        assert np.isnan(result.matrix(f"restricted_{protocol}").chance).all()


def test_networks_components_and_references_are_joined_alike(measured):
    result, store = measured
    a, b = (Component.open(one, store) for one in result.matrix("accuracy_by_head").pair("a", "b"))
    of_components = join(a, b, "stage2")
    of_modules = join(a.module(), b.module(), "stage2", task=b.task)
    of_pieces = join(a.module().extractor("stage2"), b.module().head("stage2"), task=b.task)
    of_both = join(a.reference, b.module().head("stage2"), "stage2", store=store, task=b.task)
    x = torch.randn(3, 1, 8, 8)
    for other in (of_modules, of_pieces, of_both):
        assert torch.equal(other(x), of_components(x))
        assert accuracy(other, a.task) == accuracy(of_components, a.task)


class TestWhichTasksClassesTheOutputsAre:
    """Two networks of other tasks, of which one has five outputs and the other four."""

    @pytest.fixture
    def sides(self, measured):
        references = measured[0].matrix("accuracy_by_head").pair("a", "b")
        return [Component.open(one, measured[1]) for one in references]

    def test_modules_of_components_remember_their_task_and_ask_on_images_of_another(self, sides):
        a, b = sides
        joined = join(a.ready(), b.ready(), "stage2")
        assert accuracy(joined, b.task) == accuracy(join(a, b, "stage2"), b.task)
        with pytest.raises(
            InputError, match=r"of the joined network was trained on b \(3, 2, 7, 8, "
        ):
            accuracy(joined, a.task)
        assert accuracy(joined, a.task, outputs_of=b.task) == accuracy(join(a, b, "stage2"), a.task)

    @pytest.mark.parametrize(
        "whole", [copy.deepcopy, lambda net: nn.Sequential(nn.Identity(), net)]
    )
    def test_so_does_a_whole_network_and_what_is_made_of_it(self, sides, whole):
        b = sides[1]
        net = whole(b.ready())
        assert accuracy(net, b.task) == accuracy(b, b.task)
        with pytest.raises(
            InputError, match=r"was trained on b .*; the images are of c \(0, 1, 4,"
        ):
            accuracy(net, digits.classes(0, 1, 4, 5, 6).named("c"))

    def test_pieces_joined_in_another_way_do_so_too(self, sides):
        a, b = (one.ready() for one in sides)
        other = digits.classes(0, 1, 4, 5, 6).named("c")
        for net in (
            b.head("stage2").joined(a),
            nn.Sequential(a.extractor("stage2"), b.head("stage2")),
            join(a.extractor("stage2"), b.head("stage2")),
        ):
            with pytest.raises(InputError, match=r"outputs_of=task"):
                accuracy(net, other)

    def test_modules_of_nobody_are_asked_for(self):
        a, b = built(small_vgg(width=4)), built(small_vgg(width=4))
        with pytest.raises(
            InputError, match=r"trained on a task that nobody named; .* of a \(0, 1"
        ):
            accuracy(join(a, b, "stage2"), TASKS[0])
        by_hand = nn.Sequential(a.extractor("stage2"), b.head("stage2"))
        named = accuracy(join(a, b, "stage2", task=TASKS[0]), TASKS[0])
        assert named == accuracy(by_hand, TASKS[0], outputs_of=TASKS[0])

    def test_a_component_without_a_task_is_that_of_a_trial_with_one_task_only(self, measured):
        kept = measured[0].matrix("accuracy_by_head").pair("a", "b")[0]
        component = Component.open(kept, measured[1])
        nameless = replace(component, record=replace(component.record, labels={}))
        assert [task.name for task in nameless.output_tasks] == ["a", "b"]
        with pytest.raises(InputError, match=r"network was trained on a \(.*\) or b \("):
            accuracy(nameless, TASKS[0])
        with pytest.raises(MethodError, match=r"no label that says its task. Valid: 'a', 'b'"):
            assert nameless.task
        joined = join(component, nameless, "stage2")
        with pytest.raises(InputError, match=r"joined network was trained on a \(.*\) or b \("):
            accuracy(joined, TASKS[0])


def test_a_network_joined_with_itself_is_the_network(measured):
    result, store = measured
    reference = result.matrix("accuracy_by_head").pair("b", "b")[0]
    x = torch.randn(3, 1, 8, 8)
    for split in ("stage1", "pool"):
        joined = join(reference, reference, split, store=store)
        assert torch.equal(joined(x), Component.open(reference, store).ready()(x))


def test_networks_given_as_modules_lend_their_layers_and_stay_in_their_mode():
    a, b = built(small_vgg(width=4)).train(), built(small_vgg(width=4)).train()
    joined = join(a, b, "pool")
    assert next(joined.parameters()) is next(a.parameters())
    assert joined.training
    assert all(module.training for module in [*a.modules(), *b.modules()])


def test_masks_stand_for_the_networks_that_they_make_with_their_bases(store):
    tasks = (digits.classes(4, 5).images(limit=60).named("base"), *TASKS)
    result = done(store, Piggyback(base=FineTune(epochs=1), epochs=1, lr=0.1), tasks=tasks)
    a, b = (result.component("mask", task=name) for name in ("a", "b"))
    base = a.required().result.key[:12]
    assert repr(a).endswith(f"PackedMasks of piggyback, seed 0, needs {base}/network?task=base")
    joined = join(a, b, "stage2")
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(joined(x), b.ready().head("stage2")(a.ready().extractor("stage2")(x)))
    assert joined.task.name == "b"


def test_a_network_whose_class_only_this_process_has_is_joined_untried():
    class Own(type(built(small_vgg(width=4)))):
        pass

    a, b = Own(width=4, channels=1), Own(width=4, channels=1)
    assert join(a, b, "pool")(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    assert join(a.extractor("pool"), b.head("pool"))(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_it_says_what_it_is(measured):
    result, store = measured
    joined = join(*result.matrix("accuracy_by_head").pair("a", "b"), split="stage2", store=store)
    key = result.matrix("accuracy_by_head").components[0][0][:12]
    assert repr(joined) == (
        f"Joined(extractor of network-a of {key} up to 'stage2', head of network-b of {key} behind "
        "'stage2'; outputs are the classes of b)"
    )


class TestWhatCannotBeJoined:
    def test_a_split_point_that_one_of_them_lacks(self):
        with pytest.raises(InputError, match=r"SmallVGG has no split point 'stage9'. Did you mean"):
            join(built(small_vgg(width=4)), built(small_vgg(width=4)), "stage9")

    def test_no_split_point_at_all(self):
        with pytest.raises(InputError, match=r"say where SmallVGG .* cut at .stage1., .stage2."):
            join(built(small_vgg(width=4)), built(small_vgg(width=4)))

    @pytest.mark.parametrize("split", ["stage1", "pool"])
    def test_features_of_another_shape(self, split):
        narrow, wide = built(small_vgg(width=4)), built(small_vgg(width=8))
        with pytest.raises(InputError) as told:
            join(narrow, wide, split)
        first, second = ((narrow.shape(split, (1, 8, 8))), (wide.shape(split, (1, 8, 8))))
        assert f"gives features of {'x'.join(map(str, first))}, the head" in str(told.value)
        assert f"takes {'x'.join(map(str, second))}: " in str(told.value)

    def test_components_are_tried_on_images_of_their_task(self, measured):
        result, store = measured
        reference = result.matrix("accuracy_by_head").pair("a", "a")[0]
        with pytest.raises(InputError, match="gives features of 8x2x2, the head of SmallVGG"):
            join(reference, built(small_vgg(width=8)), "stage2", store=store)

    def test_a_piece_that_is_the_other_side_or_cut_elsewhere(self):
        a, b = built(small_vgg(width=4)), built(small_vgg(width=4))
        with pytest.raises(InputError, match="of SmallVGG is the head at 'pool', not the extract"):
            join(a.head("pool"), b.head("pool"))
        with pytest.raises(InputError, match="extractor at 'stage1', not the extractor at 'po"):
            join(a.extractor("stage1"), b, "pool")

    def test_three_networks_and_what_is_no_split_point_or_no_task(self):
        a, b = built(small_vgg(width=4)), built(small_vgg(width=4))
        with pytest.raises(InputError, match="takes two networks, and a split point by its name"):
            join(a, b, a)
        with pytest.raises(InputError, match="cut and joined already; give the networks that it"):
            join(join(a, b, "pool"), b, "pool")
        with pytest.raises(InputError, match="given by its name, got 3"):
            join(a, b, 3)
        with pytest.raises(InputError, match=r"such as result.tasks\['b'\] .*, got 'b'"):
            join(a, b, "pool", task="b")

    def test_what_is_no_network(self, measured):
        with pytest.raises(InputError, match="Linear has no split points and cannot be cut; give"):
            join(nn.Linear(2, 2), built(small_vgg(width=4)), "pool")
        with pytest.raises(InputError, match="give one of its components"):
            join(measured[0], measured[0], "pool")


class TestPieces:
    def test_either_side_is_joined_with_the_other_or_with_a_whole_network(self):
        a, b = built(small_vgg(width=4)).eval(), built(small_vgg(width=4)).eval()
        x = torch.randn(2, 1, 8, 8)
        expected = b.head("pool")(a.extractor("pool")(x))
        for joined in (
            a.extractor("pool").joined(b.head("pool")),
            b.head("pool").joined(a.extractor("pool")),
            b.head("pool").joined(a),
            a.extractor("pool").joined(b),
        ):
            assert torch.equal(joined(x), expected)

    def test_two_of_one_side_and_two_whole_networks_are_told_what_to_write(self):
        a, b = built(small_vgg(width=4)), built(small_vgg(width=4))
        with pytest.raises(MethodError, match=r"two heads make no network; join\(a, b, split='po"):
            a.head("pool").joined(b.head("pool"))
        with pytest.raises(MethodError, match=r"join\(a, b, split=...\)"):
            a.joined(b)


def test_a_joined_network_of_no_common_class_has_no_number(measured):
    result, store = measured
    joined = join(*result.matrix("accuracy_by_head").pair("a", "b"), split="pool", store=store)
    assert math.isnan(accuracy(joined, digits.classes(0, 4, 5)))
