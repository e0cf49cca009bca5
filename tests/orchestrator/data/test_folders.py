"""Folders of images: what is a part, what is a class, how a test part is made, what is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from image_sets import encoded, pixels, write_folders

from orchestrator import image_folder
from orchestrator.data import sources
from orchestrator.data.folders import FolderReader, num_tested
from orchestrator.errors import DataError, MissingDataError
from orchestrator.spec.datasets import parse

PETS = {"train/cat": 3, "train/dog": 3, "test/cat": 2, "test/dog": 2}


def reader(root, **options):
    return FolderReader(str(root), parse(image_folder("any", **options).data))


def places(read, part):
    return [record.place for record in read.records(part)]


@pytest.mark.parametrize("hidden", [".git", ".ipynb_checkpoints", "__MACOSX", "__pycache__"])
def test_a_hidden_folder_is_no_class(tmp_path, hidden):
    read = reader(write_folders(tmp_path, PETS | {f"train/{hidden}": 2}))
    assert read.classes == ("cat", "dog")
    assert read.warnings == []


def test_an_empty_folder_is_no_class_and_is_told(tmp_path):
    read = reader(write_folders(tmp_path, PETS | {"train/bird": 0}))
    assert read.classes == ("cat", "dog")
    assert read.warnings == ["no class, since without images: bird"]


def test_files_that_are_no_images_by_their_names_are_told(tmp_path):
    write_folders(tmp_path, PETS)
    for name in ("Thumbs.db", ".DS_Store", "notes.txt"):
        (tmp_path / "train/cat" / name).write_text("no image")
    read = reader(tmp_path)
    assert read.warnings == ["train/cat/: Thumbs.db, notes.txt not read: no image by the name"]
    assert read.count("train") == 6


def test_images_deeper_down_and_beside_the_classes_are_told(tmp_path):
    write_folders(tmp_path / "pets", PETS | {"train/cat/more": 1})
    (tmp_path / "pets/train/stray.png").write_bytes(encoded(pixels(0)))
    assert reader(tmp_path / "pets").warnings == [
        "pets/train/: stray.png not read: in no class's folder",
        "train/cat/: what lies deeper is not read: more",
    ]


def test_a_class_that_is_only_tested_is_an_error(tmp_path):
    with pytest.raises(DataError, match="has the class 'bird', which is not in train: cat, dog"):
        reader(write_folders(tmp_path, PETS | {"test/bird": 1}))


@pytest.mark.parametrize("spare", ["validation", "val", "valid"])
def test_validation_images_test_where_no_others_do_and_that_is_told(tmp_path, spare):
    read = reader(write_folders(tmp_path, {"train/a": 2, f"{spare}/a": 1}))
    assert places(read, "test") == [f"{spare}/a/0.png"]
    assert read.warnings == [f"there is no test part: {spare}/ is used as one"]


def test_validation_images_beside_a_test_part_are_named_as_unused(tmp_path):
    read = reader(write_folders(tmp_path, {"train/a": 2, "val/a": 1, "test/a": 1}))
    assert places(read, "test") == ["test/a/0.png"]
    assert read.warnings == ["val/ is not used"]


# ---------------------------------------------------------------------- a test part of a fraction


@pytest.mark.parametrize("top", ["", "train/"])
def test_a_fraction_of_each_class_becomes_the_test_part(tmp_path, top):
    read = reader(write_folders(tmp_path, {f"{top}a": 8, f"{top}b": 12}), test=0.25)
    train, test = places(read, "train"), places(read, "test")
    assert [sum(f"{c}/" in place for place in test) for c in "ab"] == [2, 3]
    assert len(train) + len(test) == len({*train, *test}) == 20


def test_the_split_is_fixed(tmp_path):
    read = reader(write_folders(tmp_path, {"a": 8}), test=0.25)
    assert places(read, "test") == ["a/0.png", "a/2.png"]


def test_another_file_moves_one_other_at_most(tmp_path):
    before = set(places(reader(write_folders(tmp_path, {"a": 20}), test=0.25), "test"))
    (tmp_path / "a/new.png").write_bytes(encoded(pixels(99)))
    after = set(places(reader(tmp_path, test=0.25), "test"))
    assert len(before - after) <= 1


@pytest.mark.parametrize(("count", "tested"), [(1, 0), (2, 1), (3, 1), (8, 2), (9, 2)])
def test_of_two_images_one_is_tested_and_one_is_not(count, tested):
    assert num_tested(count, 0.25) == tested


def test_a_fraction_beside_a_test_part_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"has a folder 'test', so test=0\.25 is not needed"):
        reader(write_folders(tmp_path, PETS), test=0.25)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"cat": 2, "dog": 2}, r"no folder 'train' \(it has cat, dog\); .*test=0\.25"),
        ({"Train/a": 2, "Test/a": 1}, r"no folder 'train' \(it has Test, Train\)"),
        ({"train/a": 2}, "no folder 'test'"),
    ],
)
def test_another_layout_is_told_with_what_is_there_and_what_to_write(tmp_path, counts, words):
    with pytest.raises(MissingDataError, match=words):
        reader(write_folders(tmp_path, counts))


@pytest.mark.parametrize("test", [0, 1, 1.5, "a"])
def test_a_fraction_that_is_none_is_refused_where_it_is_written(test):
    with pytest.raises(DataError, match="is no part of the images"):
        image_folder("pets", test=test)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scaled": "whole"}, "scaled='whole' needs a size, such as size=224"),
        ({"scaled": 64, "size": 64}, "scaled=64 with size=64; it may be 'whole', or pixels of"),
        ({"scaled": "part", "size": 64}, "scaled='part' with size=64; it may be 'whole'"),
    ],
)
def test_a_scale_that_does_not_fit_its_size_is_refused_where_it_is_written(options, message):
    with pytest.raises(DataError, match=message):
        image_folder("pets", **options)


def test_reduced_needs_a_size():
    with pytest.raises(DataError, match="reduced=True needs a size to reduce to"):
        image_folder("pets", reduced=True)


# ---------------------------------------------------------------------- files that cannot be read


def test_a_link_that_leads_nowhere_is_a_problem_of_this_image(tmp_path):
    write_folders(tmp_path, PETS)
    os.symlink("nowhere.png", tmp_path / "train/cat/link.png")
    read = reader(tmp_path)
    assert [str(tmp_path / "train/cat/link.png")] in read.files
    problems = {record.place: record.problem for record in read.records("train") if record.problem}
    assert problems == {"train/cat/link.png": "the file cannot be read: No such file or directory"}


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    write_folders(tmp_path, PETS)
    monkeypatch.setattr("orchestrator.data.folders.os.scandir", refuse)
    with pytest.raises(DataError, match="train/cat cannot be listed: Permission denied"):
        reader(tmp_path)


def test_each_file_is_read_once(tmp_path, monkeypatch):
    read_files = []
    read_bytes = Path.read_bytes

    def noting(path):
        read_files.append(path.name)
        return read_bytes(path)

    root = write_folders(tmp_path / "pets", PETS)
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Path, "read_bytes", noting)
    sources.load(image_folder(str(root)).data)
    assert len(read_files) == sum(PETS.values())
