"""From a declared `Data` to batches on the device. All randomness is named: order, crops, flips and
draws of an epoch depend on nothing before it.
"""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orchestrator.data import sources
from orchestrator.data.augmenting import cut, draw_changes, margin_of, padded
from orchestrator.data.changes import changed
from orchestrator.data.held import Budget, Held, Kept
from orchestrator.data.root import data_root
from orchestrator.errors import InputError
from orchestrator.spec.canonical import derive
from orchestrator.spec.draws import Noise, RandInt
from orchestrator.spec.preparation import Statistics
from orchestrator.spec.task import IGNORED, Data, Part, Task

CPU = torch.device("cpu")
LARGEST_READY = 256 * 2**20  # bytes of a set that is kept normalised on a CPU
BETWEEN_TRIALS = 2**29  # bytes of sets, and of normalised ones, that stay for the next trial
AT_ONCE = 64 * 2**20  # bytes that are copied to a device in one go


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

    @property
    def is_streamed(self) -> bool:
        """Whether each batch is brought to the device."""
        return self.base.device.type != self.device.type

    def take(self, index: Tensor | slice) -> Tensor:
        """The task's images at these positions, [B, C, H, W], on the device."""
        if isinstance(index, Tensor):
            index = index.to(self.base.device)
        return brought(self.base[index if self.rows is None else self.rows[index]], self.device)

    def only(self, index: Tensor) -> Pixels:
        """Those of the task's images as a set of their own."""
        index = index.to(self.base.device)
        return Pixels(self.base, index if self.rows is None else self.rows[index], self.device)


def brought(batch: Tensor, device: torch.device) -> Tensor:
    """A batch on a device. Nothing waits for its way to a GPU, which computes the last one."""
    if device.type != "cuda" or batch.device.type == "cuda":
        return batch.to(device)
    return batch.pin_memory().to(device, non_blocking=True)


Stored = tuple[Pixels, Tensor]  # of a whole part, and its labels
_SETS: Held[Stored] = Held(32)
_READY: Held[Tensor | None] = Held(4)
_BUDGET = Budget()


@contextlib.contextmanager
def one_trial(gpus: float) -> Iterator[None]:
    """For the length of a trial, for which so many GPUs are set aside, what it reads is held.
    Afterwards nothing of it lies on a GPU, which others may use, and little in memory.
    """
    _BUDGET.share = gpus
    try:
        yield
    finally:
        _BUDGET.share = 1.0
        _SETS.give_up(BETWEEN_TRIALS)
        _READY.give_up(BETWEEN_TRIALS)
        cuda: Any = torch.cuda
        if cuda.is_initialized():
            gc.collect()  # a trial's objects hold each other
            with contextlib.suppress(RuntimeError):  # of a GPU that is broken
                torch.cuda.empty_cache()


def _stored(task: Task, part: Part, device: torch.device, root: str) -> Stored:
    """Pixels and labels of a whole part; `root`, the data root, tells sets of one name apart. Masks
    that do not fit on the device stay in memory, as the images do.
    """
    return _SETS.get((task, part, device, root), lambda: _read(task, part, device))


def _read(task: Task, part: Part, device: torch.device) -> Kept[Stored]:
    images = sources.load_verified(task)
    rows = sources.rows(task, part, images)
    x, y = images.test if part == "test" else images.train
    if task.masks:
        labels = torch.from_numpy(sources.masks(task, images, part, rows))
    else:
        labels = torch.from_numpy(sources.labels(task, images, y[rows])).to(device)
    is_own = bool(task.shift or task.size or (task.coloured and x.shape[1] == 1))
    if is_own:
        x = changed(x, task, part, rows)
        rows = np.arange(len(x))
    num_bytes = len(rows) * math.prod(x.shape[1:]) + labels.nbytes
    if device.type != "cpu" and _fits(num_bytes, device):
        pixels = Pixels(_copied(x, rows, device), None, device)
        return Kept((pixels, labels.to(device)), device, num_bytes)
    pixels = Pixels(torch.from_numpy(x), None if is_own else torch.from_numpy(rows), device)
    if device.type != "cpu":
        return Kept((pixels, labels), device, labels.nbytes)
    # What is mapped from a file, with a name or without, takes no memory that is missed.
    is_in_memory = is_own and not isinstance(x, np.memmap)
    return Kept((pixels, labels), device, num_bytes if is_in_memory else labels.nbytes)


