"""Random numbers that a loss asks for, declared on its data; and data that is nothing but noise.

A loss never draws for itself: what it needs is declared here, drawn by the engine from a named
stream, and comes in the batch. So a fit draws the same numbers whether or not it was interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from orchestrator.errors import InputError


@dataclass(frozen=True)
class RandInt:
    """An integer from 0 to `high` - 1 for each image, drawn anew in each epoch: int64, [batch]."""

    high: int


@dataclass(frozen=True)
class Normal:
    """Normal numbers of mean 0 and variance 1 for each image, drawn anew in each epoch: float,
    [batch, *shape].
    """

    shape: tuple[int, ...]


Draw = RandInt | Normal


def randint(high: int) -> RandInt:
    """Declare a random integer for each image: `task.train.drawing(rotation=randint(4))` gives
    `batch.rotation`, [batch], of 0 to 3. Raises InputError where `high` is below 1.
    """
    if high < 1:
        raise InputError(f"randint({high}) has nothing to draw from")
    return RandInt(high)


def normal(*shape: int) -> Normal:
    """Declare normal noise for each image: `task.train.drawing(jitter=normal(64, 8, 8))` gives
    `batch.jitter`, [batch, 64, 8, 8]. Raises InputError where a size is below 1.
    """
    if any(size < 1 for size in shape):
        raise InputError(f"normal{shape} has no number to draw")
    return Normal(shape)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """A data set without images or labels: `batch.x` is normal noise, [batch, *shape], new in every
    batch. An epoch has as many as `images` says.
    """

    shape: tuple[int, ...]
    images: int
    draws: tuple[tuple[str, Draw], ...] = ()
    order: str = ""
    part: Literal["train"] = "train"
    because: str = "noise is no part of any data"  # why a fit may read it; see `refuse_test_part`

    def drawing(self, **draws: Draw) -> Noise:
        """The same noise, with random numbers that the loss needs beside it."""
        return replace(self, draws=(*self.draws, *draws.items()))

    def ordered(self, name: str) -> Noise:
        """The same noise from a stream of this name: two with equal names are equal."""
        return replace(self, order=name)


def noise(*shape: int, images: int) -> Noise:
    """A source of noise as a fit's data: `noise(64, 8, 8, images=1000)`. Raises InputError where
    there is nothing to draw.
    """
    if not shape or any(size < 1 for size in shape) or images < 1:
        raise InputError(f"noise{shape} with images={images} has no number to draw")
    return Noise(shape=shape, images=images)
