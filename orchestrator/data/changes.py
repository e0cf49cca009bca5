"""What a task does to its images before they are used: shifts of domain, another size, three
channels. Pure functions of the pixels and of names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from orchestrator.data.space import space
from orchestrator.spec.canonical import derive
from orchestrator.spec.task import IGNORED, Task

Pixels = NDArray[np.uint8]
AT_ONCE = 4096  # images that are changed at once; noise of one piece takes eight times their room


def changed(x: Pixels, task: Task, part: str, rows: NDArray[np.int64] | None = None) -> Pixels:
    """Images [N, C, H, W] of these rows (all) as the task wants them: shifted, then resized, then
    with three channels. They are changed piece by piece: `x` may be larger than memory, and what
    comes of it, too.
    """
    rows = np.arange(len(x)) if rows is None else rows
    random = np.random.RandomState(derive("noisy", f"{task.digest}/{part}") % 2**32)

    def change(piece: Pixels) -> Pixels:
        if task.shift:
            piece = _shifted(piece, task.shift[0], task.shift[1], random)
        if task.size:
            piece = _resized(piece, task.size)
        if task.coloured and piece.shape[1] == 1:
            piece = np.repeat(piece, 3, axis=1)
        return piece

    return _piecewise(x, rows, change)


def changed_masks(
    masks: Pixels, rows: NDArray[np.int64], table: NDArray[np.int8], task: Task
) -> NDArray[Any]:
    """Labels [N, H, W] of the pixels of these rows of masks [., 1, H, W], whose values the table
    translates; changed as the task's images are, as far as pixels move.
    """

    def change(piece: Pixels) -> NDArray[Any]:
        labels = table[piece]
        if task.each_pixel:
            return _moved(labels, task, _nearest)
        # Of an object and its background half-covered pixels can be decided.
        objects = _moved((labels == 1).astype(np.uint8), task, _resized_masks)
        if not (labels < 0).any():
            return objects.view(np.int8)
        unlabelled = _moved((labels < 0).astype(np.uint8), task, _resized_masks)
        return np.where(unlabelled == 1, np.int8(IGNORED), objects.view(np.int8))

    return _piecewise(masks, rows, change)[:, 0]


def _piecewise(
    x: Pixels, rows: NDArray[np.int64], change: Callable[[Pixels], NDArray[Any]]
) -> NDArray[Any]:
    """What a change makes of these rows, a piece at a time, in their order."""
    first = change(x[rows[:AT_ONCE]])
    out = space((len(rows), *first.shape[1:]), first.dtype)
    out[:AT_ONCE] = first
    for start in range(AT_ONCE, len(rows), AT_ONCE):
        out[start : start + AT_ONCE] = change(x[rows[start : start + AT_ONCE]])
    return out


def _moved(
    masks: NDArray[Any], task: Task, resize: Callable[[NDArray[Any], int], NDArray[Any]]
) -> NDArray[Any]:
    """Masks [N, 1, H, W] after what moves pixels; other shifts do not concern them."""
    if task.shift and task.shift[0] in ("rotated", "permuted"):
        masks = _shifted(masks, task.shift[0], task.shift[1], None)
    return resize(masks, task.size) if task.size else masks


def _resized_masks(masks: Pixels, size: int) -> Pixels:
    """Masks of 0 and 1: a pixel is the object's where half of it is covered."""
    return (_resized(masks * np.uint8(255), size) >= 128).astype(np.uint8)


def _nearest(labels: NDArray[Any], size: int) -> NDArray[Any]:
    """Labels [N, 1, H, W] at another size: each pixel has that of the nearest."""
    height, width = labels.shape[2:]
    down = (np.arange(size) * 2 + 1) * height // (2 * size)
    right = (np.arange(size) * 2 + 1) * width // (2 * size)
    return labels[:, :, down[:, None], right]


def _shifted(
    x: NDArray[Any], kind: str, amount: float, random: np.random.RandomState | None
) -> NDArray[Any]:
    """`random` is the stream of noise, which goes on from piece to piece."""
    if kind == "inverted":
        return 255 - x
    if kind == "permuted":
        numbered = np.random.RandomState(derive("permuted", int(amount)) % 2**32)
        order = numbered.permutation(x.shape[2] * x.shape[3])
        return x.reshape(*x.shape[:2], -1)[:, :, order].reshape(x.shape)
    if kind == "rotated":
        return np.rot90(x, int(amount) // 90, axes=(2, 3))
    if kind == "contrast":
        return _to_bytes((x.astype(np.float32) - 127.5) * amount + 127.5)
    assert kind == "noisy"
    assert random is not None
    # Its deviation is `amount` of the range of brightness.
    return _to_bytes(x + random.standard_normal(x.shape) * amount * 255)


def _resized(x: Pixels, size: int) -> Pixels:
    out = np.empty((len(x), x.shape[1], size, size), dtype=np.uint8)
    for start in range(0, len(x), 1024):
        piece = torch.from_numpy(np.ascontiguousarray(x[start : start + 1024])).float()
        scaled = torch.nn.functional.interpolate(
            piece, (size, size), mode="bilinear", align_corners=False, antialias=True
        )
        out[start : start + 1024] = _to_bytes(scaled.numpy())
    return out


def _to_bytes(x: NDArray[np.floating]) -> Pixels:
    """Rounded and cut to 0..255."""
    pixels: Pixels = np.clip(np.rint(x), 0, 255).astype(np.uint8)
    return pixels