def _copied(x: NDArray[Any], rows: NDArray[np.int64], device: torch.device) -> Tensor:
    """These rows of images on a device, copied piece by piece: they may be larger than memory."""
    base = torch.empty((len(rows), *x.shape[1:]), dtype=torch.uint8, device=device)
    step = max(1, AT_ONCE // max(1, x[:1].nbytes))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        base[start : start + step] = torch.from_numpy(x[some]).to(device)
    return base


def _fits(size: int, device: torch.device) -> bool:
    """Whether this many bytes of images and labels may lie on a device, beside the sets there."""
    return size <= _BUDGET.room(device, _SETS.size_on(device))


def relabelled(table: Tensor, y: Tensor) -> Tensor:
    """Labels as a table [classes] or [heads, classes] translates them; `IGNORED` stays as it is."""
    return torch.where(y < 0, IGNORED, table[..., y.clamp(min=0)])


def tensors(data: Data, device: torch.device) -> tuple[Pixels, Tensor]:
    """Pixels and labels of a part of a task, shared by all who ask. Labels (int64, [N]) are on the
    device; masks (int8, [N, H, W]) where the images are.
    """
    pixels, labels = _stored(data.task, data.part, device, str(data_root()))
    if data.chosen is None:
        return pixels, labels
    count, seed = data.chosen
    # Masks are no classes to take in turn.
    classes = labels.cpu() if labels.ndim == 1 else torch.zeros(len(labels))
    index = nested(classes, count, seed, name=data.task.name)
    return pixels.only(index), labels[index.to(labels.device)]


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


@dataclass(frozen=True)
class Features:
    """What a net made of each image of a part, `x` [N, ...] in the images' own order, computed
    once: a fit reads it as it would read the images, in the same order. Made by `Run.features`.
    """

    data: Data
    x: Tensor

    @property
    def part(self) -> Part:
        return self.data.part

    @property
    def because(self) -> str:
        return self.data.because


class Feed:
    """One data set as a fit reads it: `epoch(...)` yields its batches.

    Raises InputError for a part without images and for masks that are to be augmented.
    """

    def __init__(
        self,
        data: Data | Noise | Features,
        *,
        name: str,
        seed: int | None,
        stage: str,
        device: torch.device,
    ) -> None:
        self.computed: Tensor | None = None
        if isinstance(data, Features):
            self.computed, data = data.x, data.data
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
        wants_images = data.chosen is None and not is_scaled and self.computed is None
        if device.type == "cpu" and wants_images:
            margin = margin_of(data.augmentation, height, width)
            self.ready = _ready(data.task, data.part, margin, str(data_root()))
        self.tables = {name: torch.tensor(table, device=device) for name, table in data.labels}

    def __len__(self) -> int:
        return self.count

    def _generator(self, epoch: int, what: str, device: torch.device = CPU) -> torch.Generator:
        return torch.Generator(device).manual_seed(derive(*self.stream, epoch, what))

    def epoch(
        self, epoch: int, steps: int, batch: int, *, total: int | None = None
    ) -> Iterator[Batch]:
        """`steps` batches of `batch` images; with `total` the last one has what so many images
        leave it. A set shorter than that is passed through again, in another order each time.
        """
        total = steps * batch if total is None else total
        integers: dict[str, Tensor] = {}  # [total]
        normals: dict[str, tuple[tuple[int, ...], torch.Generator]] = {}
        for name, draw in self.data.draws:
            what = "draw " + name
            if isinstance(draw, RandInt):
                generator = self._generator(epoch, what)
                drawn = torch.randint(draw.high, (total,), generator=generator)
                integers[name] = drawn.to(self.device)
            else:
                normals[name] = (draw.shape, self._generator(epoch, what, self.device))
        if isinstance(self.data, Noise):
            contents = self._noise(self.data, epoch, total, batch)
        else:
            contents = self._images(self.data, epoch, total, batch)
        for step, content in enumerate(contents):
            for name, values in integers.items():
                content[name] = values[step * batch : (step + 1) * batch]
            # Normal numbers are drawn a batch at a time: an epoch of them may not fit into memory.
            for name, (shape, generator) in normals.items():
                content[name] = self._normal((len(content["x"]), *shape), generator)
            yield Batch(content)

    def _noise(
        self, noise: Noise, epoch: int, total: int, batch: int
    ) -> Iterator[dict[str, Tensor]]:
        generator = self._generator(epoch, "noise", self.device)
        for start in range(0, total, batch):
            count = min(batch, total - start)
            yield {"x": self._normal((count, *noise.shape), generator)}

    def _normal(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Drawn where it is used: a step's noise may be more than its images."""
        return torch.randn(shape, generator=generator, device=self.device)

    def _images(
        self, data: Data, epoch: int, total: int, batch: int
    ) -> Iterator[dict[str, Tensor]]:
        order = self._order(epoch, total)  # [total]
        on_device = order.to(self.device)
        # Asking a GPU for the positions of each batch would wait for the last one.
        of_images = order if self.x.is_streamed else on_device
        of_labels = order if self.y.device.type == "cpu" else on_device
        generator = partial(self._generator, epoch)
        changes = draw_changes(data.augmentation, total, self.size, generator, self.device)
        for start in range(0, total, batch):
            now = slice(start, start + batch)
            if self.computed is not None:
                x = self.computed[on_device[now]]
            elif self.ready is None:
                x = self.normalise(changes.of(now).applied(self.x.take(of_images[now])))
            else:
                x = cut(self.ready, of_images[now], changes.of(now))
            y = brought(self.y[of_labels[now]], self.device).long()
            labels = {name: relabelled(table, y) for name, table in self.tables.items()}
            yield {"x": x, "y": y, **labels}

    def _order(self, epoch: int, total: int) -> Tensor:
        """Positions of the images in the order in which they are read, as many passes as it
        takes.
        """
        generator = self._generator(epoch, "order")
        num_passes = -(-total // len(self))
        passes = [torch.randperm(len(self), generator=generator) for _ in range(num_passes)]
        return torch.cat(passes)[:total]


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


def _ready(task: Task, part: Part, margin: int, root: str) -> Tensor | None:
    """On a CPU, a small enough set is normalised and padded once, not once an epoch: [N, H + 2
    margin, W + 2 margin, C], channels last so that a batch is cut out of it in one go. The bits are
    those of the longer way. None for a set that is too large for that."""
    return _READY.get((task, part, margin, root), lambda: _made_ready(task, part, margin, root))


def _made_ready(task: Task, part: Part, margin: int, root: str) -> Kept[Tensor | None]:
    pixels, labels = _stored(task, part, CPU, root)
    channels, height, width = pixels.take(slice(0, 1)).shape[1:]
    shape = (len(labels), height + 2 * margin, width + 2 * margin, channels)
    if 4 * math.prod(shape) > LARGEST_READY:
        return Kept(None, CPU, 0)
    normalise = normaliser(task, CPU)
    ready = torch.empty(shape)
    for start in range(0, len(labels), 1024):
        some = slice(start, start + 1024)
        ready[some] = normalise(padded(pixels.take(some), margin)).permute(0, 2, 3, 1)
    return Kept(ready, CPU, ready.nbytes)


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
        yield normalise(x.take(some)), brought(y[some], device).long()
