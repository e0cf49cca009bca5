"""Tasks and the images they stand for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from orchestrator import (
    DataError,
    InputError,
    Task,
    common_classes,
    digits,
    relabel,
    torchvision_set,
)
from orchestrator.data import sources
from orchestrator.spec.task import DataRecord

RECORD = DataRecord(
    name="pets",
    digest="d" * 64,
    classes=("cat", "dog", "fish", "newt"),
    shape=(3, 8, 8),
    counts=(40, 8),
    mean=(0.5,) * 3,
    std=(0.2,) * 3,
)
PETS = Task(data="pets")


def members(task, part="train"):
    images = sources.load("digits")
    return set(sources.rows(task.resolve(images.record), part, images).tolist())


def test_classes_by_name_and_by_index_are_one_task():
    assert PETS.classes(1, 3).resolve(RECORD) == PETS.classes("dog", "newt").resolve(RECORD).named(
        PETS.classes(1, 3).name
    )
    assert PETS.classes(1, "newt").resolve(RECORD).class_names == ("dog", "newt")


def test_a_class_the_data_lacks_is_named_with_the_nearest():
    with pytest.raises(DataError, match=r"pets has no class 'dgo'. Did you mean 'dog'\?"):
        PETS.classes("cat", "dgo").resolve(RECORD)
    with pytest.raises(DataError, match=r"no class 4.*0 to 3"):
        PETS.classes(4).resolve(RECORD)


def test_labels_follow_the_order_of_the_classes():
    images = sources.load("digits")
    task = digits.classes(7, 3).resolve(images.record)
    assert sources.labels(task, images, np.array([3, 7])).tolist() == [1, 0]


def test_shares_are_disjoint_and_complete_whatever_classes_tasks_keep():
    one, other = (
        digits.classes(0, 1, 2).images(0, of=2).validation(0),
        digits.classes(1, 2, 3).images(1, of=2).validation(0),
    )
    assert not members(one) & members(other)
    both = digits.classes(0, 1, 2).images(1, of=2).validation(0)
    assert members(one) | members(both) == members(digits.classes(0, 1, 2).validation(0))


def test_validation_is_held_out_of_training_and_never_from_test():
    task = digits.validation(0.2)
    train, held_out = members(task), members(task, "validation")
    assert not train & held_out
    assert len(train | held_out) == 1200
    assert 0.17 < len(held_out) / 1200 < 0.23
    assert len(members(task, "test")) == 597


def test_a_limit_is_spread_over_the_classes_and_nested():
    few, more = digits.images(limit=25).validation(0), digits.images(limit=50).validation(0)
    assert len(members(few)) == 25
    assert members(few) < members(more)


def test_the_digest_of_digits_is_what_it_was():
    assert (
        sources.load("digits").record.digest
        == "df1ed18d86f498d93597f530f5b34a11fe4a962c7119e1df2736dade0dc4885f"
    )


def test_common_classes_and_relabelling():
    one, other = (
        PETS.classes(*names).resolve(RECORD)
        for names in (("cat", "dog", "newt"), ("newt", "dog", "fish"))
    )
    assert common_classes((one, other)) == ("dog", "newt")
    assert relabel(other, ("dog", "newt")) == (1, 0, -100)


def test_names_tell_tasks_apart():
    assert PETS.classes(0, 1).images(1, of=2).name == "pets-0.1-1of2"
    assert PETS.named("a").name == "a"


def numbered(*names):
    return replace(RECORD, classes=names)


def test_a_number_is_the_name_where_all_classes_are_called_by_numbers():
    """Folders 0, 1, 2, 10, 11 are sorted as text."""
    record = numbered("0", "1", "10", "11", "2")
    assert PETS.classes(2, 10).resolve(record).kept_classes == ("2", "10")
    assert PETS.binary(11).resolve(record).positive_classes == ("11",)
    assert PETS.classes(7).resolve(numbered("0006", "0007")).kept_classes == ("0007",)
    with pytest.raises(DataError, match=r"no class 3\..* Numbers are names here\."):
        PETS.classes(3).resolve(record)
    drawn = PETS.classes(0, 1).drawn(classes=True).resolve(record).of_seed(0)
    assert len(drawn.kept_classes) == 2  # places in an order, whatever classes are called


def test_where_name_and_index_agree_tasks_are_what_they_were():
    record = numbered(*(str(number) for number in range(10)))
    by_number, by_name = PETS.classes(2, 7), PETS.classes("2", "7")
    assert by_number.resolve(record).kept_classes == by_name.resolve(record).kept_classes
    with pytest.raises(DataError, match="By index: 0 to 9"):
        PETS.classes(12).resolve(record)


def test_a_number_that_may_be_two_classes_is_refused():
    record = numbered("1", "2", "other")
    assert PETS.classes(2).resolve(numbered("1", "cat", "2")).kept_classes == ("2",)
    with pytest.raises(DataError, match=r"1 may be the class '1' by name or '2' by index"):
        PETS.classes(1).resolve(record)


def test_a_record_survives_json_and_an_old_one_is_read():
    record = replace(
        RECORD,
        class_counts=((3, 1),) * len(RECORD.classes),
        modes=(("RGB", 4),),
        sizes=(("5x6", 4),),
        mask_names=("sky", "car"),
        warnings=("what to know",),
    )
    assert DataRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    old = {"name", "digest", "classes", "shape", "counts", "mean", "std"}
    assert set(RECORD.to_json()) == old
    assert DataRecord.from_json(RECORD.to_json()) == RECORD


@pytest.mark.parametrize(
    "wrong",
    [
        PETS.classes,
        lambda: PETS.classes(1, 1),
        lambda: PETS.images(2, of=2),
        lambda: PETS.images(limit=0),
        lambda: PETS.validation(1.0),
        lambda: PETS.named("a/b"),
        lambda: PETS.resolve(RECORD).train.labelled(common=(0, 1)),
        lambda: torchvision_set("Cifar10"),
    ],
)
def test_a_verb_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(InputError):
        wrong()


def test_a_task_survives_json():
    task = PETS.classes(1, 2).images(0, of=3, limit=9).validation(0.25).named("x").resolve(RECORD)
    assert Task.from_json(task.to_json()) == task


def test_data_that_changed_since_planning_is_refused():
    task = digits.resolve(sources.load("digits").record)
    with pytest.raises(DataError, match="has changed"):
        sources.load_verified(Task.from_json({**task.to_json(), "digest": "0" * 64}))


def test_a_missing_data_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("SPOLIA_DATA", raising=False)
    with pytest.raises(DataError, match="data='FOLDER'"):
        sources.load("torchvision/MNIST")
    monkeypatch.setenv("SPOLIA_DATA", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="absent does not exist"):
        sources.load("torchvision/MNIST")
    monkeypatch.setenv("SPOLIA_DATA", str(tmp_path))
    with pytest.raises(DataError, match="torchvision/MNIST cannot be read from") as refused:
        sources.load("torchvision/MNIST")
    assert "there is no MNIST/raw in it" in str(refused.value)
    assert "download=True" not in str(refused.value)


def test_fashion_mnist_is_read_from_packed_files_in_a_read_only_folder(
    shared_data, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    images = sources.load("torchvision/FashionMNIST")
    assert images.record.counts == (60000, 10000)
    assert images.record.shape == (1, 28, 28)
    assert images.record.classes[0] == "T-shirt/top"
    assert abs(images.record.mean[0] - 0.2860) < 1e-4  # the set's published mean and deviation
    assert abs(images.record.std[0] - 0.3530) < 1e-4
