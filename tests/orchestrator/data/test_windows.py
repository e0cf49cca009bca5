"""Windows around a category and away from it, cut from scenes with masks."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from orchestrator import DataError, Trial, digits, images, pasted, resolve, windows
from orchestrator.data import sources
from orchestrator.data.scenes import windows_arrays

SCENES = pasted(digits)  # 12 x 12 pixels, masks of background and foreground


def scenes(count=40, height=20, width=30, seed=0):
    """Noise, with a class 3 on a rectangle of most of them."""
    random = np.random.RandomState(seed)
    x = random.randint(0, 256, (count, 3, height, width)).astype(np.uint8)
    masks = np.zeros((count, 1, height, width), dtype=np.uint8)
    for number in range(5, count):
        top, left = random.randint(0, height - 4), random.randint(0, width - 6)
        masks[number, 0, top : top + 4, left : left + 6] = 3
    masks[-1] = 3  # one shows nothing else
    return x, masks


def test_one_around_a_pixel_and_one_without_any():
    x, masks = scenes()
    cut, labels, cut_masks = windows_arrays(x, masks, 3, 8, 0, "train")
    assert (cut.shape[1:], cut_masks.shape[1:]) == ((3, 8, 8), (1, 8, 8))
    has = (cut_masks == 3).any((1, 2, 3))
    assert (has == (labels == 1)).all()
    # Five scenes are without the class, and one is without anything else.
    assert np.bincount(labels).tolist() == [39, 35]


def test_a_window_is_a_piece_of_its_scene_and_depends_on_no_other():
    x, masks = scenes()
    cut, labels, _ = windows_arrays(x, masks, 3, 8, 0, "train")
    first = x[0]  # without the class, so its only window is the first
    places = [
        (top, left)
        for top in range(13)
        for left in range(23)
        if np.array_equal(first[:, top : top + 8, left : left + 8], cut[0])
    ]
    assert len(places) == 1
    other_masks = masks.copy()
    other_masks[:20] = 0
    again, labels_again, _ = windows_arrays(x, other_masks, 3, 8, 0, "train")
    assert np.array_equal(again[-30:], cut[-30:])
    assert np.array_equal(labels_again[-30:], labels[-30:])
    assert not np.array_equal(windows_arrays(x, masks, 3, 8, 1, "train")[0], cut)


def test_the_two_questions_about_one_category(store):
    set_ = windows(SCENES, "foreground", size=6)
    which = set_.binary("foreground", called="category").named("which")
    where = set_.classes("foreground").foreground().named("where")
    trial = resolve(Trial(method=_any(), tasks=(which, where)), store)
    assert trial.tasks[0].class_names == ("rest", "category")
    assert trial.tasks[1].class_names == ("background", "foreground")
    shown = images(trial.tasks[1].test)
    assert shown.x.shape[1:] == (1, 6, 6)
    assert (shown.y == 1).any((1, 2)).all()
    record = sources.load(set_.data).record
    assert record.classes == ("rest", "foreground")
    assert record.mask_names == ("background", "foreground")


def _any():
    from methods.fine_tune import FineTune

    return FineTune()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: windows(SCENES.classes(1), "foreground", size=4), "takes a whole set"),
        (lambda: windows(SCENES, "", size=4), "cannot be meant"),
        (
            lambda: windows(windows(SCENES, "foreground", size=4), "foreground", size=4),
            "has windows already",
        ),
        (lambda: sources.load(windows(SCENES, "road", size=4).data), "no class of pixels 'road'"),
        (
            lambda: sources.load(windows(SCENES, "foreground", size=40).data),
            "have no window of 40 pixels",
        ),
    ],
)
def test_what_cannot_be_cut_is_told(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_windows_are_cut_again_after_the_cache_was_removed(tmp_path, monkeypatch):
    """By the process that has cut some: what it has mapped does not tell where the masks lay."""
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))
    sources._load.cache_clear()  # what other tests have loaded lies elsewhere
    first = sources.load(windows(SCENES, "foreground", size=6).data)
    shutil.rmtree(tmp_path / "cache")
    again = sources.load(windows(SCENES, "foreground", size=6).data)
    assert again.record == first.record
    assert again.folder.is_dir()
    shutil.rmtree(tmp_path / "cache")
    # Other windows of the same scenes, which are loaded already.
    assert sources.load(windows(SCENES, "foreground", size=5).data).record.shape[1:] == (5, 5)


@pytest.mark.parametrize("is_another_process", [False, True])
@pytest.mark.parametrize("gone", ["about.json", "train.npy", "train_masks.npy"])
def test_a_set_of_which_a_file_was_removed_is_decoded_again(
    tmp_path, monkeypatch, gone, is_another_process
):
    """As a program does that removes what nobody has read for long."""
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))
    sources._load.cache_clear()
    sources.load(windows(SCENES, "foreground", size=6).data)
    for file in (tmp_path / "cache" / "decoded").glob(f"*/{gone}"):
        file.unlink()
    if is_another_process:
        sources._load.cache_clear()
    # The same windows, and others of the same scenes.
    for size in (6, 4):
        again = sources.load(windows(SCENES, "foreground", size=size).data)
        assert again.record.shape[1:] == (size, size)
        assert again.folder.joinpath("train.npy").is_file()
