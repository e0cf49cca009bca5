"""What a task does to its images before they are used: shifts of domain, another size, three
channels. Pure functions of the pixels and of names.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from orchestrator.spec.canonical import derive
from orchestrator.spec.task import Task

Pixels = NDArray[np.uint8]


def changed(x: Pixels, task: Task, part: str) -> Pixels:
    """Images [N, C, H, W] as the task wants them: shifted, then resized, then with three
    channels.
    """
    if task.shift:
        x = _shifted(x, task.shift[0], task.shift[1], f"{task.digest}/{part}")
    if task.size:
        x = _resized(x, task.size)
    if task.coloured and x.shape[1] == 1:
        x = np.repeat(x, 3, axis=1)
    return np.ascontiguousarray(x)


def changed_masks(masks: Pixels, task: Task) -> Pixels:
    """Masks [N, 1, H, W] of 0 and 1 changed as the task's images are; only what moves pixels
    concerns them.
    """
    if task.shift and task.shift[0] in ("rotated", "permuted"):
        masks = _shifted(masks, task.shift[0], task.shift[1], "")
    if task.size:
        masks = (_resized(masks * np.uint8(255), task.size) >= 128).astype(np.uint8)
    return np.ascontiguousarray(masks)


def _shifted(x: Pixels, kind: str, amount: float, stream: str) -> Pixels:
    if kind == "inverted":
        return 255 - x
    if kind == "permuted":
        random = np.random.RandomState(derive("permuted", int(amount)) % 2**32)
        order = random.permutation(x.shape[2] * x.shape[3])
        return x.reshape(*x.shape[:2], -1)[:, :, order].reshape(x.shape)
    if kind == "rotated":
        return np.rot90(x, int(amount) // 90, axes=(2, 3))
    if kind == "contrast":
        return _to_bytes((x.astype(np.float32) - 127.5) * amount + 127.5)
    assert kind == "noisy"
    return _noisy(x, amount, stream)


def _noisy(x: Pixels, amount: float, stream: str) -> Pixels:
    """With normal noise, `amount` of the range of brightness as its standard deviation."""
    random = np.random.RandomState(derive("noisy", stream) % 2**32)
    out = np.empty_like(x)
    # In pieces: the noise is eight times as large as the images.
    for start in range(0, len(x), 4096):
        piece = x[start : start + 4096]
        noise = random.standard_normal(piece.shape) * amount * 255
        out[start : start + 4096] = _to_bytes(piece + noise)
    return out


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
