"""How a fit reads a task: which part, with what drawn, labelled and augmented; and sources of
noise, which have no images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from orchestrator.errors import InputError

if TYPE_CHECKING:
    from orchestrator.spec.task import Task

Part = Literal["train", "validation", "test"]
IGNORED = -100  # the label that cross entropy skips


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
class Data:
    """A part of a task as a fit reads it. Its batches carry `x` (float, normalised, [B, C, H, W]),
    `y` (int64, [B]), and what is declared here.
    """

    task: Task
    part: Part
    draws: tuple[tuple[str, Draw], ...] = ()
    labels: tuple[tuple[str, tuple[int, ...]], ...] = ()
    crop: int = 0
    flip: bool = False
    order: str = ""
    because: str = ""
    chosen: tuple[int, int] | None = None

    def few(self, count: int, *, seed: int | None) -> Data:
        """Only `count` of the images, equally many of each label as far as they go, drawn by the
        seed. Nested: the 10 are among the 20.
        """
        if count < 1:
            raise InputError(f"{self.task.name}: few({count}) leaves no image")
        return replace(self, chosen=(count, seed or 0))

    def drawing(self, **draws: Draw) -> Data:
        """Random numbers that the loss needs, one an image: `batch.rotation` for
        `drawing(rotation=randint(4))`.
        """
        return replace(self, draws=(*self.draws, *draws.items()))

    def labelled(self, **labels: Sequence[int]) -> Data:
        """A second label made of the first: entry c is the new label of class c; `IGNORED` (-100)
        leaves an image out of a cross entropy.
        """
        for name, mapping in labels.items():
            if len(mapping) != self.task.num_classes:
                raise InputError(
                    f"labelled({name}=...): {len(mapping)} entries for the {self.task.num_classes} classes of {self.task.name}"
                )
        return replace(self, labels=(*self.labels, *((k, tuple(v)) for k, v in labels.items())))

    def augmented(self, *, crop: int = 4, flip: bool = True) -> Data:
        """Random shifts by up to `crop` pixels (zero padding) and random horizontal flips, on the
        device.
        """
        return replace(self, crop=crop, flip=flip)

    def ordered(self, name: str) -> Data:
        """Name the stream of order, augmentation and draws: two data sets with equal names are read
        in the same order.
        """
        return replace(self, order=name)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """A data set without images: `x` is normal noise, [B, *shape], new in every batch; an epoch has
    `images` of them. There is no label.
    """

    shape: tuple[int, ...]
    images: int
    draws: tuple[tuple[str, Draw], ...] = ()
    order: str = ""
    part: Part = "train"
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
