"""Images and labels of a part of a task as tensors: to look at, and to measure by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from orchestrator.data import sources
from orchestrator.data.batches import in_order, tensors
from orchestrator.errors import InputError
from orchestrator.spec.task import Data, Task

CPU = torch.device("cpu")


@dataclass(frozen=True, repr=False)
class LabelledImages:
    """Images `x`, [n, channels, height, width], and their labels `y`, int64, [n] (where labels are
    masks: [n, height, width]), of the task and part `data`; made by `images`.

    `x, y = images(task.test)` takes them apart. `dataclasses.replace(pictures, x=...)` puts other
    images under the same labels.
    """

    data: Data
    x: Tensor
    y: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        yield self.x
        yield self.y

    def __len__(self) -> int:
        return len(self.x)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the labels stand for, from label 0."""
        return self.data.task.class_names

    def __repr__(self) -> str:
        shape, kind = "x".join(map(str, self.x.shape[1:])), str(self.x.dtype).removeprefix("torch.")
        return (
            f"{len(self)} images of {self.data.task.name}, {self.data.part}: x {kind} {shape}, "
            f"y of {len(self.class_names)} classes"
        )


def images(data: Task | Data, *, raw: bool = False) -> LabelledImages:
    """All images of a part of a task (of a task: its test part) and their labels, in their own
    order, on the CPU: `images(task.test)`, `images(task.train.few(100, seed=0))`.

    As networks take them: float32, normalised as the task says. `raw=True` gives the pixels as they
    are, uint8, 0 to 255, for a figure. Nothing is augmented. Raises InputError for a part without
    images.

    Example:
        >>> from orchestrator import digits, images
        >>> images(digits.classes(0, 1).named("a").test.few(6, seed=0))  # doctest: +SKIP
        6 images of a, test: x float32 1x8x8, y of 2 classes
    """
    part = part_of(data)
    pixels, labels = tensors(part, CPU)
    if not len(labels):
        raise InputError(f"{part.task.name} has no {part.part} image")
    if raw:
        # Copies: these tensors are shared by all who read the task.
        everything = slice(0, len(labels))
        return LabelledImages(part, pixels.take(everything).clone(), labels.long().clone())
    batches = list(in_order(part, CPU))
    x = torch.cat([x for x, _ in batches])  # [n, C, H, W]
    return LabelledImages(part, x, torch.cat([y for _, y in batches]))


def part_of(data: Task | Data) -> Data:
    """What was asked for as a part of a task whose classes are known: of a task its test part.
    Raises InputError for anything else.
    """
    if isinstance(data, Task):
        data = data.test
    if not isinstance(data, Data):
        raise InputError(
            f"images are asked for as task.test, task.train or task.validation_part, got {data!r}"
        )
    return replace(data, task=known(data.task))


def known(task: Task) -> Task:
    """The task as a plan would resolve it, from the images on this machine; one that comes from a
    result is resolved already.
    """
    return task if task.digest else task.resolve(sources.load(task.data).record)
