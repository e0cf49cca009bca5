"""Extractor x head."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from methods.fine_tune import FineTune
from methods.networks import resnet8, small_vgg
from orchestrator import Run, Store, Trial, digits, in_order, resolve
from orchestrator.parts import recombination
from orchestrator.parts.as_it_was import as_they_were
from orchestrator.parts.recombination import recombine

CPU = torch.device("cpu")


def trained(tmp_path, network, tasks, epochs=3):
    run = Run(
        resolve(Trial(method=FineTune(), network=network, tasks=tasks, seed=0), Store(tmp_path)), {}
    )
    nets = []
    for task in run.tasks:
        nets.append(run.network(task.name, task))
        from orchestrator import sgd

        run.fit(
            task.name,
            {"network": nets[-1]},
            FineTune().loss,
            task.train,
            optimizer=sgd(0.05),
            epochs=epochs,
            batch=32,
        )
    return run, nets


TASKS = (digits.classes(0, 1, 2, 3).named("a"), digits.classes(3, 2, 7, 8, 1).named("b"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("pair"), resnet8(width=8), TASKS)


def scores(run, nets, split="stage2"):
    return recombine(
        [n.extractor(split) for n in nets], [n.head(split) for n in nets], list(run.tasks), CPU
    )


def test_the_diagonal_is_the_networks_own_accuracy(pair):
    run, nets = pair
    found = scores(run, nets)
    for i, (net, task) in enumerate(zip(nets, run.tasks, strict=True)):
        own = run.accuracy(net, task.test)
        assert found.by_head.accuracy[i, i] == pytest.approx(own)
        assert found.by_extractor.accuracy[i, i] == pytest.approx(own)
        assert found.by_head.own[i, i] == pytest.approx(own)
        assert found.by_head.normalised[i, i] == pytest.approx(1)


def test_entries_are_what_whole_networks_score_one_by_one(pair):
    run, nets = pair
    found, (a, b) = scores(run, nets), run.tasks
    joined = torch.nn.Sequential(nets[0].extractor("stage2"), nets[1].head("stage2")).eval()

    def by_hand(images, model, head_task):
        hits = count = 0
        with torch.no_grad():
            for x, y in in_order(images.test, CPU):
                for logits, label in zip(model(x), y, strict=True):
                    name = images.class_names[int(label)]
                    if name in head_task.class_names:
                        count += 1
                        hits += int(logits.argmax()) == head_task.class_names.index(name)
        return hits / count, count

    assert (found.by_extractor.accuracy[0, 1], found.by_extractor.count[0, 1]) == pytest.approx(
        by_hand(a, joined, b)
    )
    assert (found.by_head.accuracy[0, 1], found.by_head.count[0, 1]) == pytest.approx(
        by_hand(b, joined, b)
    )
    assert found.by_extractor.own[0, 1] == pytest.approx(by_hand(a, nets[1], b)[0])
    assert found.by_extractor.chance[0, 1] == pytest.approx(1 / 5)


def test_restricting_the_choice_never_lowers_the_score(pair):
    found = scores(*pair)
    assert (found.by_extractor.restricted >= found.by_extractor.accuracy).all()


def test_permuted_channels_recombine_at_chance_and_permuting_the_head_too_restores(pair):
    """Section 8.4, item 6: the same function in another basis is useless to the other head."""
    run, nets = pair
    net, task = nets[0], run.tasks[0]
    own = run.accuracy(net, task.test)
    extractor, head = net.cut("pool")
    permutation = torch.roll(torch.arange(32), 5)

    class Permuted(torch.nn.Module):
        def __init__(self, inner, order):
            super().__init__()
            self.inner, self.order = inner, order

        def forward(self, x):
            return self.inner(x)[:, self.order]

    moved = Permuted(extractor, permutation)
    assert recombine([moved], [head], [task], CPU).by_head.accuracy[0, 0] < 0.6 * own
    matching = Permuted(torch.nn.Identity(), permutation.argsort())
    restored = torch.nn.Sequential(matching, head)
    assert recombine([moved], [restored], [task], CPU).by_head.accuracy[0, 0] == pytest.approx(own)


def test_tasks_without_a_common_class_have_no_score_by_extractor(tmp_path):
    run, nets = trained(
        tmp_path,
        resnet8(width=4),
        (digits.classes(0, 1).named("a"), digits.classes(2, 3).named("b")),
        epochs=1,
    )
    found = scores(run, nets)
    assert np.isnan(found.by_extractor.accuracy[0, 1])
    assert found.by_extractor.count[0, 1] == 0
    assert np.isfinite(found.by_head.accuracy[0, 1])


def test_shapes_that_do_not_join_are_shown_as_such(tmp_path):
    run, nets = trained(tmp_path, resnet8(width=4), TASKS, epochs=1)
    other = (
        Run(
            resolve(
                Trial(method=FineTune(), network=small_vgg(width=8), tasks=TASKS, seed=0),
                Store(tmp_path),
            ),
            {},
        )
        .network("b", run.tasks[1])
        .eval()
    )
    found = recombine(
        [nets[0].extractor("stage2"), other.extractor("stage2")],
        [nets[0].head("stage2"), other.head("stage2")],
        list(run.tasks),
        CPU,
    )
    assert np.isnan(found.by_head.accuracy[0, 1])
    assert np.isfinite(np.diag(found.by_head.accuracy)).all()


def test_networks_on_one_task_share_its_images(tmp_path):
    run, nets = trained(
        tmp_path,
        resnet8(width=4),
        (TASKS[0], digits.classes(0, 1, 2, 3).images(1, of=2).named("again")),
        epochs=1,
    )
    found = scores(run, nets)
    assert np.array_equal(found.by_head.count, found.by_extractor.count)
    assert np.allclose(found.by_head.accuracy, found.by_extractor.accuracy)


def test_features_are_computed_once_an_extractor_and_image_set(pair):
    run, nets = pair
    seen = []
    extractors = [n.extractor("stage2") for n in nets]
    handles = [
        e.register_forward_hook(lambda module, args, output, i=i: seen.append((i, len(output))))
        for i, e in enumerate(extractors)
    ]
    recombine(extractors, [n.head("stage2") for n in nets], list(run.tasks), CPU)
    for handle in handles:
        handle.remove()
    images = [len(sources_of(task)) for task in run.tasks]
    assert [sum(count for i, count in seen if i == number) for number in (0, 1)] == [
        sum(images)
    ] * 2


def sources_of(task):
    return [y for _, labels in in_order(task.test, CPU) for y in labels]


def test_a_pair_without_a_score_says_why(tmp_path):
    run, nets = trained(tmp_path, resnet8(width=4), TASKS, epochs=1)
    other = resnet8(width=8)
    wide = (
        Run(
            resolve(Trial(method=FineTune(), network=other, tasks=TASKS, seed=0), Store(tmp_path)),
            {},
        )
        .network("b", run.tasks[1])
        .eval()
    )
    found = recombine(
        [nets[0].extractor("stage2"), wide.extractor("stage2")],
        [nets[0].head("stage2"), wide.head("stage2")],
        list(run.tasks),
        CPU,
    )
    assert set(found.unjoined) == {(0, 1), (1, 0)}
    assert found.unjoined[0, 1].startswith("features of 8x4x4 do not enter the head")
    assert np.isnan(found.by_extractor.accuracy[[0, 1], [1, 0]]).all()


@pytest.mark.slow
def test_where_labels_are_masks_pixels_count(tmp_path, monkeypatch, shared_data):
    from methods.networks import small_fcn
    from orchestrator import pasted, torchvision_set

    monkeypatch.setenv("SPOLIA_DATA", str(shared_data))
    whole = pasted(torchvision_set("FashionMNIST"))
    tasks = tuple(
        whole.classes(i).resized(16).images(limit=20).validation(0).foreground().named(name)
        for i, name in enumerate("ab")
    )
    run = Run(
        resolve(
            Trial(method=FineTune(), network=small_fcn(width=4), tasks=tasks, seed=0),
            Store(tmp_path),
        ),
        {},
    )
    nets = [run.network(task.name, task).eval() for task in run.tasks]
    found = scores(run, nets, "stage2").by_head
    assert found.accuracy[1, 1] == pytest.approx(run.accuracy(nets[1], run.tasks[1].test))
    assert found.count[0, 0] == 1000 * 16 * 16
    assert found.accuracy[0, 1] == pytest.approx(
        run.accuracy(
            torch.nn.Sequential(nets[0].extractor("stage2"), nets[1].head("stage2")),
            run.tasks[1].test,
        )
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (digits.classes(0, 1).binary(0, called="it"), digits.classes(2, 3).binary(2, called="it")),
        (digits.classes(0, 1), digits.classes(0, 1).shifted("inverted")),
        (digits.classes(0, 1), digits.classes(0, 1).resized(16)),
    ],
    ids=["positive", "shifted", "resized"],
)
def test_tasks_whose_classes_are_called_alike_keep_their_own_images(tmp_path, one, other):
    tasks = (one.named("one"), other.named("other"))
    run, nets = trained(tmp_path, resnet8(width=4), tasks, epochs=1)
    found = scores(run, nets, "pool")
    own = [run.accuracy(net, task.test) for net, task in zip(nets, run.tasks, strict=True)]
    assert np.diag(found.by_head.accuracy) == pytest.approx(own)
    assert np.diag(found.by_extractor.accuracy) == pytest.approx(own)
    assert list(np.diag(found.by_head.count)) == [run.count(task.test) for task in run.tasks]


def test_one_extractor_at_a_time_is_on_the_device_and_all_nets_are_put_back(pair, monkeypatch):
    run, nets = pair
    seen, there = [], []

    @contextlib.contextmanager
    def on_device(net, device):
        there.append(net)
        seen.append(len(there))
        yield
        there.remove(net)

    extractors, heads = [n.extractor("stage2") for n in nets], [n.head("stage2") for n in nets]
    expected = scores(run, nets)
    monkeypatch.setattr(recombination, "on_device", on_device)
    monkeypatch.setattr(recombination, "as_they_were", lambda nets: on_device("heads", CPU))
    found = recombine(extractors, heads, list(run.tasks), CPU)
    assert seen == [1, 2, 2]  # the heads, and beside them one extractor
    assert np.array_equal(found.by_head.accuracy, expected.by_head.accuracy)


def test_nets_are_put_back_where_they_were_whatever_happens():
    nets = [torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, device="meta")]

    def breaking():
        with as_they_were(nets):
            nets[1] = nets[1].to_empty(device="cpu")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        breaking()
    assert [net.weight.device.type for net in nets] == ["cpu", "meta"]
