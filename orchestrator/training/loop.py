"""A method's own training loop, for what `run.fit` cannot express: it keeps the law of resumption
all the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from orchestrator.errors import Diverged, MethodError
from orchestrator.spec.canonical import derive
from orchestrator.training.checkpoints import Scratch
from orchestrator.training.fit import CurvePoint, Fit, Moment, OnEpoch


class Loop:
    """The epochs of one stage. `state` holds what changes from epoch to epoch: anything with
    `state_dict` and `load_state_dict`.
    """

    def __init__(
        self,
        stage: str,
        count: int,
        state: Mapping[str, Any],
        seed: int | None,
        scratch: Scratch,
        on_epoch: OnEpoch | None,
    ) -> None:
        if not isinstance(count, int) or count < 1:
            raise MethodError(
                f"stage {stage!r}: epochs must be a whole number from 1, got {count!r}"
            )
        if wrong := [
            n
            for n, s in state.items()
            if not (hasattr(s, "state_dict") and hasattr(s, "load_state_dict"))
        ]:
            raise MethodError(
                f"stage {stage!r}: {', '.join(wrong)} cannot be saved; pass modules and optimisers (they have state_dict)"
            )
        self.stage, self.count, self.state, self.seed = stage, count, dict(state), seed
        self._scratch, self._on_epoch = scratch, on_epoch
        self.epoch, self.images, self.curves = 0, 0, list[CurvePoint]()
        self._began = time.monotonic()

    def __iter__(self) -> Iterator[int]:
        """Epochs from 0 that are still to be done. Each starts from random numbers named by seed,
        stage and epoch.
        """
        self._resume()
        try:
            while self.epoch < self.count:
                torch.manual_seed(derive(self.seed, self.stage, self.epoch))
                yield self.epoch
                self.epoch += 1
                if self._on_epoch is not None:
                    self._on_epoch(Moment(self.stage, self.epoch, self.count, self.curves))
                if self._scratch.due:
                    self._scratch.save(self.stage, self._state())
        finally:
            torch.manual_seed(derive(self.seed, self.stage, "after"))

    def _state(self) -> dict[str, Any]:
        curves = [(p.name, p.step, p.value, p.time) for p in self.curves]
        return {
            "epoch": self.epoch,
            "images": self.images,
            "curves": curves,
            "state": {n: s.state_dict() for n, s in self.state.items()},
        }

    def _resume(self) -> None:
        saved = self._scratch.load(self.stage)
        if saved is None:
            return
        try:
            for name, part in self.state.items():
                part.load_state_dict(saved["state"][name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise MethodError(
                f"stage {self.stage!r}: the checkpoint holds another state; is train deterministic up to here? {error}"
            ) from error
        self.epoch, self.images = saved["epoch"], saved["images"]
        self.curves = [CurvePoint(*p) for p in saved["curves"]]

    def point(self, values: Mapping[str, float]) -> None:
        """Values of this epoch on the stage's curves. Raises Diverged for one that is not
        finite.
        """
        now = time.time()
        self.curves += [
            CurvePoint(f"{self.stage}/{name}", self.epoch + 1, float(v), now)
            for name, v in values.items()
        ]
        if bad := [name for name, v in values.items() if not math.isfinite(v)]:
            raise Diverged(
                f"{', '.join(bad)} is not finite in epoch {self.epoch + 1} of {self.count} of stage {self.stage!r}",
                self.curves,
            )

    def as_fit(self) -> Fit:
        """What the loop did, as a result lists it."""
        return Fit(
            self.stage,
            self.epoch,
            0,
            self.images,
            time.monotonic() - self._began,
            tuple(self.curves),
            {},
        )
