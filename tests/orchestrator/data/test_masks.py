"""Masks of real sets: labels of pixels from a column of Parquet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_sets import encoded, pixels, write_tables

from orchestrator import DataError, InputError, image_folder, parquet
from orchestrator.data import batches, sources
from orchestrator.data.resolve import resolve_task
from orchestrator.spec.task import IGNORED

CPU = torch.device("cpu")
ROAD, CAR, TREE, NONE = range(4)
VALUES = np.repeat(np.repeat(np.array([[ROAD, CAR], [TREE, NONE]], np.uint8), 4, 0), 4, 1)  # [8, 8]
NAMES = ["road", "car", "tree", "unlabelled"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))


def segmented(tmp_path, *, values=VALUES, names=NAMES, **options):
    """A set of two images that have this mask, as a task."""
    about = {b"mask_names": names} if names else None
    columns = {"image": [encoded(pixels(i)) for i in range(2)], "mask": [encoded(values)] * 2}
    folder = write_tables(tmp_path / "roads", about=about, **columns)
    return parquet(str(folder), mask="mask", **options)


def quarters(task, store):
    """What the four quarters of the first image are labelled."""
    _, y = batches.tensors(resolve_task(task, store).test, CPU)
    half = y.shape[1] // 2
    found = [q.unique() for rows in y[0].split(half) for q in rows.split(half, 1)]
    return [labels.item() for labels in found]


def test_the_foreground_is_the_class_that_is_named(tmp_path, store):
    assert quarters(segmented(tmp_path).foreground("car"), store) == [0, 1, 0, IGNORED]


def test_the_foreground_may_be_several_classes_and_given_by_number(tmp_path, store):
    assert quarters(segmented(tmp_path).foreground("car", TREE), store) == [0, 1, 1, IGNORED]


def test_pixels_are_labelled_with_the_numbers_of_all_classes(tmp_path, store):
    task = segmented(tmp_path).pixels()
    assert quarters(task, store) == [0, 1, 2, IGNORED]
    assert resolve_task(task, store).class_names == ("road", "car", "tree")


def test_pixels_of_some_classes_leave_the_others_out(tmp_path, store):
    assert quarters(segmented(tmp_path).pixels("tree", "road"), store) == [1, IGNORED, 0, IGNORED]


@pytest.mark.parametrize("task", ["foreground", "pixels"])
def test_masks_are_resized_and_turned_as_their_images_are(tmp_path, store, task):
    task = getattr(segmented(tmp_path), task)("car")
    assert quarters(task.resized(4), store) == quarters(task, store)
    turned = quarters(task.shifted("rotated", 90), store)
    assert turned != quarters(task, store)
    assert turned[0] == quarters(task, store)[1]


@pytest.mark.parametrize("values", [(0, 255), (0, 1)])
def test_without_names_two_values_are_background_and_foreground(tmp_path, store, values):
    mask = np.where(VALUES == CAR, *map(np.uint8, values[::-1])).astype(np.uint8)
    assert quarters(segmented(tmp_path, values=mask, names=()).foreground(), store) == [0, 1, 0, 0]


def test_without_names_each_value_is_a_class_but_for_255(tmp_path, store):
    values = np.where(VALUES == NONE, 255, VALUES * 10).astype(np.uint8)
    task = segmented(tmp_path, values=values, names=()).pixels()
    assert quarters(task, store) == [0, 1, 2, IGNORED]
    assert resolve_task(task, store).class_names == ("0", "10", "20")


def test_of_several_classes_one_has_to_be_named(tmp_path, store):
    with pytest.raises(DataError, match=r"say which are the foreground.*Valid: 'road', 'car'"):
        resolve_task(segmented(tmp_path).foreground(), store)


def test_a_class_of_pixels_that_does_not_exist_is_told(tmp_path, store):
    with pytest.raises(DataError, match=r"has no class 'cart'\. Did you mean 'car'"):
        resolve_task(segmented(tmp_path).foreground("cart"), store)


def test_a_value_beyond_the_names_is_told(tmp_path, store):
    with pytest.raises(DataError, match=r"value 3, and the names are of 0 to 1 \(4 of 4 images\)"):
        sources.load(segmented(tmp_path, names=["road", "car"]).data)


@pytest.mark.parametrize(
    ("task", "hint"),
    [(parquet("roads"), r'mask="mask"\) names the column'), (image_folder("roads"), "pasted")],
)
def test_a_set_without_masks_is_told_where_masks_come_from(task, hint):
    with pytest.raises(InputError, match=f"has no masks; .*{hint}"):
        task.foreground()


def test_what_is_taken_of_masks_is_in_the_identity_and_the_name(tmp_path, store):
    task = segmented(tmp_path)
    taken = [task.foreground("car"), task.foreground("tree"), task.pixels(), task.pixels("car")]
    resolved = [resolve_task(one, store) for one in taken]
    assert len({one.name for one in resolved}) == 4
    assert len({str(one.named("same").identity()) for one in resolved}) == 4


@pytest.mark.slow
def test_cars_of_camvid_are_where_its_masks_say(shared_data, store):
    task = resolve_task(parquet("camvid", mask="mask").foreground("car"), store)
    _, cars = batches.tensors(task.test, CPU)
    every = resolve_task(parquet("camvid", mask="mask").pixels(), store)
    _, all_classes = batches.tensors(every.test, CPU)
    assert torch.equal(cars == 1, all_classes == every.class_names.index("car"))
    assert torch.equal(cars == IGNORED, all_classes == IGNORED)
    assert 0.01 < (cars == 1).float().mean() < 0.2
