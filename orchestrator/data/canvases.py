"""Grey objects on textured canvases, and the masks of their pixels: a small set for segmentation,
made of one that is there.

Whole numbers only, and a random stream that is frozen for good: every machine makes the same bytes,
so they have one digest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.readers import Pixels
from orchestrator.spec.canonical import derive

BORDER = 4  # pixels by which a canvas is larger than its object, which lies anywhere on it
VISIBLE = 25  # brightness above which a pixel belongs to the object
AT_ONCE = 2048


def pasted_arrays(objects: Pixels, seed: int, part: str) -> tuple[Pixels, Pixels]:
    """Objects [N, 1, H, W] to images and masks (1 on the object, 0 elsewhere), both [N, 1, H + 4, W
    + 4].
    """
    random = np.random.RandomState(derive("pasted", seed, part) % 2**32)
    images, masks = [], []
    for start in range(0, len(objects), AT_ONCE):
        canvas, mask = _pasted(objects[start : start + AT_ONCE], random)
        images.append(canvas)
        masks.append(mask)
    return np.concatenate(images)[:, None], np.concatenate(masks)[:, None]


def _pasted(objects: Pixels, random: np.random.RandomState) -> tuple[Pixels, Pixels]:
    """Objects [N, 1, H, W] to images and masks, both [N, H + 4, W + 4]."""
    count, _, height, width = objects.shape
    shape = (count, height + BORDER, width + BORDER)
    canvas = _texture(shape, random)
    offsets = random.randint(0, BORDER + 1, (count, 2))
    mask = np.zeros(shape, dtype=np.uint8)
    for number, (down, right) in enumerate(offsets):
        window = (number, slice(down, down + height), slice(right, right + width))
        visible = objects[number, 0] > VISIBLE
        mask[window] = visible
        canvas[window] = np.where(visible, objects[number, 0], canvas[window])
    return canvas, mask


def _texture(shape: tuple[int, int, int], random: np.random.RandomState) -> Pixels:
    """Patches, stripes of any slope, and grain: no brightness tells the object from its canvas."""
    count, height, width = shape
    patches = random.randint(0, 140, (count, -(-height // 4), -(-width // 4)))
    patches = patches.repeat(4, 1).repeat(4, 2)[:, :height, :width]
    slope = random.randint(-3, 4, (count, 1, 1))
    period = random.randint(3, 8, (count, 1, 1))
    strength = random.randint(0, 80, (count, 1, 1))
    down, right = np.arange(height)[None, :, None], np.arange(width)[None, None, :]
    stripes: NDArray[np.int64] = (right * 2 + down * slope) // period % 2 * strength
    grain = random.randint(-20, 21, shape)
    canvas: Pixels = np.clip(patches + stripes + grain, 0, 255).astype(np.uint8)
    return canvas
