"""From a declared `Data` to batches on the device. All randomness is named: order, crops, flips and draws of an epoch depend on nothing before it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from orchestrator.canonical import derive
from orchestrator.data import sources
from orchestrator.data.sources import data_root
from orchestrator.errors import InputError
from orchestrator.task import Data, Part, Task


class Batch:
    """Images `x` (float, normalised, [B, C, H, W]), labels `y` (int64, [B]), and what the data declared: extra labels and draws, each [B]."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = tensors

    def __getattr__(self, name: str) -> Tensor:
        tensors: dict[str, Tensor] = self.__dict__.get("_tensors", {})
        if name in tensors:
            return tensors[name]
        raise AttributeError(f"the batch has no {name!r}, only {', '.join(tensors)}; declare it with .drawing(...) or .labelled(...)")

    def __len__(self) -> int:
        return len(self._tensors["y"])


@lru_cache(maxsize=12)
def _stored(task: Task, part: Part, device: torch.device, root: str) -> tuple[Tensor, Tensor]:
    images = sources.load_verified(task)
    chosen = sources.rows(task, part, images)
    x, y = images.test if part == "test" else images.train
    labels = sources.labels(task, images, y[chosen])
    return torch.from_numpy(x[chosen]).to(device), torch.from_numpy(labels).to(device)


def tensors(data: Data, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixels (uint8, [N, C, H, W]) and labels (int64, [N]) of a part of a task, on the device; shared by all who ask."""
    return _stored(data.task, data.part, device, str(data_root()))


class Feed:
    """One data set as a fit reads it: `epoch(...)` yields its batches."""

    def __init__(self, data: Data, *, name: str, seed: int | None, stage: str, device: torch.device) -> None:
        self.data, self.device = data, device
        self.stream = (seed, stage, "data", data.order or name)
        self.x, self.y = tensors(data, device)
        if not len(self.y):
            raise InputError(f"{data.task.name} has no {data.part} image; its task keeps too few or holds out too many")
        record = sources.load(data.task.data).record
        self.normalise = Normalise(record.mean, record.std, device)
        self.extra = {k: torch.tensor(mapping, device=device)[self.y] for k, mapping in data.labels}

    def __len__(self) -> int:
        return len(self.y)

    def _generator(self, epoch: int, what: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive(*self.stream, epoch, what))

    def epoch(self, epoch: int, steps: int, batch: int) -> Iterator[Batch]:
        """`steps` batches of `batch` images. A set shorter than that is passed through again, in another order each time."""
        total = steps * batch
        shuffle = self._generator(epoch, "order")
        passes = -(-total // len(self))
        order = torch.cat([torch.randperm(len(self), generator=shuffle) for _ in range(passes)])[:total].to(self.device)
        drawn = {n: torch.randint(d.high, (total,), generator=self._generator(epoch, "draw " + n)).to(self.device) for n, d in self.data.draws}
        crop, size = self.data.crop, 2 * self.data.crop + 1
        shifts = torch.randint(size, (total, 2), generator=self._generator(epoch, "crop")).to(self.device) if crop else None
        flips = (torch.rand(total, generator=self._generator(epoch, "flip")) < 0.5).to(self.device) if self.data.flip else None
        for start in range(0, total, batch):
            here = slice(start, start + batch)
            index = order[here]
            x = self.x[index]
            if shifts is not None:
                x = _shifted(x, shifts[here], crop)
            if flips is not None:
                x = torch.where(flips[here].view(-1, 1, 1, 1), x.flip(-1), x)
            extra = {k: v[index] for k, v in self.extra.items()}
            yield Batch({"x": self.normalise(x), "y": self.y[index], **extra, **{k: v[here] for k, v in drawn.items()}})


class Normalise:
    """Pixels 0..255 to zero mean and unit variance a channel: x -> (x / 255 - mean) / std. Channels last, the layout in which convolutions of small
    images are fastest (by a quarter to a third on one CPU thread)."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> None:
        self.shift = torch.tensor(mean, device=device).view(1, -1, 1, 1) * 255
        self.scale = 1 / (torch.tensor(std, device=device).view(1, -1, 1, 1) * 255)

    def __call__(self, x: Tensor) -> Tensor:
        return ((x.float() - self.shift) * self.scale).contiguous(memory_format=torch.channels_last)


def _shifted(x: Tensor, shifts: Tensor, crop: int) -> Tensor:
    """Each image moved by its own offsets, zeros coming in: x [B, C, H, W], shifts [B, 2] in 0..2*crop."""
    height, width = x.shape[-2:]
    padded = torch.nn.functional.pad(x, (crop, crop, crop, crop))
    down = shifts[:, :1] + torch.arange(height, device=x.device)
    right = shifts[:, 1:] + torch.arange(width, device=x.device)
    image = torch.arange(len(x), device=x.device)
    # Indexing [B, H, W] positions with the channels in between puts them last; they go back to second place.
    return padded[image[:, None, None], :, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)


def in_order(data: Data, device: torch.device, batch: int = 512) -> Iterator[tuple[Tensor, Tensor]]:
    """All images of a part in their own order, normalised, and their labels: for measuring."""
    x, y = tensors(data, device)
    record = sources.load(data.task.data).record
    normalise = Normalise(record.mean, record.std, device)
    for start in range(0, len(y), batch):
        yield normalise(x[start : start + batch]), y[start : start + batch]
