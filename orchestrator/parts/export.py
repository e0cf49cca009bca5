"""Components for use elsewhere: one file that torch opens by itself, without our code."""

from __future__ import annotations

import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from orchestrator.errors import InputError, nearest, option
from orchestrator.parts.result import Component, Result
from orchestrator.spec.preparation import Statistics
from orchestrator.spec.task import DataRecord, Task
from orchestrator.store.files import appears_whole
from orchestrator.store.store import Store

# What a module that takes no images raises: the wrong number of inputs; shapes that do not fit, or
# torch's own answer for a module without a `forward`, both of which are RuntimeErrors.
NOT_OF_IMAGES = (TypeError, RuntimeError)


def find_component(result: Result, name: str | None) -> Component:
    """The component of this title (`network-a`) or name; without either, the only one of the
    result. Raises InputError that lists the titles.
    """
    components = result.every_component()
    by_title = {c.record.title: c for c in components}
    if not components:
        raise InputError(
            f"{result.key[:12]} ({result.outcome}) kept no component, so there is nothing to export"
        )
    if name is None and len(components) == 1:
        return components[0]
    if name in by_title:
        return by_title[name]
    of_name = [c for c in components if c.record.name == name]
    if len(of_name) == 1:
        return of_name[0]
    if name is not None and not of_name:
        raise InputError(f"{result.key[:12]} has no component {name!r}. {nearest(name, by_title)}")
    raise InputError(
        f"{result.key[:12]} kept several; say which with {option('component')}: "
        f"{', '.join(by_title)}"
    )


class FromPixels(nn.Module):
    """A network of normalised images as one of pixels, 0 to 255: [B, C, H, W] to logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, by: Statistics) -> None:
        super().__init__()
        self.network = network
        for name, values in (("mean", by.mean), ("std", by.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1))  # [1, C, 1, 1]

    def forward(self, pixels: Tensor) -> Tensor:
        return cast(Tensor, self.network((pixels / 255 - self.mean) / self.std))


def of_pixels(
    component: Component,
) -> tuple[nn.Module, tuple[int, int, int], tuple[str, ...]]:
    """The ready network from pixels to logits, the shape of an image, and what its classes are
    called. Raises InputError where the store does not know the data.
    """
    task, record = _task_and_data(component, component.result.store)
    by = task.normalised_by or Statistics(record.mean, record.std)
    return FromPixels(component.ready(), by).eval(), task.image(record), tuple(task.class_names)


def _task_and_data(component: Component, store: Store) -> tuple[Task, DataRecord]:
    task = component.task if "task" in component.record.labels else component.result.trial.tasks[-1]
    record = store.data(task.data)
    if record is None:
        raise InputError(
            f"the store has no record of {task.data}; spolia data add {shlex.quote(task.data)}"
        )
    return task, record


def export(component: Component, store: Store) -> bytes:
    """The ready network (see `Component.ready`) as torch.export's archive, for batches of any size
    of the task's images, normalised as in training.

    `torch.export.load(file).module()(images)` gives the logits. Raises InputError for a component
    that is no network of images.
    """
    task, record = _task_and_data(component, store)
    images = torch.zeros(2, *task.image(record))  # [B, C, H, W]; B is left open
    any_batch = ({0: torch.export.Dim("batch")},)
    try:
        program = torch.export.export(component.ready(), (images,), dynamic_shapes=any_batch)
    except NOT_OF_IMAGES as error:
        raise not_of_images(component, tuple(images.shape[1:]), error) from error
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def not_of_images(component: Component, shape: Sequence[int], error: Exception) -> InputError:
    """What one of `NOT_OF_IMAGES`, raised for a component, says to whoever asked for it."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return InputError(
        f"{component.reference} is not a network that takes images {tuple(shape)}: {reason}"
    )


def write(content: bytes, path: Path) -> None:
    """The file appears whole or not at all. Raises InputError where it cannot be written."""
    try:
        with appears_whole(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
