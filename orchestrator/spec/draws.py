"""How a fit reads a task: which part, with what drawn, labelled and augmented; and sources of
noise, which have no images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from orchestrator.errors import InputError


@dataclass(frozen=True)
class RandInt:
    """Integers from 0 to `high` - 1, one an image, drawn anew each epoch by name."""

    high: int


@dataclass(frozen=True)
class Normal:
    """Normal numbers of mean 0 and variance 1, of this shape an image, drawn anew each epoch by
    name.
    """

    shape: tuple[int, ...]


def randint(high: int) -> RandInt:
    """Declare a random draw of a loss: `task.train.drawing(rotation=randint(4))`."""
    if high < 1:
        raise InputError(f"randint({high}) has nothing to draw from")
    return RandInt(high)


def normal(*shape: int) -> Normal:
    """Declare normal noise of a loss: `task.train.drawing(jitter=normal(64, 8, 8))` gives
    `batch.jitter`, [B, 64, 8, 8].
    """
    if any(size < 1 for size in shape):
        raise InputError(f"normal{shape} has no number to draw")
    return Normal(shape)


Draw = RandInt | Normal


@dataclass(frozen=True, kw_only=True)
class Noise:
    """A data set without images: `x` is normal noise, [B, *shape], new in every batch; an epoch has
    `images` of them. There is no label.
    """

    shape: tuple[int, ...]
    images: int
    draws: tuple[tuple[str, Draw], ...] = ()
    order: str = ""
    part: Literal["train"] = "train"
    because: str = "noise is no part of any data"

    def drawing(self, **draws: Draw) -> Noise:
        return replace(self, draws=(*self.draws, *draws.items()))

    def ordered(self, name: str) -> Noise:
        return replace(self, order=name)


def noise(*shape: int, images: int) -> Noise:
    """A source of noise as a fit's data: `noise(64, 8, 8, images=1000)`."""
    if not shape or any(size < 1 for size in shape) or images < 1:
        raise InputError(f"noise{shape} with images={images} has no number to draw")
    return Noise(shape=shape, images=images)
