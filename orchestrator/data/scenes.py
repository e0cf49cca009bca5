"""Square windows of scenes, around a category and away from it: whether something is there can then
be told of scenes in which nearly everything is there.

Whole numbers only, and a random stream that is frozen for good: every machine makes the same bytes,
so they have one digest.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.readers import Labels, Pixels
from orchestrator.spec.canonical import derive

Corner = tuple[int, int]  # top and left of a window


def windows_arrays(
    scenes: Pixels, masks: Pixels, number: int, size: int, seed: int, part: str
) -> tuple[Pixels, Labels, Pixels]:
    """Of scenes [N, C, H, W] with masks [N, 1, H, W] the windows [M, C, size, size], their labels
    [M] and masks [M, 1, size, size]: of each scene one around a pixel of the class `number` (label
    1) and one without any such pixel (label 0), as far as it has such windows.
    """
    random = np.random.RandomState(derive("windows", seed, part) % 2**32)
    images, labels, cut_masks = [], [], []
    for scene, mask in zip(scenes, masks, strict=True):
        for label, (top, left) in _windows(mask[0] == number, size, random):
            window = (slice(None), slice(top, top + size), slice(left, left + size))
            images.append(scene[window])
            cut_masks.append(mask[window])
            labels.append(label)
    shape = (0, scenes.shape[1], size, size)
    if not images:
        return (
            np.zeros(shape, np.uint8),
            np.zeros(0, np.int64),
            np.zeros((0, 1, size, size), np.uint8),
        )
    return np.stack(images), np.array(labels, dtype=np.int64), np.stack(cut_masks)


def _windows(
    present: NDArray[np.bool_], size: int, random: np.random.RandomState
) -> Iterator[tuple[int, Corner]]:
    """Labels and corners of the windows of one scene; `present` [H, W] is where the class is."""
    height, width = present.shape
    pixels = np.argwhere(present)
    # Drawn for every scene, so that no window depends on what other scenes show.
    ours, others = random.randint(0, 2**31 - 1, 2)
    if len(pixels):
        row, column = pixels[ours % len(pixels)]
        top = int(np.clip(row - size // 2, 0, height - size))
        left = int(np.clip(column - size // 2, 0, width - size))
        yield 1, (top, left)
    away = np.argwhere(_counts(present, size) == 0)  # corners of the windows without any
    if len(away):
        top, left = (int(place) for place in away[others % len(away)])
        yield 0, (top, left)


def _counts(present: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
    """How many pixels of the class each window has, by its corner, [H - size + 1, W - size + 1]."""
    height, width = present.shape
    sums = np.zeros((height + 1, width + 1), dtype=np.int64)
    sums[1:, 1:] = present.cumsum(0, dtype=np.int64).cumsum(1)
    inside = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    counts: NDArray[np.int64] = inside
    return counts
