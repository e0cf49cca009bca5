"""A whole set decoded in one pass: all that is wrong at once, what its record says, progress."""

from __future__ import annotations

import hashlib
import io
import json
import sys

import numpy as np
import pytest
from image_sets import encoded, pixels, write_folders, write_tables
from PIL import Image

from orchestrator import image_folder, parquet
from orchestrator.data import decoding, sources
from orchestrator.data.decoding import GrowingArray, Progress
from orchestrator.errors import DataError

PETS = {"train/cat": 3, "train/dog": 3, "test/cat": 2, "test/dog": 2}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pets(tmp_path):
    return write_folders(tmp_path / "pets", PETS)


def record(root, **options):
    return sources.load(image_folder(str(root), **options).data).record


def warnings(root, **options):
    return record(root, **options).warnings


# ---------------------------------------------------------------------- what is wrong


def test_everything_that_is_wrong_is_told_at_once_by_reason_with_the_first_files(pets):
    for i in range(6):
        (pets / f"train/cat/{i}.png").write_bytes(encoded(pixels(i))[:60])
    (pets / "train/dog/0.png").write_bytes(b"")
    (pets / "test/dog/deep.tif").write_bytes(encoded(np.zeros((8, 8), np.float32), "TIFF"))
    with pytest.raises(DataError) as caught:
        record(pets)
    cut, *others = caught.value.problems
    assert cut.endswith(
        "cannot be decoded: the file is cut short (6 of 14 images): "
        "train/cat/0.png; train/cat/1.png; train/cat/2.png; train/cat/3.png and 2 more"
    )
    assert sorted(line.partition(": ")[2] for line in others) == [
        "cannot be decoded: the file is empty (1 of 14 images): train/dog/0.png",
        "mode F has floating-point numbers, and nothing says which is white; save it with 8 or 16 "
        "bits (1 of 14 images): test/dog/deep.tif",
    ]


def test_nothing_of_a_set_that_cannot_be_used_stays_in_the_cache(pets, tmp_path):
    (pets / "train/cat/0.png").write_bytes(b"")
    with pytest.raises(DataError):
        record(pets)
    assert list((tmp_path / "cache/decoded").iterdir()) == []


# ---------------------------------------------------------------------- what the record says


def test_a_record_counts_modes_sizes_and_classes(pets):
    (pets / "train/cat/0.png").write_bytes(encoded(pixels(0, grey=True)))
    (pets / "test/cat/0.png").write_bytes(encoded(pixels(0, height=9)))
    found = record(pets, size=8)
    assert found.modes == (("RGB", 9), ("L", 1))
    assert found.sizes == (("8x8", 9), ("9x8", 1))
    assert found.class_counts == ((3, 2), (3, 2))


def test_many_sizes_are_summed_up():
    counts = {f"{i}x8": 20 - i for i in range(1, 12)}
    listed = decoding.counted(counts)
    assert len(listed) == decoding.SIZES_KEPT + 1
    assert listed[-1] == ("others", 11 + 10 + 9)


def test_a_class_without_test_images_is_told(tmp_path):
    root = write_folders(tmp_path / "pets", {"train/cat": 2, "train/dog": 1, "test/cat": 1})
    assert warnings(root) == ("no test image of class dog",)


def test_a_class_without_any_image_is_told(tmp_path):
    about = {b"huggingface": {"info": {"features": {"label": {"names": ["a", "b", "c", "d"]}}}}}
    folder = write_tables(tmp_path / "pets", label=[0, 0], about=about)
    found = sources.load(parquet(str(folder)).data).record
    assert "no image of the classes b, c, d" in found.warnings


def test_classes_of_rows_that_are_left_out_are_told(tmp_path):
    columns = {"label": ["a", "a", "b"], "domain": ["photo", "photo", "sketch"]}
    folder = write_tables(tmp_path / "pets", **columns)
    found = sources.load(parquet(str(folder), where={"domain": "photo"}).data).record
    assert (found.classes, found.class_counts) == (("a", "b"), ((2, 2), (0, 0)))
    assert "no image of class b" in found.warnings


def test_images_that_are_nearly_black_because_they_have_twelve_bits_are_told(pets):
    for path in pets.rglob("*.png"):
        path.write_bytes(encoded(np.full((8, 8), 4095, np.uint16)))
    (told,) = [words for words in warnings(pets) if "16 bits" in words]
    assert told.startswith("images of 16 bits: 10, nothing in them brighter than 4,095 of 65,535")


