"""`verify` reads every byte again: what changed, what is missing, what the cache altered."""

from __future__ import annotations

import os
import shutil

import pytest
from image_sets import encoded, pixels, write_folders, write_tables

from orchestrator import digits, image_folder, parquet, pasted
from orchestrator.data import sources
from orchestrator.data.verification import verify

PETS = {"train/cat": 4, "train/dog": 2, "test/cat": 1, "test/dog": 1}


@pytest.fixture
def pets(tmp_path, monkeypatch):
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))
    return write_folders(tmp_path / "pets", PETS)


def recorded(root):
    return sources.load(image_folder(str(root)).data).record


def replace(path, content, *, keep_time=False):
    """Write other bytes; with `keep_time` as a change that the file's time does not show."""
    before = path.stat()
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("task", [digits, pasted(digits)], ids=["digits", "pasted"])
def test_sets_of_a_library_are_as_recorded(task):
    assert verify(sources.load(task.data).record).state == "as recorded"


def test_files_that_were_only_touched_are_as_recorded(pets):
    record = recorded(pets)
    for path in pets.rglob("*.png"):
        os.utime(path, (1, 1))
    assert verify(record).state == "as recorded"


@pytest.mark.parametrize("keep_time", [False, True])
def test_an_image_with_other_bytes_is_changed_and_named_whatever_its_time_says(pets, keep_time):
    record = recorded(pets)
    other = encoded(pixels(99))
    path = pets / "train/dog/1.png"
    path.write_bytes(path.read_bytes().ljust(len(other), b"\0"))  # sizes agree, too
    record = recorded(pets) if keep_time else record
    replace(path, other.ljust(path.stat().st_size, b"\0"), keep_time=keep_time)
    found = verify(record)
    assert (found.state, found.details) == ("changed", ("other bytes in train/dog/1.png",))


def test_many_changed_images_are_named_in_part(pets):
    record = recorded(pets)
    for i in range(4):
        replace(pets / f"train/cat/{i}.png", encoded(pixels(50 + i)))
    (told,) = verify(record).details
    assert told.endswith("train/cat/0.png; train/cat/1.png; train/cat/2.png and 1 more")


def test_an_image_that_cannot_be_decoded_any_more_is_changed(pets):
    record = recorded(pets)
    replace(pets / "train/dog/1.png", encoded(pixels(1))[:60])
    found = verify(record)
    assert found.state == "changed"
    assert "the file is cut short (1 of 8 images): train/dog/1.png" in found.details[0]


def test_other_numbers_of_images_and_other_classes_are_told(pets):
    record = recorded(pets)
    shutil.move(pets / "train/dog", pets / "train/hound")
    shutil.rmtree(pets / "test/dog")
    assert verify(record).details == (
        "6 + 2 images were recorded, 6 + 1 are here",
        "classes gone: dog",
        "new classes: hound",
    )


@pytest.mark.parametrize("gone", [".", "train", "test"])
def test_a_set_whose_folder_is_gone_is_missing(pets, gone):
    record = recorded(pets)
    shutil.rmtree(pets / gone)
    assert verify(record).state == "missing"


def test_other_labels_are_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))
    folder = write_tables(tmp_path / "pets", label=["a", "b", "b"])
    record = sources.load(parquet(str(folder)).data).record
    write_tables(folder, label=["a", "b", "a"])
    assert verify(record).details == ("labels, boxes or masks differ",)


def test_without_the_recorded_images_in_the_cache_it_only_says_that_they_differ(pets, tmp_path):
    record = recorded(pets)
    replace(pets / "train/dog/1.png", encoded(pixels(99)))
    shutil.rmtree(tmp_path / "cache")
    assert verify(record).details == ("images, labels or their order differ",)


def test_reading_again_leaves_nothing_behind(pets, tmp_path):
    record = recorded(pets)
    before = set((tmp_path / "cache/decoded").rglob("*"))
    verify(record)
    assert set((tmp_path / "cache/decoded").rglob("*")) == before
