"""Sets for segmentation: objects pasted on canvases, with masks as labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from methods.fine_tune import FineTune
from methods.networks import small_fcn
from orchestrator import (
    DataError,
    InputError,
    Result,
    Store,
    Trial,
    digits,
    parquet,
    pasted,
    resolve,
)
from orchestrator.data import batches, sources
from orchestrator.data.resolve import resolve_task
from orchestrator.training.execute import execute

CPU = torch.device("cpu")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def read(task, part="train"):
    pixels, labels = batches.tensors(
        task.part(part, because="a test") if part == "test" else task.train, CPU
    )
    return pixels.take(slice(None)).numpy(), labels.numpy()


def test_objects_lie_on_canvases_and_masks_are_where_they_lie(store):
    task = resolve_task(pasted(digits).foreground().validation(0), store)
    plain = resolve_task(digits.validation(0), store)
    images, masks = read(task)
    objects, _ = read(plain)
    assert images.shape[1:] == (1, 12, 12)
    assert (masks.shape, set(np.unique(masks))) == ((len(images), 12, 12), {0, 1})
    for image, mask, whole in zip(images[:50, 0], masks[:50], objects[:50, 0], strict=True):
        assert mask.sum() == (whole > 25).sum()
        assert sorted(image[mask == 1]) == sorted(whole[whole > 25])
    places = {tuple(np.argwhere(m).min(0)) for m in masks}
    assert len(places) > 10
    outside = images[:, 0][masks == 0]
    assert outside.std() > 20  # brightness alone does not tell an object from its canvas
    assert (outside > 100).mean() > 0.2


def test_every_process_makes_the_same_bytes_and_another_seed_others():
    first = sources.load(pasted(digits).data).record
    assert first.digest == "f9fe227ddece72af785942dbab0f5302a1bd7e8eb99e90cf3386d3af73403614"
    assert sources.load(pasted(digits, seed=1).data).record.digest != first.digest


def test_classes_are_the_objects_and_masks_follow_size_and_turns(store):
    plain = resolve_task(pasted(digits).classes(3, 4).foreground(), store)
    turned = resolve_task(pasted(digits).classes(3, 4).foreground().shifted("rotated", 90), store)
    small = resolve_task(pasted(digits).classes(3, 4).foreground().resized(6), store)
    assert plain.class_names == ("background", "foreground")
    (_, masks), (_, moved), (images, scaled) = read(plain), read(turned), read(small)
    assert np.array_equal(np.rot90(masks, 1, axes=(1, 2)), moved)
    assert scaled.shape == (len(masks), 6, 6) == images[:, 0].shape
    assert abs(scaled.mean() - masks.mean()) < 0.05
    assert len({t.identity()["name"] for t in (plain, turned, small)}) == 3
    assert plain.identity() != resolve_task(pasted(digits).classes(3, 4), store).identity()


def test_a_few_images_with_masks_are_nested(store):
    task = resolve_task(pasted(digits).classes(3, 4).foreground(), store)
    few, more = (batches.tensors(task.train.few(n, seed=0), CPU)[1] for n in (5, 9))
    assert torch.equal(few, more[:5])


def test_a_network_learns_to_tell_pixels(store):
    task = pasted(digits).classes(0, 1).foreground().images(limit=150).named("ink")
    trial = resolve(
        Trial(
            method=FineTune(epochs=8, lr=0.03, batch=16),
            network=small_fcn(width=8),
            tasks=(task,),
            seed=0,
        ),
        store,
    )
    assert execute(trial, store).kind == "done"
    result = Result(store, store.find(trial.key))
    _, masks = read(trial.tasks[0], "test")
    assert result.metric("accuracy", task="ink") > max(masks.mean(), 1 - masks.mean()) + 0.03
    assert result.component("network", task="ink").ready()(torch.randn(2, 1, 12, 12)).shape == (
        2,
        2,
        12,
        12,
    )


def test_what_cannot_be_meant_is_told(store):
    with pytest.raises(
        InputError, match=r"digits has no masks; pasted\(\.\.\.\) makes a set that has"
    ):
        digits.foreground()
    for taken in (digits.classes(1), pasted(digits)):
        with pytest.raises(DataError, match=r"pasted\(\) takes a whole set"):
            pasted(taken)
    with pytest.raises(DataError, match="no data set is called 'torchvision/NIST'"):
        sources.load("pasted/torchvision/NIST?canvas=0")
    task = resolve_task(pasted(digits).foreground(), store)
    with pytest.raises(InputError, match="would not move the masks"):
        batches.Feed(task.train.augmented("flip"), name="d", seed=0, stage="s", device=CPU)


def test_the_name_of_the_objects_set_survives_with_its_options():
    task = pasted(parquet("pets", where={"kind": "cat"}), seed=3)
    from orchestrator.spec.datasets import parse

    source = parse(task.data)
    assert (source.objects, source.options["canvas"]) == ("parquet/pets?where.kind=cat", "3")
