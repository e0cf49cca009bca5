"""A stage: one named stretch of a trial's training, an epoch at a time. `run.fit` and `run.epochs`
both go through it, so that both keep the law of resumption.

The law: `train` is executed again from the top. A stage that had finished hands its nets back from
its checkpoint; one that was under way goes on from its last checkpoint; either way the bits are
those of a run that was never stopped, because nothing random is carried along: every epoch reseeds
by name, and after every stage the global generator stands at `derive(seed, stage, "after")`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import torch

from orchestrator.errors import Abandoned, Diverged, MethodError
from orchestrator.spec.canonical import derive
from orchestrator.training.checkpoints import Checkpoints


@dataclass(frozen=True)
class CurvePoint:
    """A value on a curve: `step` counts epochs from 1, `time` is seconds since 1970."""

    name: str
    step: int
    value: float
    time: float


@dataclass(frozen=True)
class Moment:
    """The end of an epoch, as listeners hear of it: `epoch` of `epochs` of a stage, all curves of
    the trial so far, and the whole `loss` of the epoch where a fit trains.
    """

    stage: str
    epoch: int
    epochs: int
    curves: Sequence[CurvePoint]
    loss: float | None = None


OnEpoch = Callable[[Moment], None]


@dataclass(frozen=True)
class Fit:
    """What a finished stage reports. `frozen` holds the digests of the frozen nets, equal before
    and after; `selected` is the epoch whose state was kept (None: the last)."""

    stage: str
    epochs: int
    steps: int
    images: int
    seconds: float
    curves: tuple[CurvePoint, ...]
    frozen: Mapping[str, str]
    selected: int | None = None


class Resumable(Protocol):
    """Something that changes from epoch to epoch and is part of a stage's checkpoint."""

    def state(self) -> dict[str, Any]: ...

    def restore(self, saved: Mapping[str, Any]) -> None: ...


class Stage:
    """The epochs of one stage and its curves. `epoch` is how many are done, so inside an epoch its
    number from 0; curves count epochs from 1.
    """

    def __init__(
        self,
        name: str,
        *,
        seed: int | None,
        checkpoints: Checkpoints,
        on_epoch: Callable[[Stage], None],
    ) -> None:
        self.name, self.seed = name, seed
        self.epoch = self.num_epochs = 0
        self.curves: list[CurvePoint] = []
        self.loss: float | None = None  # all terms of the epoch under way
        self._is_stopped = False
        self._checkpoints, self._on_epoch = checkpoints, on_epoch
        self._began = time.monotonic()
        self._seconds_before = 0.0  # what earlier tries spent up to the checkpoint

    @property
    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._began

    def remaining(self, num_epochs: int, *parts: Resumable) -> Iterator[int]:
        """Numbers, from 0, of the epochs that are still to be done. `parts` are brought to the last
        checkpoint first, and saved with the next one.

        Raises MethodError where the checkpoint does not fit the parts.
        """
        self.num_epochs = num_epochs
        self._resume(parts)
        while self.epoch < self.num_epochs and not self._is_stopped:
            # By name and number, so an epoch draws the same
            # whether or not those before it ran here.
            torch.manual_seed(derive(self.seed, self.name, self.epoch))
            yield self.epoch
            # After the body: an exception in it leaves the epoch undone.
            self.epoch += 1
            self._on_epoch(self)
            is_abandoned = self._checkpoints.is_abandoned()
            if self._checkpoints.due or (is_abandoned and self._checkpoints.folder is not None):
                self._checkpoints.save(self.name, self._state(parts))
            if is_abandoned:
                raise Abandoned(f"nobody waits for stage {self.name!r} any more")

    def stop(self) -> None:
        """Make the epoch under way the last."""
        self._is_stopped = True

    def leave(self) -> None:
        """Put the global generator where it stands after this stage, whether the stage was trained
        or taken from a checkpoint.
        """
        torch.manual_seed(derive(self.seed, self.name, "after"))

    def record(self, values: Mapping[str, float]) -> None:
        """Values of the epoch under way on the stage's curves."""
        now = time.time()
        for name, value in values.items():
            self.curves.append(CurvePoint(f"{self.name}/{name}", self.epoch + 1, value, now))

    def diverge(self, not_finite: Sequence[str]) -> NoReturn:
        """End the trial as diverged, and say what is not finite in the epoch under way."""
        where = f"epoch {self.epoch + 1} of {self.num_epochs} of stage {self.name!r}"
        raise Diverged(f"{', '.join(not_finite)} is not finite in {where}")

    def report(
        self,
        *,
        steps: int = 0,
        images: int,
        frozen: Mapping[str, str] | None = None,
        selected: int | None = None,
    ) -> Fit:
        """What the stage did, as a result lists it."""
        return Fit(
            stage=self.name,
            epochs=self.epoch,
            steps=steps,
            images=images,
            seconds=self._seconds,
            curves=tuple(self.curves),
            frozen=frozen or {},
            selected=selected,
        )

    def _state(self, parts: Sequence[Resumable]) -> dict[str, Any]:
        curves = [(p.name, p.step, p.value, p.time) for p in self.curves]
        state = {
            "epoch": self.epoch,
            "stopped": self._is_stopped,
            "curves": curves,
            "seconds": self._seconds,
        }
        for part in parts:
            state |= part.state()
        return state

    def _resume(self, parts: Sequence[Resumable]) -> None:
        saved = self._checkpoints.load(self.name)
        if saved is None:
            return
        try:
            for part in parts:
                part.restore(saved)
        except (KeyError, RuntimeError, ValueError) as error:
            # Resumption must never be a guess.
            raise MethodError(
                f"stage {self.name!r}: the checkpoint is of other nets or optimisers; "
                f"is train deterministic up to here? {error}"
            ) from error
        self.epoch, self._is_stopped = saved["epoch"], saved["stopped"]
        self._seconds_before = saved["seconds"]
        self.curves = [CurvePoint(*point) for point in saved["curves"]]


def not_finite(values: Mapping[str, float]) -> list[str]:
    """Names of the values that are NaN or infinite."""
    return [name for name, value in values.items() if not math.isfinite(value)]


def check_count(stage: str, name: str, value: object) -> None:
    """Raises MethodError for what is no whole number from 1."""
    if not isinstance(value, int) or value < 1:
        raise MethodError(f"stage {stage!r}: {name} must be a whole number from 1, got {value!r}")
