"""Parquet sets: files of parts, labels of every type, splits, masks and boxes by column."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from image_sets import encoded, pixels, write_table, write_tables

from orchestrator import parquet
from orchestrator.data.parquet_files import ParquetReader
from orchestrator.errors import DataError, MissingDataError
from orchestrator.spec.datasets import parse


def reader(folder, **options):
    return ParquetReader(str(folder), parse(parquet("any", **options).data))


def labels(read, part="train"):
    return [record.label for record in read.records(part)]


def problems(read, part="train"):
    return [record.problem for record in read.records(part)]


def named(names):
    """The metadata in which `datasets` keeps the names of classes."""
    return {b"huggingface": {"info": {"features": {"label": {"names": names}}}}}


# ---------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("column", "classes", "numbers"),
    [
        ([1, 2, 3], ("1", "2", "3"), [0, 1, 2]),
        ([10, 2, 1], ("1", "2", "10"), [2, 1, 0]),
        ([1.0, 2.0, 0.0], ("0", "1", "2"), [1, 2, 0]),
        (["x", "z", "y"], ("x", "y", "z"), [0, 2, 1]),
        (pa.array(["x", "z", "x"]).dictionary_encode(), ("x", "z"), [0, 1, 0]),
        (pa.array([7, 5, 7]).dictionary_encode(), ("5", "7"), [1, 0, 1]),
        ([True, False, True], ("0", "1"), [1, 0, 1]),
    ],
    ids=["from 1", "unsorted", "float", "text", "category", "category of numbers", "bool"],
)
def test_labels_of_every_type_are_the_classes_that_occur(tmp_path, column, classes, numbers):
    read = reader(write_tables(tmp_path, label=column))
    assert (read.classes, labels(read)) == (classes, numbers)
    assert problems(read) == [""] * 3


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ([1.0, 2.5, 1.0], "label 2.5 is none of the 1 classes"),
        ([1.0, float("nan"), 1.0], "label nan is none of the 1 classes"),
        ([0, -1, 0], "label -1 is none of the 1 classes"),
        ([0, None, 0], "label None is none of the 1 classes"),
        (pa.array([None] * 3), "label None is none of the 0 classes"),
    ],
    ids=["fraction", "nan", "negative", "null", "nothing but nulls"],
)
def test_a_label_that_is_of_no_class_is_told(tmp_path, column, wrong):
    assert problems(reader(write_tables(tmp_path, label=column)))[1] == wrong


@pytest.mark.parametrize("column", [[[1], [2]], [b"a", b"b"], [{"a": 1}, {"a": 2}]])
def test_a_column_that_can_hold_no_label_is_told_with_its_type(tmp_path, column):
    with pytest.raises(DataError, match=r"is of type .*, and a label is a whole number or a name"):
        _ = reader(write_tables(tmp_path, label=column)).classes


def test_names_in_the_schema_are_the_classes_whatever_occurs(tmp_path):
    read = reader(write_tables(tmp_path, label=[0, 1], about=named(["cat", "dog", "bird"])))
    assert read.classes == ("cat", "dog", "bird")


# ---------------------------------------------------------------------- parts


@pytest.mark.parametrize("spare", ["validation-0", "val", "valid_1"])
def test_validation_files_test_where_no_others_do_and_that_is_told(tmp_path, spare):
    write_table(tmp_path, "train", label=[0, 1])
    write_table(tmp_path, spare, label=[1, 1])
    read = reader(tmp_path)
    assert labels(read, "test") == [1, 1]
    assert read.warnings == [f"there is no test part: {spare}.parquet is used as one"]


def test_validation_files_beside_a_test_part_are_named_as_unused(tmp_path):
    write_tables(tmp_path, label=[0, 1])
    write_table(tmp_path, "val", label=[1, 1])
    read = reader(tmp_path)
    assert (labels(read, "test"), read.warnings) == ([0, 1], ["val.parquet is not used"])


def test_files_in_hidden_folders_are_not_read(tmp_path):
    write_tables(tmp_path, label=[0, 1])
    write_table(tmp_path / ".ipynb_checkpoints", "train-copy", label=[0, 1])
    assert reader(tmp_path).count("train") == 2


def test_a_file_that_would_be_of_both_parts_is_told(tmp_path):
    write_tables(tmp_path, label=[0, 1])
    write_table(tmp_path / "train", "test-0", label=[0, 1])
    with pytest.raises(DataError, match=r"train/test-0.parquet is of both parts, train and test"):
        reader(tmp_path)


def test_a_set_without_a_test_part_is_told_what_makes_one(tmp_path):
    write_table(tmp_path, "train", label=[0, 1])
    with pytest.raises(MissingDataError, match=r"parquet\(\.\.\., test=0\.25\) makes a test part"):
        reader(tmp_path)


def test_a_fraction_of_each_class_becomes_the_test_part(tmp_path):
    write_table(tmp_path, "train", label=["a", "b"] * 8)
    read = reader(tmp_path, test=0.25)
    train, test = ({r.place for r in read.records(part)} for part in ("train", "test"))
    assert len(train) == 12
    assert len(test) == 4
    assert train.isdisjoint(test)
    assert sorted(labels(read, "test")) == [0, 0, 1, 1]
    assert test == {r.place for r in reader(tmp_path, test=0.25).records("test")}


def test_a_fraction_counts_the_rows_that_are_kept(tmp_path):
    write_table(tmp_path, "train", label=["a"] * 16, domain=["photo", "sketch"] * 8)
    read = reader(tmp_path, test=0.25, where={"domain": "photo"})
    assert (len(labels(read)), len(labels(read, "test"))) == (6, 2)


def test_a_fraction_beside_a_test_part_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"has files test\*\.parquet, so test=0\.25 is not needed"):
        reader(write_tables(tmp_path, label=[0, 1]), test=0.25)


# ---------------------------------------------------------------------- masks and boxes

MASK = encoded(np.zeros((8, 8), dtype=np.uint8))


def test_a_set_with_masks_needs_no_labels(tmp_path):
    read = reader(write_tables(tmp_path, mask=[MASK] * 2), mask="mask")
    assert (read.classes, labels(read)) == (("all",), [0, 0])
    assert [record.mask for record in read.records("train")] == [MASK] * 2


def test_names_of_masks_come_from_the_schema(tmp_path):
    about = {b"mask_names": ["road", "car"]}
    folder = write_tables(tmp_path, mask=[MASK], label=[0], about=about)
    assert reader(folder, mask="mask").mask_names == ("road", "car")
    assert reader(folder).mask_names == ()


def test_a_row_without_a_mask_is_told(tmp_path):
    read = reader(write_tables(tmp_path, mask=[MASK, None], label=[0, 0]), mask="mask")
    assert problems(read) == ["", "column 'mask' holds no encoded mask"]


@pytest.mark.parametrize(
    ("crop", "columns"),
    [
        ("bbox", {"bbox": [[1, 2, 3, 4]]}),
        ("bbox:xyxy", {"bbox": [[1, 2, 4, 6]]}),
        ("bbox", {"bbox": [{"x": 1.0, "y": 2.0, "w": 3.0, "h": 4.0}]}),
        (("x1", "y1", "x2", "y2"), {"x1": [1], "y1": [2], "x2": [4], "y2": [6]}),
        ("x1,y1,w,h:xywh", {"x1": [1], "y1": [2], "w": [3], "h": [4]}),
    ],
    ids=["corner and size", "two corners", "struct", "four columns", "four columns with a size"],
)
def test_boxes_are_read_in_the_layouts_that_sets_have(tmp_path, crop, columns):
    (record,) = reader(write_tables(tmp_path, label=[0], **columns), crop=crop).records("train")
    assert record.box == (1, 2, 4, 6)


@pytest.mark.parametrize("box", [[1, 2, 3], None, [[1, 2, 3, 4]], [1, 2, float("nan"), 4]])
def test_what_is_no_box_is_told(tmp_path, box):
    read = reader(write_tables(tmp_path, label=[0], bbox=[box]), crop="bbox")
    assert problems(read) == ["bbox: no box of four numbers"]


def test_columns_that_are_missing_are_told_all_at_once(tmp_path):
    write_tables(tmp_path, label=[0])
    with pytest.raises(DataError) as caught:
        reader(tmp_path, mask="masc", crop="box")
    assert "has no column 'masc'" in str(caught.value)
    assert "has no column 'box'" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crop": "a,b"}, "is no box: name a column"),
        ({"crop": "bbox:yxyx"}, "is no box: name a column"),
        ({"crop": ""}, "is no box: name a column"),
        ({"mask": ""}, "a column of no name"),
        ({"label": ""}, "a column of no name"),
        ({"crop": "bbox", "size": 8, "reduced": True}, "boxes and masks are in pixels of the"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused_where_they_are_written(options, words):
    with pytest.raises(DataError, match=words):
        parquet("pets", **options)


def test_an_image_that_is_no_bytes_is_told(tmp_path):
    folder = write_tables(tmp_path, image=["path/to/it.png", "another.png"], label=[0, 1])
    assert problems(reader(folder))[0] == "column 'image' holds no encoded image"


def test_images_are_structs_or_plain_bytes(tmp_path):
    content = encoded(pixels(0))
    struct = [{"bytes": content, "path": "0.png"}]
    for number, column in enumerate(([content], struct)):
        folder = write_tables(tmp_path / str(number), image=column, label=[0])
        assert [record.content for record in reader(folder).records("train")] == [content]
