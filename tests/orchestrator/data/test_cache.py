"""The cache of decoded images: what lies there, what of it is of use, what may go."""

from __future__ import annotations

import os
import shutil

import pytest
from image_sets import write_folders

from orchestrator import image_folder
from orchestrator.data import decoded, sources
from orchestrator.data.cache import can_go, generations

PETS = {"train/a": 2, "test/a": 1}


@pytest.fixture
def pets(tmp_path, monkeypatch):
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoded, "_held", {})
    return write_folders(tmp_path / "pets", PETS)


def load(root):
    return sources.load(image_folder(str(root)).data)


def let_go():
    """What the end of a process does."""
    for descriptor in decoded._held.values():
        os.close(descriptor)
    decoded._held.clear()


def test_a_set_whose_files_are_as_they_were_is_current_and_stays(pets):
    images = load(pets)
    (found,) = generations()
    assert (found.folder, found.name, found.use) == (images.folder, images.record.name, "current")
    assert found.size == sum(path.stat().st_size for path in images.folder.iterdir())
    assert not can_go(found, everything=False)


def test_what_was_decoded_from_files_that_changed_is_old_and_may_go(pets):
    load(pets)
    os.utime(pets / "train/a/0.png", (1, 1))
    let_go()
    (found,) = generations()
    assert (found.use, can_go(found, everything=False)) == ("old", True)


def test_what_a_version_of_another_format_left_is_old(pets):
    folder = decoded.home() / "before"
    folder.mkdir(parents=True)
    (folder / "about.json").write_text("{}")
    (found,) = generations()
    assert (found.name, found.use) == ("a set of an unknown version", "old")


def test_what_a_killed_process_left_is_unfinished_and_may_go(pets):
    load(pets)
    let_go()
    (decoded.home() / ".name.x7").mkdir()
    found = {generation.use: generation for generation in generations()}
    assert can_go(found["unfinished"], everything=False)


def test_what_is_being_decoded_may_not_go(pets):
    decoded.home().mkdir(parents=True)
    with decoded._locked(decoded._lock_path("name")):
        (decoded.home() / ".name.x7").mkdir()
        (found,) = generations()
        assert found.is_held
        assert not can_go(found, everything=True)


def test_a_set_whose_files_are_elsewhere_is_kept_unless_everything_is_to_go(pets):
    load(pets)
    let_go()
    shutil.rmtree(pets)
    (found,) = generations()
    assert found.use == "without its files"
    assert [can_go(found, everything=every) for every in (False, True)] == [False, True]


def test_what_this_process_uses_may_not_go(pets):
    images = load(pets)
    os.utime(pets / "train/a/0.png", (1, 1))
    (found,) = generations()
    assert found.is_held
    assert not can_go(found, everything=True)
    assert not decoded.discard(images.folder)
    assert images.folder.exists()


def test_what_was_discarded_is_decoded_again(pets):
    before = load(pets)
    let_go()
    assert decoded.discard(before.folder)
    assert generations() == []
    sources._load.cache_clear()
    assert load(pets).record == before.record
