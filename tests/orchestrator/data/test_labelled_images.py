"""Images of a task as tensors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from orchestrator import InputError, common_classes, digits, images, in_order, pasted
from orchestrator.data.resolve import resolve_task

TASK = digits.classes(4, 2).images(limit=40).named("a")


def test_they_are_what_a_network_is_given(store):
    task = resolve_task(TASK, store)
    x, y = images(task.test)
    expected = list(in_order(task.test, torch.device("cpu")))
    assert torch.equal(x, torch.cat([x for x, _ in expected]))
    assert torch.equal(y, torch.cat([y for _, y in expected]))
    assert (x.dtype, x.shape[1:], y.dtype) == (torch.float32, (1, 8, 8), torch.int64)


def test_a_task_need_not_be_resolved_and_means_its_test_part(store):
    resolved = images(resolve_task(TASK, store).test)
    assert torch.equal(images(TASK).x, resolved.x)
    assert images(TASK).class_names == ("4", "2")


def test_raw_pixels_are_the_same_images_before_they_are_normalised():
    raw, seen = images(TASK.train, raw=True), images(TASK.train)
    assert (raw.x.dtype, raw.x.shape) == (torch.uint8, seen.x.shape)
    statistics = seen.data.task.statistics
    by_hand = (raw.x / 255 - statistics.mean[0]) / statistics.std[0]
    torch.testing.assert_close(seen.x, by_hand, check_stride=False)


@pytest.mark.parametrize("raw", [False, True])
def test_writing_into_them_changes_nobody_elses(raw):
    for data in (TASK.test, TASK.test.few(4, seed=0)):
        before = images(data, raw=raw)
        kept = before.x.clone()
        images(data, raw=raw).x.zero_()
        assert torch.equal(images(data, raw=raw).x, kept)


def test_masks_are_labels_of_pixels():
    x, y = images(pasted(digits).foreground().test.few(3, seed=0))
    assert x.shape == (3, 1, 12, 12)
    assert (y.shape, y.dtype) == ((3, 12, 12), torch.int64)


def test_they_say_what_they_are():
    assert repr(images(TASK.test.few(6, seed=0))) == (
        "6 images of a, test: x float32 1x8x8, y of 2 classes"
    )


def test_a_part_without_images_and_what_is_no_task():
    with pytest.raises(InputError, match="a has no validation image"):
        images(TASK.validation(0).validation_part)
    with pytest.raises(InputError, match=r"asked for as task.test.*got 'digits'"):
        images("digits")
    with pytest.raises(InputError, match=r"got list; components have a task, component.task"):
        images([TASK])


def test_other_images_are_as_many_as_the_labels():
    seen = images(TASK.test)
    with pytest.raises(InputError, match=r"there are 3 images for the \d+ labels of a, test"):
        replace(seen, x=seen.x[:3])


def test_common_classes_are_those_of_tasks_as_written_and_as_stored_alike(store):
    other = digits.classes(2, 7, 4)
    for tasks in ([TASK, other], [resolve_task(TASK, store), other]):
        assert common_classes(tasks) == ("4", "2")
