"""From a declared `Data` to batches on the device. All randomness is named: order, crops, flips and
draws of an epoch depend on nothing before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from orchestrator.data import sources
from orchestrator.data.augmenting import cut, draw_changes, margin_of, padded
from orchestrator.data.changes import changed
from orchestrator.data.root import data_root
from orchestrator.errors import InputError
from orchestrator.spec.canonical import derive
from orchestrator.spec.draws import Noise, RandInt
from orchestrator.spec.preparation import Statistics
from orchestrator.spec.task import IGNORED, Data, Part, Task

LARGEST_READY = 256 * 2**20  # bytes of a set that is kept normalised on a CPU


class Batch:
    """Images `x` (float, normalised, [B, C, H, W]), labels `y` (int64, [B]), and what the data
    declared: extra labels and draws, each [B, ...].
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = tensors

    def __getattr__(self, name: str) -> Tensor:
        tensors: dict[str, Tensor] = self.__dict__.get("_tensors", {})
        if name in tensors:
            return tensors[name]
        raise AttributeError(
            f"the batch has no {name!r}, only {', '.join(tensors)}; "
            "declare it with .drawing(...) or .labelled(...)"
        )

    def __len__(self) -> int:
        return len(self._tensors["x"])


@dataclass(frozen=True)
class Pixels:
    """Images of a task, uint8, for a device. `rows` are the task's rows of `base`, a set that all
    workers of a node share, mapped from its file; None where `base` holds the task's own images.
    `base` lies on the device where it fits there, else batches of it are brought there.
    """

    base: Tensor
    rows: Tensor | None
    device: torch.device

    def take(self, index: Tensor | slice) -> Tensor:
        """The task's images at these positions, [B, C, H, W], on the device."""
        if isinstance(index, Tensor):
            index = index.to(self.base.device)
        return self.base[index if self.rows is None else self.rows[index]].to(self.device)

    def only(self, index: Tensor) -> Pixels:
        """Those of the task's images as a set of their own."""
        index = index.to(self.base.device)
        return Pixels(self.base, index if self.rows is None else self.rows[index], self.device)


@lru_cache(maxsize=32)
def _stored(task: Task, part: Part, device: torch.device, root: str) -> tuple[Pixels, Tensor]:
    """Pixels and labels of a whole part; `root`, the data root, tells sets of one name apart."""
    images = sources.load_verified(task)
    rows = sources.rows(task, part, images)
    x, y = images.test if part == "test" else images.train
    if task.masks:
        labels = torch.from_numpy(sources.masks(task, images, part, rows)).to(device)
    else:
        labels = torch.from_numpy(sources.labels(task, images, y[rows])).to(device)
    if task.shift or task.size or (task.coloured and x.shape[1] == 1):
        own = changed(x, task, part, rows)
    elif device.type == "cpu" or not _fits(len(rows) * x[0].size, device):
        return Pixels(torch.from_numpy(x), torch.from_numpy(rows), device), labels
    else:
        own = x[rows]
    base = torch.from_numpy(own)
    if _fits(own.nbytes, device):
        base = base.to(device)
    return Pixels(base, None, device), labels


def _fits(size: int, device: torch.device) -> bool:
    """Whether this many bytes of images may lie on the device: half of what is free there, since a
    network has to learn beside them.
    """
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size <= free // 2


def relabelled(table: Tensor, y: Tensor) -> Tensor:
    """Labels as a table [classes] or [heads, classes] translates them; `IGNORED` stays as it is."""
    return torch.where(y < 0, IGNORED, table[..., y.clamp(min=0)])


def tensors(data: Data, device: torch.device) -> tuple[Pixels, Tensor]:
    """Pixels and labels (int64, [N]; masks: int8, [N, H, W]) of a part of a task, on the device;
    shared by all who ask.
    """
    pixels, labels = _stored(data.task, data.part, device, str(data_root()))
    if data.chosen is None:
        return pixels, labels
    count, seed = data.chosen
    # Masks are no classes to take in turn.
    classes = labels.cpu() if labels.ndim == 1 else torch.zeros(len(labels))
    index = nested(classes, count, seed, name=data.task.name).to(device)
    return pixels.only(index), labels[index]


