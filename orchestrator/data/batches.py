"""From a declared `Data` to batches on the device. All randomness is named: order, crops, flips and
draws of an epoch depend on nothing before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from orchestrator.data import sources
from orchestrator.data.changes import changed
from orchestrator.data.sources import data_root
from orchestrator.errors import InputError
from orchestrator.spec.canonical import derive
from orchestrator.spec.draws import Noise, Normal, RandInt
from orchestrator.spec.task import Data, Part, Task

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
            f"the batch has no {name!r}, only {', '.join(tensors)}; declare it with .drawing(...) or .labelled(...)"
        )

    def __len__(self) -> int:
        return len(self._tensors["x"])


@dataclass(frozen=True)
class Pixels:
    """Images of a task, uint8: rows of a set that all workers of a node share, or on a GPU the
    task's own images.
    """

    base: Tensor
    rows: Tensor | None

    def take(self, index: Tensor | slice) -> Tensor:
        """The images at these places, [B, C, H, W]."""
        return self.base[index if self.rows is None else self.rows[index]]


@lru_cache(maxsize=32)
def _stored(task: Task, part: Part, device: torch.device, root: str) -> tuple[Pixels, Tensor]:
    images = sources.load_verified(task)
    chosen = sources.rows(task, part, images)
    x, y = images.test if part == "test" else images.train
    found = (
        sources.masks(task, images, part, chosen)
        if task.masks
        else sources.labels(task, images, y[chosen])
    )
    labels = torch.from_numpy(found).to(device)
    if task.shift or task.size or (task.coloured and x.shape[1] == 1):
        return Pixels(torch.from_numpy(changed(x[chosen], task, part)).to(device), None), labels
    if device.type == "cpu":
        return Pixels(torch.from_numpy(x), torch.from_numpy(chosen)), labels
    return Pixels(torch.from_numpy(x[chosen]).to(device), None), labels


def tensors(data: Data, device: torch.device) -> tuple[Pixels, Tensor]:
    """Pixels and labels (int64, [N]; masks: uint8, [N, H, W]) of a part of a task, on the device;
    shared by all who ask.
    """
    pixels, labels = _stored(data.task, data.part, device, str(data_root()))
    if data.chosen is None:
        return pixels, labels
    index = nested(
        labels.cpu() if labels.ndim == 1 else torch.zeros(len(labels)),
        *data.chosen,
        name=data.task.name,
    ).to(device)
    return Pixels(pixels.base, index if pixels.rows is None else pixels.rows[index]), labels[index]


def nested(labels: Tensor, count: int, seed: int, *, name: str) -> Tensor:
    """Places of `count` images, one of each label in turn, in an order drawn by the seed and the
    task's name: the first few are always among more. Raises InputError where there are not so
    many."""
    if count > len(labels):
        raise InputError(f"{name} has {len(labels)} images, so {count} of them cannot be drawn")
    places, turns = [], []
    for label in sorted(set(labels.tolist())):
        mine = (labels == label).nonzero().flatten()
        places.append(
            mine[
                torch.randperm(
                    len(mine),
                    generator=torch.Generator().manual_seed(derive(seed, "few", name, label)),
                )
            ]
        )
        turns.append(torch.arange(len(mine)))
    order = torch.cat(turns).argsort(stable=True)
    return torch.cat(places)[order[:count]]


class Feed:
    """One data set as a fit reads it: `epoch(...)` yields its batches."""

    def __init__(
        self, data: Data | Noise, *, name: str, seed: int | None, stage: str, device: torch.device
    ) -> None:
        self.data, self.device = data, device
        self.stream = (seed, stage, "data", data.order or name)
        if isinstance(data, Noise):
            self.count = data.images
            return
        self.x, self.y = tensors(data, device)
        self.count = len(self.y)
        if not self.count:
            raise InputError(
                f"{data.task.name} has no {data.part} image; its task keeps too few or holds out too many"
            )
        if data.task.masks and (data.crop or data.flip):
            raise InputError(
                f"{data.task.name}: images whose labels are masks are not augmented; shifts and flips would not move the masks"
            )
        self.normalise = normaliser(data.task, device)
        whole = device.type == "cpu" and data.chosen is None
        self.ready = _ready(data.task, data.part, data.crop, str(data_root())) if whole else None
        self.extra = {
            k: torch.tensor(mapping, device=device)[self.y.long()] for k, mapping in data.labels
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
        drawn = {
            n: self._integers(d.high, total, epoch, n)
            for n, d in self.data.draws
            if isinstance(d, RandInt)
        }
        streams = {
            n: (d.shape, self._generator(epoch, "draw " + n))
            for n, d in self.data.draws
            if isinstance(d, Normal)
        }
        images = (
            self._noise(epoch, steps, batch)
            if isinstance(self.data, Noise)
            else self._images(self.data, epoch, total, batch)
        )
        for number, tensors in enumerate(images):
            here = slice(number * batch, (number + 1) * batch)
            # Normal numbers are drawn a batch at a time: an epoch of them may not fit into memory.
            normals = {
                n: torch.randn((batch, *shape), generator=g).to(self.device)
                for n, (shape, g) in streams.items()
            }
            yield Batch({**tensors, **{k: v[here] for k, v in drawn.items()}, **normals})

    def _integers(self, high: int, total: int, epoch: int, name: str) -> Tensor:
        return torch.randint(high, (total,), generator=self._generator(epoch, "draw " + name)).to(
            self.device
        )

    def _noise(self, epoch: int, steps: int, batch: int) -> Iterator[dict[str, Tensor]]:
        assert isinstance(self.data, Noise)
        generator = self._generator(epoch, "noise")
        for _ in range(steps):
            yield {"x": torch.randn((batch, *self.data.shape), generator=generator).to(self.device)}

    def _images(
        self, data: Data, epoch: int, total: int, batch: int
    ) -> Iterator[dict[str, Tensor]]:
        shuffle = self._generator(epoch, "order")
        passes = -(-total // len(self))
        order = torch.cat([torch.randperm(len(self), generator=shuffle) for _ in range(passes)])[
            :total
        ].to(self.device)
        crop, size = data.crop, 2 * data.crop + 1
        shifts = (
            torch.randint(size, (total, 2), generator=self._generator(epoch, "crop")).to(
                self.device
            )
            if crop
            else None
        )
        flips = (
            (torch.rand(total, generator=self._generator(epoch, "flip")) < 0.5).to(self.device)
            if data.flip
            else None
        )
        for start in range(0, total, batch):
            here = slice(start, start + batch)
            index = order[here]
            moved = None if shifts is None else shifts[here]
            flipped = None if flips is None else flips[here]
            x = (
                self._from_bytes(index, moved, flipped)
                if self.ready is None
                else _cut(self.ready, index, crop, moved, flipped)
            )
            yield {
                "x": x,
                "y": self.y[index].long(),
                **{k: v[index] for k, v in self.extra.items()},
            }

    def _from_bytes(self, index: Tensor, shifts: Tensor | None, flips: Tensor | None) -> Tensor:
        """Images as they are kept, moved, then normalised."""
        x = self.x.take(index)
        if shifts is not None:
            assert isinstance(self.data, Data)
            x = _shifted(x, shifts, self.data.crop)
        if flips is not None:
            x = torch.where(flips.view(-1, 1, 1, 1), x.flip(-1), x)
        return self.normalise(x)


@lru_cache(maxsize=4)
def _ready(task: Task, part: Part, crop: int, root: str) -> Tensor | None:
    """On a CPU, a small enough set is normalised and padded once, not once an epoch: [N, H + 2
    crop, W + 2 crop, C], channels last so that a batch is cut out of it in one go. The bits are
    those of the longer way. None for a set that is too large for that."""
    pixels, labels = _stored(task, part, torch.device("cpu"), root)
    channels, height, width = pixels.take(slice(0, 1)).shape[1:]
    count = len(labels)
    if count * channels * (height + 2 * crop) * (width + 2 * crop) * 4 > LARGEST_READY:
        return None
    normalise = normaliser(task, torch.device("cpu"))
    ready = torch.empty((count, height + 2 * crop, width + 2 * crop, channels))
    for start in range(0, count, 1024):
        x = torch.nn.functional.pad(
            pixels.take(slice(start, start + 1024)), (crop, crop, crop, crop)
        )
        ready[start : start + 1024] = normalise(x).permute(0, 2, 3, 1)
    return ready


def _cut(
    ready: Tensor, index: Tensor, crop: int, shifts: Tensor | None, flips: Tensor | None
) -> Tensor:
    """A batch of prepared images [B, C, H, W], channels last in memory: rows of the set, each at
    its own offset and perhaps mirrored.
    """
    if shifts is None and flips is None:
        return ready[index].permute(0, 3, 1, 2)
    height, width = ready.shape[1] - 2 * crop, ready.shape[2] - 2 * crop
    down, right = (
        torch.arange(height).expand(len(index), -1),
        torch.arange(width).expand(len(index), -1),
    )
    if flips is not None:
        right = torch.where(flips[:, None], right.flip(1), right)
    if shifts is not None:
        down, right = down + shifts[:, :1], right + shifts[:, 1:]
    return ready[index[:, None, None], down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)


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
        return (
            x.float()
            .sub_(self.shift)
            .mul_(self.scale)
            .contiguous(memory_format=torch.channels_last)
        )


def _shifted(x: Tensor, shifts: Tensor, crop: int) -> Tensor:
    """Each image moved by its own offsets, zeros coming in: x [B, C, H, W], shifts [B, 2] in
    0..2*crop.
    """
    height, width = x.shape[-2:]
    padded = torch.nn.functional.pad(x, (crop, crop, crop, crop))
    down = shifts[:, :1] + torch.arange(height, device=x.device)
    right = shifts[:, 1:] + torch.arange(width, device=x.device)
    image = torch.arange(len(x), device=x.device)
    # Indexing [B, H, W] positions with the channels in between puts them last; they go back to
    # second place.
    return padded[image[:, None, None], :, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)


def normaliser(task: Task, device: torch.device) -> Normalise:
    """Normalises by the statistics of the task's data set; three equal channels have three equal
    statistics.
    """
    record = sources.load(task.data).record
    times = task.image(record)[0] // record.shape[0]
    return Normalise(record.mean * times, record.std * times, device)


def in_order(data: Data, device: torch.device, batch: int = 512) -> Iterator[tuple[Tensor, Tensor]]:
    """All images of a part in their own order, normalised, and their labels: for measuring."""
    x, y = tensors(data, device)
    normalise = normaliser(data.task, device)
    for start in range(0, len(y), batch):
        yield normalise(x.take(slice(start, start + batch))), y[start : start + batch].long()
