"""`spolia data`: what a user reads of image sets, and of the cache."""

from __future__ import annotations

import json
import os
import re

import pytest
from image_sets import encoded, pixels, write_folders

from orchestrator.cli.data_sets import readable_size
from orchestrator.data import decoded, sources

PETS = {"train/cat": 3, "train/dog": 2, "test/cat": 1, "test/dog": 1}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoded, "_held", {})
    write_folders(tmp_path / "data/pets", PETS)
    return tmp_path / "data"


@pytest.fixture
def call(spolia, data):
    def with_data(*arguments):
        sources._load.cache_clear()  # as another process would
        while decoded._held:
            os.close(decoded._held.popitem()[1])
        return spolia("data", *arguments, "--data", str(data))

    return with_data


def words(text):
    return " ".join(text.split())


def test_add_tells_what_was_read_and_what_to_know(call, data):
    (data / "pets/train/bird").mkdir()
    code, out, _ = call("add", "folder/pets")
    assert code == 0
    assert "folder/pets 2 classes, 5 + 2 images, 3x8x8" in words(out)
    assert "! no class, since without images: bird" in words(out)
    assert "mode RGB (7)" in words(out)
    assert "size 8x8 (7)" in words(out)
    assert "3 + 1 cat" in words(out)


def test_add_tells_what_is_wrong_with_a_set(call, data):
    (data / "pets/train/cat/0.png").write_bytes(b"")
    code, _, err = call("add", "folder/pets")
    assert code != 0
    assert "the file is empty (1 of 7 images): train/cat/0.png" in words(err)


def test_add_refuses_other_images_under_a_recorded_name_unless_told(call, data):
    call("add", "folder/pets")
    (data / "pets/train/cat/0.png").write_bytes(encoded(pixels(99)))
    code, _, err = call("add", "folder/pets")
    assert code != 0
    assert "is recorded with other images" in words(err)
    assert call("add", "folder/pets", "--replace")[0] == 0
    assert call("verify")[0] == 0


def test_list_says_where_the_cache_is_and_how_large(call, tmp_path):
    call("add", "folder/pets")
    _, out, _ = call("list")
    size = sum(path.stat().st_size for path in (tmp_path / "cache/decoded").glob("*/*"))
    assert f"Decoded images: {readable_size(size)} of 1 set in {tmp_path}/cache/decoded" in out


def test_list_says_how_much_of_the_cache_is_of_no_use(call, data):
    call("add", "folder/pets")
    os.utime(data / "pets/train/cat/0.png", (1, 1))
    assert "of no use (spolia data gc)" in call("list")[1]


def test_list_as_json_is_the_records(call):
    call("add", "folder/pets")
    (record,) = json.loads(call("list", "--json")[1])
    assert record["class_counts"] == [[3, 1], [2, 1]]


def test_verify_tells_changed_from_missing(call, data):
    write_folders(data / "birds", PETS)
    call("add", "folder/pets", "folder/birds")
    assert call("verify")[0] == 0
    (data / "pets/train/cat/0.png").write_bytes(encoded(pixels(99)))
    (data / "birds").rename(data / "gone")
    code, out, _ = call("verify")
    assert code != 0
    assert "folder/pets: changed other bytes in train/cat/0.png" in words(out)
    assert "folder/birds: missing folder/birds: there is no folder" in words(out)


def test_gc_removes_what_nothing_reads_again_when_it_is_told_to(call, data, tmp_path):
    call("add", "folder/pets")
    os.utime(data / "pets/train/cat/0.png", (1, 1))
    call("add", "folder/pets")

    def folders():
        return len(list((tmp_path / "cache/decoded").iterdir()))

    # The size of the folder's path is in it.
    told = r"1 decoded set, \d\.\d KiB could go \(add --remove\)"
    assert re.search(told, call("gc")[1])
    assert folders() == 2
    assert "removed" in call("gc", "--remove")[1]
    assert folders() == 1
    assert "Nothing to remove." in call("gc", "--remove")[1]
    call("gc", "--all", "--remove")
    assert folders() == 0


def test_a_plan_repeats_what_to_know_of_its_data(spolia, data, tmp_path):
    (data / "pets/train/bird").mkdir()
    (tmp_path / "asked.py").write_text(
        """
from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Sweep, image_folder, product

cells = product(FineTune.grid(), network=resnet8(), tasks=(image_folder("pets"),), seed=0)
sweep = Sweep(question="?", cells=cells, expect=1)
"""
    )
    code, out, _ = spolia("plan", "asked.py", "--data", str(data))
    assert code == 0
    assert "folder/pets: no class, since without images: bird" in words(out)


@pytest.mark.parametrize(
    ("size", "text"), [(300, "0.3 KiB"), (2**21, "2.0 MiB"), (3 * 2**30, "3.0 GiB")]
)
def test_sizes_are_told_in_a_unit_that_fits(size, text):
    assert readable_size(size) == text