def nested(labels: Tensor, count: int, seed: int, *, name: str) -> Tensor:
    """Positions of `count` images, one of each label in turn, in an order drawn by the seed and the
    task's name: a smaller choice is always part of a larger one. Raises InputError for more images
    than there are.
    """
    if count > len(labels):
        raise InputError(f"{name} has {len(labels)} images, so {count} of them cannot be drawn")
    positions, turns = [], []
    for label in sorted(set(labels.tolist())):
        of_label = (labels == label).nonzero().flatten()
        generator = torch.Generator().manual_seed(derive(seed, "few", name, label))
        positions.append(of_label[torch.randperm(len(of_label), generator=generator)])
        turns.append(torch.arange(len(of_label)))
    in_turn = torch.cat(turns).argsort(stable=True)
    return torch.cat(positions)[in_turn[:count]]


class Feed:
    """One data set as a fit reads it: `epoch(...)` yields its batches.

    Raises InputError for a part without images and for masks that are to be augmented.
    """

    def __init__(
        self, data: Data | Noise, *, name: str, seed: int | None, stage: str, device: torch.device
    ) -> None:
        self.data, self.device = data, device
        self.stream = (seed, stage, "data", data.order or name)  # names its random numbers
        if isinstance(data, Noise):
            self.count = data.images
            return
        self.x, self.y = tensors(data, device)
        self.count = len(self.y)
        _check(data, self.count)
        self.normalise = normaliser(data.task, device)
        height, width = self.x.base.shape[-2:]
        self.size = (height, width)
        self.ready: Tensor | None = None
        # What is scaled up is another image each time, so nothing of it can be prepared.
        is_scaled = data.augmentation == "random resized crop"
        if device.type == "cpu" and data.chosen is None and not is_scaled:
            margin = margin_of(data.augmentation, height, width)
            self.ready = _ready(data.task, data.part, margin, str(data_root()))
        self.extra = {
            name: relabelled(torch.tensor(mapping, device=device), self.y.long())
            for name, mapping in data.labels
        }

    def __len__(self) -> int:
        return self.count

    def _generator(self, epoch: int, what: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive(*self.stream, epoch, what))

    def epoch(self, epoch: int, steps: int, batch: int) -> Iterator[Batch]:
        """`steps` batches of `batch` images. A set shorter than that is passed through again, in
        another order each time.
        """
        total = steps * batch
        integers: dict[str, Tensor] = {}  # [steps x batch]
        normals: dict[str, tuple[tuple[int, ...], torch.Generator]] = {}
        for name, draw in self.data.draws:
            generator = self._generator(epoch, "draw " + name)
            if isinstance(draw, RandInt):
                drawn = torch.randint(draw.high, (total,), generator=generator)
                integers[name] = drawn.to(self.device)
            else:
                normals[name] = (draw.shape, generator)
        if isinstance(self.data, Noise):
            contents = self._noise(self.data, epoch, steps, batch)
        else:
            contents = self._images(self.data, epoch, total, batch)
        for step, content in enumerate(contents):
            for name, values in integers.items():
                content[name] = values[step * batch : (step + 1) * batch]
            # Normal numbers are drawn a batch at a time: an epoch of them may not fit into memory.
            for name, (shape, generator) in normals.items():
                content[name] = torch.randn((batch, *shape), generator=generator).to(self.device)
            yield Batch(content)

    def _noise(
        self, noise: Noise, epoch: int, steps: int, batch: int
    ) -> Iterator[dict[str, Tensor]]:
        generator = self._generator(epoch, "noise")
        for _ in range(steps):
            yield {"x": torch.randn((batch, *noise.shape), generator=generator).to(self.device)}

    def _images(
        self, data: Data, epoch: int, total: int, batch: int
    ) -> Iterator[dict[str, Tensor]]:
        order = self._order(epoch, total)  # [total]
        generator = partial(self._generator, epoch)
        changes = draw_changes(data.augmentation, total, self.size, generator, self.device)
        for start in range(0, total, batch):
            now = slice(start, start + batch)
            index = order[now]
            if self.ready is None:
                x = self.normalise(changes.of(now).applied(self.x.take(index)))
            else:
                x = cut(self.ready, index, changes.of(now))
            labels = {name: values[index] for name, values in self.extra.items()}
            yield {"x": x, "y": self.y[index].long(), **labels}

    def _order(self, epoch: int, total: int) -> Tensor:
        """Positions of the images in the order in which they are read, as many passes as it
        takes.
        """
        generator = self._generator(epoch, "order")
        num_passes = -(-total // len(self))
        passes = [torch.randperm(len(self), generator=generator) for _ in range(num_passes)]
        return torch.cat(passes)[:total].to(self.device)


def _check(data: Data, count: int) -> None:
    name = data.task.name
    if not count:
        raise InputError(
            f"{name} has no {data.part} image; its task keeps too few or holds out too many"
        )
    if data.task.masks and data.augmentation != "none":
        raise InputError(
            f"{name}: images whose labels are masks are not augmented; "
            "shifts and flips would not move the masks"
        )


@lru_cache(maxsize=4)
def _ready(task: Task, part: Part, margin: int, root: str) -> Tensor | None:
    """On a CPU, a small enough set is normalised and padded once, not once an epoch: [N, H + 2
    margin, W + 2 margin, C], channels last so that a batch is cut out of it in one go. The bits are
    those of the longer way. None for a set that is too large for that."""
    cpu = torch.device("cpu")
    pixels, labels = _stored(task, part, cpu, root)
    channels, height, width = pixels.take(slice(0, 1)).shape[1:]
    shape = (len(labels), height + 2 * margin, width + 2 * margin, channels)
    if 4 * math.prod(shape) > LARGEST_READY:
        return None
    normalise = normaliser(task, cpu)
    ready = torch.empty(shape)
    for start in range(0, len(labels), 1024):
        some = slice(start, start + 1024)
        ready[some] = normalise(padded(pixels.take(some), margin)).permute(0, 2, 3, 1)
    return ready


class Normalise:
    """Pixels 0..255 to zero mean and unit variance a channel: x -> (x / 255 - mean) / std. Channels
    last, the layout in which convolutions of small images are fastest (by a quarter to a third on
    one CPU thread)."""

    def __init__(
        self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
    ) -> None:
        self.shift = torch.tensor(mean, device=device).view(1, -1, 1, 1) * 255
        self.scale = 1 / (torch.tensor(std, device=device).view(1, -1, 1, 1) * 255)

    def __call__(self, x: Tensor) -> Tensor:
        normalised = x.float().sub_(self.shift).mul_(self.scale)
        return normalised.contiguous(memory_format=torch.channels_last)


def normaliser(task: Task, device: torch.device) -> Normalise:
    """Normalises by the statistics that the task names: those of its data set as it is on this
    machine, unless it takes another's. Raises InputError for a task whose base nobody knows.
    """
    if task.normalisation in ("", "own"):
        record = sources.load(task.data).record
        by = Statistics(record.mean, record.std).over(task.image(record)[0])
    else:
        by = task.normalised_by
    if by is None:
        raise InputError(
            f"{task.name} is to be normalised as its base was, and it is in no trial of a method "
            f"that has one; write .normalised('own')"
        )
    return Normalise(by.mean, by.std, device)


def in_order(data: Data, device: torch.device, batch: int = 512) -> Iterator[tuple[Tensor, Tensor]]:
    """All images of a part in their own order, normalised, and their labels: for measuring."""
    x, y = tensors(data, device)
    normalise = normaliser(data.task, device)
    for start in range(0, len(y), batch):
        some = slice(start, start + batch)
        yield normalise(x.take(some)), y[some].long()