def test_transparency_and_frames_are_told(pets):
    (pets / "train/cat/0.png").write_bytes(encoded(Image.new("RGBA", (8, 8), (1, 2, 3, 4))))
    more = [Image.fromarray(pixels(1))]
    first = Image.fromarray(pixels(0))
    (pets / "train/cat/1.png").write_bytes(encoded(first, save_all=True, append_images=more))
    assert warnings(pets) == (
        "images that are partly transparent: 1; what lies beneath is seen",
        "images of several frames: 1; the first is read",
    )


def test_test_images_that_are_trained_on_are_told(pets):
    (pets / "test/dog/0.png").write_bytes((pets / "train/cat/1.png").read_bytes())
    assert warnings(pets) == ("test images that are, byte for byte, in the training part: 1",)


def test_how_images_are_read_is_part_of_the_digest(pets):
    others = ({}, {"reduced": True}, {"scaled": 9}, {"scaled": "whole"})
    assert len({record(pets, size=8, **other).digest for other in others}) == len(others)


def test_the_digest_of_plain_images_is_that_of_their_bytes_and_labels(pets):
    """As in all versions: it enters the keys of results."""
    sha = hashlib.sha256(json.dumps([["cat", "dog"], None]).encode())
    for part in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            for path in sorted((pets / part / name).iterdir()):
                sha.update(part.encode() + label.to_bytes(8, "little"))
                sha.update(hashlib.sha256(path.read_bytes()).digest())
    assert record(pets).digest == sha.hexdigest()


def test_boxes_and_masks_are_part_of_the_digest(tmp_path):
    masks = [encoded(np.full((8, 8), value, np.uint8)) for value in (0, 1)]
    found = set()
    for number, options in enumerate(
        (
            {"box": [[0, 0, 4, 4]], "mask": [masks[0]]},
            {"box": [[0, 0, 4, 4]], "mask": [masks[1]]},
            {"box": [[1, 0, 4, 4]], "mask": [masks[1]]},
        )
    ):
        folder = write_tables(tmp_path / str(number), label=[0], **options)
        task = parquet(str(folder), mask="mask", crop="box")
        found.add(sources.load(task.data).record.digest)
    assert len(found) == 3


# ---------------------------------------------------------------------- arrays that grow


def test_an_array_that_grows_is_what_numpy_would_have_saved(tmp_path):
    images = np.random.RandomState(0).randint(0, 256, (5, 3, 4, 6), dtype=np.uint8)
    array = GrowingArray(tmp_path / "x.npy")
    for image in images:
        array.append(image)
    array.close()
    assert np.array_equal(np.load(tmp_path / "x.npy"), images)


def test_grey_images_before_the_first_with_colours_get_three_channels(tmp_path):
    array = GrowingArray(tmp_path / "x.npy")
    grey = np.arange(24, dtype=np.uint8).reshape(1, 4, 6)
    array.append(grey)
    array.widen(3)
    array.append(grey)
    array.close()
    assert np.array_equal(np.load(tmp_path / "x.npy"), np.repeat(grey[None], 3, 1).repeat(2, 0))


# ---------------------------------------------------------------------- progress


class Screen(io.StringIO):
    def __init__(self, *, is_terminal):
        super().__init__()
        self.isatty = lambda: is_terminal


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(decoding.time, "monotonic", lambda: now[0])
    return now


def shown(monkeypatch, clock, *, is_terminal, until):
    screen = Screen(is_terminal=is_terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress("folder/pets", 1000) as progress:
        for second in range(until):
            clock[0] += 1
            progress.at((second + 1) * 10)
    return screen.getvalue()


def test_what_is_done_in_a_moment_shows_no_progress(monkeypatch, clock):
    assert shown(monkeypatch, clock, is_terminal=True, until=1) == ""


def test_on_a_terminal_progress_stays_in_its_line_and_goes(monkeypatch, clock):
    written = shown(monkeypatch, clock, is_terminal=True, until=4)
    assert "\n" not in written
    assert "folder/pets: 40 of 1,000 images decoded, 10 a second" in written
    assert written.endswith("\r\033[K")


def test_in_a_log_progress_is_a_line_now_and_then(monkeypatch, clock):
    lines = shown(monkeypatch, clock, is_terminal=False, until=30).splitlines()
    assert [line.split()[1] for line in lines] == ["20", "120", "220"]


def test_decoding_tells_its_progress(pets, monkeypatch):
    told = []
    monkeypatch.setattr(Progress, "at", lambda self, count: told.append((self._total, count)))
    record(pets)
    assert told[-1] == (10, 10)
