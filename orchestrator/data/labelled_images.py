"""Images and labels of a part of a task as tensors: to look at, and to measure by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from orchestrator.data.batches import in_order, tensors
from orchestrator.data.resolve import known
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

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise InputError(
                f"there are {len(self.x)} images for the {len(self.y)} labels of "
                f"{self.data.task.name}, {self.data.part}; one label belongs to one image"
            )

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
    if not raw:
        return images_on(part, CPU)
    pixels, labels = tensors(part, CPU)
    _check_any(part, labels)
    # Copies: these tensors are shared by all who read the task.
    everything = slice(0, len(labels))
    return LabelledImages(part, pixels.take(everything).clone(), labels.long().clone())


def images_on(data: Data, device: torch.device) -> LabelledImages:
    """All images of a part of a task, normalised, and their labels, on a device. Raises InputError
    for a part without images.
    """
    _check_any(data, tensors(data, device)[1])
    batches = list(in_order(data, device))
    x = torch.cat([x for x, _ in batches])  # [n, C, H, W]
    return LabelledImages(data, x, torch.cat([y for _, y in batches]))


def _check_any(data: Data, labels: Tensor) -> None:
    if not len(labels):
        raise InputError(f"{data.task.name} has no {data.part} image")


def part_of(data: Task | Data) -> Data:
    """What was asked for as a part of a task whose classes are known: of a task its test part.
    Raises InputError for anything else.
    """
    if isinstance(data, Task):
        data = data.test
    if not isinstance(data, Data):
        # Not its repr: that of a list of tasks or of a component's state would fill the screen.
        got = repr(data) if isinstance(data, str) else type(data).__name__
        raise InputError(
            f"images are asked for as task.test, task.train or task.validation_part, got {got}; "
            "components have a task, component.task, and results several, result.tasks['a']"
        )
    return replace(data, task=known(data.task))
