"""Accuracy by hand: the number that a method would measure."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from methods.fine_tune import FineTune
from methods.networks import small_vgg
from orchestrator import InputError, Result, Run, Trial, accuracy, digits, images, join, resolve
from orchestrator.training.execute import execute

TASK = digits.classes(0, 1, 2, 3).images(limit=60).named("a")


class Knows(nn.Module):
    """Says of every image the class of the image that it is nearest to among those it was shown."""

    def __init__(self, shown, outputs):
        super().__init__()
        self.shown, self.outputs = shown, outputs
        self.register_buffer("place", torch.zeros(1))

    def forward(self, x):
        assert not self.training
        nearest = torch.cdist(x.flatten(1), self.shown.x.flatten(1)).argmin(1)
        return nn.functional.one_hot(self.shown.y[nearest], self.outputs).float()


@pytest.fixture(scope="module")
def knowing():
    return Knows(images(TASK.test), 4)


@pytest.fixture
def run(store):
    return Run(
        resolve(Trial(method=FineTune(), network=small_vgg(width=4), tasks=(TASK,)), store), {}
    )


@pytest.mark.parametrize("part", ["test", "train", "validation_part"])
def test_it_is_what_a_run_measures(run, part):
    net = run.network("a")
    expected = run.accuracy(net, getattr(run.tasks[0], part))
    assert accuracy(net, getattr(TASK, part)) == expected
    if part == "test":
        assert accuracy(net, TASK) == expected


@pytest.mark.parametrize("batch", [1, 7, 512])
def test_all_images_count_once_whatever_the_batch(knowing, batch):
    assert accuracy(knowing, TASK, batch=batch) == 1


def test_the_network_is_afterwards_in_the_mode_that_it_was_in(run):
    net = run.network("a").train()
    net.pool.eval()
    accuracy(net, TASK)
    modes = {name: child.training for name, child in net.named_children()}
    assert modes == {name: name != "pool" for name in net.stage_names}
    assert not any(p.grad is not None for p in net.parameters())


def test_images_can_be_changed_under_their_labels(knowing):
    seen = images(TASK.test.few(20, seed=0))
    assert accuracy(knowing, seen) == 1
    assert accuracy(knowing, replace(seen, x=seen.x.flip(0))) < 1


def test_outputs_may_be_the_classes_of_another_task(knowing):
    other = digits.classes(7, 3, 0)
    # Only the images of 3 and 0 count; their labels are re-indexed to outputs 3 and 0.
    assert accuracy(knowing, other, outputs_of=TASK) == 1
    swapped = digits.classes(3, 1, 2, 0)
    assert accuracy(knowing, swapped) < 0.6
    assert accuracy(knowing, swapped, outputs_of=TASK) == 1


def test_among_takes_class_names_and_numbers(knowing):
    class Two(nn.Module):  # never 0, unless 2 and 3 are not asked
        def forward(self, x):
            return torch.tensor([[2.0, 1.0, 3.0, 4.0]]).expand(len(x), 4)

    zeros = digits.classes(0)
    assert accuracy(Two(), zeros, outputs_of=TASK) == 0
    assert accuracy(Two(), zeros, outputs_of=TASK, among=("0", "1")) == 1
    assert accuracy(Two(), zeros, outputs_of=TASK, among=(0, 1)) == 1
    assert accuracy(Two(), zeros, outputs_of=TASK, among="0") == 1
    assert accuracy(Two(), zeros, outputs_of=TASK, among=0) == 1


def test_a_component_knows_what_its_outputs_are(store):
    trial = resolve(
        Trial(method=FineTune(epochs=1), network=small_vgg(width=4), tasks=(TASK,)), store
    )
    execute(trial, store, raise_errors=True)
    result = Result.open(trial.key, store)
    component = result.component("network", task="a")
    assert accuracy(component, result.tasks["a"]) == result.metric("accuracy", task="a")
    wider = digits.classes(3, 2, 1, 0, 9)
    expected = accuracy(component.module(), wider, outputs_of=TASK)
    assert accuracy(component, wider) == expected
    assert accuracy(join(component, component, "pool"), wider) == expected


class TestWhatIsRefused:
    def test_outputs_that_are_not_the_classes(self, knowing):
        with pytest.raises(InputError, match=r"4 outputs and digits-0.1 2 classes; say with outp"):
            accuracy(knowing, digits.classes(0, 1))

    def test_images_that_the_network_does_not_take(self, run):
        with pytest.raises(InputError, match=r"does not take images of digits-0.1.2.3-rgb, 3x8x8"):
            accuracy(run.network("a"), digits.classes(0, 1, 2, 3).rgb())

    def test_raw_pixels(self, knowing):
        with pytest.raises(InputError, match="raw pixels are for looking at"):
            accuracy(knowing, images(TASK.test, raw=True))

    @pytest.mark.parametrize(("among", "said"), [(("9",), "'9' is no output"), ((), "nothing is")])
    def test_a_choice_of_outputs_that_do_not_exist(self, knowing, among, said):
        with pytest.raises(InputError, match=f"{said}.*Valid: '0', '1', '2', '3'"):
            accuracy(knowing, TASK, among=among)

    def test_what_is_no_network(self):
        with pytest.raises(InputError, match=r"got str; a reference is opened by Component.open"):
            accuracy("8c1f20/network?task=a", TASK)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"batch": 0}, "batch=0 is no number of images, from 1"),
            ({"device": "gpu"}, "this machine has no device 'gpu'. It has: 'cpu'"),
            ({"outputs_of": "a"}, r"outputs_of= takes a task, .*, got 'a'"),
        ],
    )
    def test_options_that_cannot_be_meant(self, knowing, options, said):
        with pytest.raises(InputError, match=said):
            accuracy(knowing, TASK, **options)

    def test_what_is_no_task(self, knowing):
        with pytest.raises(InputError, match=r"asked for as task.test"):
            accuracy(knowing, "digits")
