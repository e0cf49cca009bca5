"""The data sets of a fit, read side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from orchestrator.data.batches import Batch, Features, Feed
from orchestrator.errors import MethodError
from orchestrator.spec.draws import Noise
from orchestrator.spec.task import Data
from orchestrator.training.stage import Stage, check_count

LastBatch = Literal["drop", "keep"]
OneSet = Data | Noise | Features
FitData = OneSet | Mapping[str, OneSet]


@dataclass(frozen=True, kw_only=True)
class Span:
    """How far a fit goes: `epochs` passes through the longest (or shortest) of its data sets, or
    `steps` of the optimiser, with `batch` images of each data set a step. The images that are left
    at the end of an epoch are dropped, or with `last_batch` "keep" a smaller batch.
    """

    epochs: int | None
    steps: int | None
    batch: int
    length: Literal["longest", "shortest"]
    last_batch: LastBatch = "drop"

    def check(self, stage: str) -> None:
        """Raises MethodError for numbers that cannot be meant."""
        if (self.epochs is None) == (self.steps is None):
            raise MethodError(f"stage {stage!r}: give either epochs= or steps=")
        if self.steps is None:
            check_count(stage, "epochs", self.epochs)
        else:
            check_count(stage, "steps", self.steps)
        check_count(stage, "batch", self.batch)


class Feeds:
    """The data sets of a fit in batches of one size. An epoch is a pass through the longest (or
    shortest) of them; the others are cycled, each in an order of its own, or cut.

    Raises MethodError for numbers that cannot be meant, for the test part of a task, and for
    features beside their images in another order.
    """

    def __init__(self, stage: Stage, data: FitData, span: Span, device: torch.device) -> None:
        span.check(stage.name)
        self._is_one = not isinstance(data, Mapping)
        by_name = data if isinstance(data, Mapping) else {"data": data}
        if not by_name:
            raise MethodError(f"stage {stage.name!r}: give at least one net and one data set")
        for name, part in by_name.items():
            refuse_test_part(stage.name, name, part)
        _refuse_features_out_of_step(stage.name, by_name)
        self._feeds = {
            name: Feed(part, name=name, seed=stage.seed, stage=stage.name, device=device)
            for name, part in by_name.items()
        }
        lengths = [len(feed) for feed in self._feeds.values()]
        num_images = max(lengths) if span.length == "longest" else min(lengths)
        # Fewer images than that: all of them are one batch.
        self.batch = min(span.batch, num_images)
        self.steps_an_epoch = num_images // self.batch
        self._num_images = self.steps_an_epoch * self.batch  # of each data set, in an epoch
        if span.last_batch == "keep" and self._num_images < num_images:
            self.steps_an_epoch += 1
            self._num_images = num_images
        self.num_steps = span.steps or self.steps_an_epoch * (span.epochs or 0)
        # Rounded up: a fit by steps may end inside an epoch.
        self.num_epochs = -(-self.num_steps // self.steps_an_epoch)

    def steps_in(self, epoch: int) -> int:
        """Steps of an epoch; the last one of a fit by steps may be cut short."""
        return min(self.steps_an_epoch, self.num_steps - epoch * self.steps_an_epoch)

    def progress(self, epoch: int, step: int) -> float:
        """The share of the fit, 0 to 1, that lies before a step of an epoch."""
        return (epoch * self.steps_an_epoch + step) / self.num_steps

    def epoch(self, epoch: int) -> Iterator[Batch | dict[str, Batch]]:
        """The batches of an epoch: one a step, or where data was given by name one a name."""
        num_steps = self.steps_in(epoch)
        # Shorter data sets begin again within the epoch; each
        # has as many batches as there are steps.
        total = min(num_steps * self.batch, self._num_images)
        feeds = [
            feed.epoch(epoch, num_steps, self.batch, total=total) for feed in self._feeds.values()
        ]
        for batches in zip(*feeds, strict=True):
            yield batches[0] if self._is_one else dict(zip(self._feeds, batches, strict=True))

    def steps_of(self, num_epochs: int) -> int:
        """Steps of the first `num_epochs` epochs together."""
        return min(num_epochs * self.steps_an_epoch, self.num_steps)

    def images_of(self, num_epochs: int) -> int:
        """Images that these steps read, from all data sets together."""
        whole, rest = divmod(self.steps_of(num_epochs), self.steps_an_epoch)
        images = whole * self._num_images + rest * self.batch
        return images * len(self._feeds)


def refuse_test_part(stage: str, name: str, data: OneSet) -> None:
    """Raises MethodError for test images, unless the method says why it trains on them."""
    if data.part == "test" and not data.because:
        raise MethodError(
            f"stage {stage!r}: data {name!r} is the test part; train on task.train, "
            "or say task.part('test', because='...')"
        )


def _refuse_features_out_of_step(stage: str, data: Mapping[str, OneSet]) -> None:
    """Raises MethodError where features are read beside the images that they were made of and
    nothing says in which order: each would have its own, and stand beside another image's.
    """
    images = {name: one for name, one in data.items() if isinstance(one, Data)}
    for name, features in data.items():
        if not isinstance(features, Features):
            continue
        made_of = features.data
        for other, part in images.items():
            is_of_one = (part.task, part.part) == (made_of.task, made_of.part)
            # Two orders with names of their own are meant.
            if is_of_one and not (part.order and made_of.order):
                whole = "validation_part" if part.part == "validation" else part.part
                ordered = f"task.{whole}.ordered({part.task.name!r})"
                raise MethodError(
                    f"stage {stage!r}: data {name!r} are features of the images that {other!r} "
                    f"reads, but in another order; make both of one {ordered}"
                )
