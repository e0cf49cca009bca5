"""Sets that are larger than memory: mapped from their files and read a batch at a time."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from image_sets import write_folders

from orchestrator import digits, image_folder
from orchestrator.data import batches, changes, sources, space
from orchestrator.data.changes import changed
from orchestrator.data.decoded import mapped
from orchestrator.data.resolve import resolve_task

CPU = torch.device("cpu")


def memory():
    """Bytes of memory and swap that this machine has."""
    rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(rows[name].split()[0]) * 1024 for name in ("MemTotal", "SwapTotal"))


def test_a_file_larger_than_memory_can_be_mapped(tmp_path):
    """A file with holes: it has the size, and takes no room on disk."""
    count = 2 * memory() // 3072
    about = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, 32, 32)}
    with open(tmp_path / "train.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, about)
        file.truncate(file.tell() + count * 3072)
    np.save(tmp_path / "train_labels.npy", np.zeros(1, dtype=np.int64))
    x, _ = mapped(tmp_path, "train")
    assert x.shape == (count, 3, 32, 32)
    assert not x[-1].any()


def test_what_is_written_to_mapped_images_does_not_reach_the_file(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4)
    np.save(tmp_path / "train.npy", images)
    np.save(tmp_path / "train_labels.npy", np.zeros(2, dtype=np.int64))
    x, _ = mapped(tmp_path, "train")
    x[:] = 0
    assert np.array_equal(np.load(tmp_path / "train.npy"), images)
    assert np.array_equal(mapped(tmp_path, "train")[0], images)


def is_mapped(address, name):
    """Whether an address lies where a file of this name is mapped."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(edge, 16) for edge in line.split()[0].split("-"))
        if first <= address < last:
            return line.rstrip().endswith(name)
    return False


@pytest.fixture
def pets(tmp_path, monkeypatch, store):
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))
    root = write_folders(
        tmp_path / "pets", {f"{p}/{c}": 4 for p in ("train", "test") for c in "ab"}
    )
    return resolve_task(image_folder(str(root)).images(limit=6), store)


def test_batches_are_read_from_the_mapped_file(pets):
    x, _ = batches.tensors(pets.train, CPU)
    images = sources.load(pets.data)
    assert is_mapped(x.base.data_ptr(), str(images.folder / "train.npy"))
    assert len(x.rows) < len(x.base)


def test_a_device_that_is_too_small_gets_a_batch_at_a_time(pets, monkeypatch):
    """The device is a CPU that is taken for a small one; the images stay in their file."""
    monkeypatch.setattr(batches, "_fits", lambda size, device: False)
    device = torch.device("meta")
    x, _ = batches._stored(pets, "train", device, "")
    assert is_mapped(x.base.data_ptr(), "train.npy")
    assert x.take(torch.tensor([0, 1])).device == device


def test_what_fits_on_a_device_is_brought_there_once(pets):
    x, _ = batches._stored(pets, "train", torch.device("meta"), "")
    assert (x.base.device.type, x.rows) == ("meta", None)


def test_a_large_array_lies_in_a_file_without_a_name(tmp_path, monkeypatch):
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(space, "LARGEST_IN_MEMORY", 100)
    array = space.space((3, 50), np.uint8)
    array[:] = 7
    assert is_mapped(array.ctypes.data, "(deleted)")
    assert list((tmp_path / "cache/decoded").iterdir()) == []
    assert not is_mapped(space.space((2, 50), np.uint8).ctypes.data, "(deleted)")


@pytest.mark.parametrize(
    "verb",
    [
        lambda task: task.resized(12).rgb(),
        lambda task: task.shifted("noisy"),
        lambda task: task.shifted("permuted"),
    ],
    ids=["resized", "noisy", "permuted"],
)
def test_images_are_changed_piece_by_piece_to_the_same_bits(store, monkeypatch, verb):
    task = resolve_task(verb(digits), store)
    x = sources.load("digits").test[0]
    chosen = np.arange(3, 103, 2)
    at_once = changed(x, task, "test", chosen)
    monkeypatch.setattr(changes, "AT_ONCE", 7)
    assert np.array_equal(changed(x, task, "test", chosen), at_once)


def test_statistics_do_not_depend_on_how_many_images_are_taken_at_once(monkeypatch):
    x = sources.load("digits").train[0]
    at_once = sources._statistics(x)
    monkeypatch.setattr(sources, "BYTES_AT_ONCE", 1000)
    assert sources._statistics(x) == at_once
    assert os.path.getsize(sources.load("digits").folder / "train.npy") > 1000
