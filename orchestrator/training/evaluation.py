"""What is watched during a fit, which of its states is kept, and when it stops early."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from orchestrator.errors import MethodError, nearest
from orchestrator.training.capture import refuse_captured
from orchestrator.training.learner import Learner
from orchestrator.training.stage import CurvePoint, Stage, check_count
from orchestrator.training.stopping import Best, Until

Watch = Callable[[], Mapping[str, float]]


class Evaluation:
    """Looks at a fit after each of its epochs. `selected` is the epoch whose state was the best so
    far (None where none is asked for).

    Raises MethodError for a condition `until` that captures tensors.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        watch: Watch | None,
        every: int,
        select: Best | None,
        until: Until | None,
    ) -> None:
        check_count(stage.name, "every", every)
        refuse_captured(until, stage.name, "condition `until`")
        self._stage, self._watch, self._every = stage, watch, every
        self._select, self._until = select, until
        self._best: dict[str, Any] | None = None  # value, epoch, nets

    @property
    def selected(self) -> int | None:
        return self._best["epoch"] if self._best else None

    def after_epoch(self, learner: Learner) -> None:
        """Record what is watched, remember the best state, and stop the stage where that is asked
        for. Raises MethodError for a curve that does not exist.
        """
        epoch = self._stage.epoch + 1
        is_last = epoch == self._stage.num_epochs
        # Also at the end, whatever `every` says: curves end where the nets do.
        if self._watch is not None and (epoch % self._every == 0 or is_last):
            self._stage.record(_watched(self._watch))
        if self._select is not None:
            self._remember_best(self._select, epoch, learner)
        # Before the first evaluation, what is watched has no value yet.
        if self._until is not None and epoch >= self._every and self._is_enough(self._until):
            self._stage.stop()

    def finish(self, learner: Learner) -> None:
        """Bring the nets to their best state."""
        if self._best is not None:
            learner.load(self._best["nets"])

    def _remember_best(self, select: Best, epoch: int, learner: Learner) -> None:
        points = self._curves().get(select.curve, [])
        if not points and epoch >= self._every:
            raise MethodError(self._no_curve(select.curve))
        if not points or points[-1].step != epoch:  # not evaluated in this epoch
            return
        value, best = points[-1].value, self._best["value"] if self._best else None
        if select.beats(value, best):
            self._best = {"value": value, "epoch": epoch, "nets": learner.weights()}

    def _is_enough(self, until: Until) -> bool:
        curves = {name: [p.value for p in points] for name, points in self._curves().items()}
        try:
            return bool(until(curves))
        except KeyError as error:
            raise MethodError(self._no_curve(str(error.args[0]))) from error

    def _curves(self) -> dict[str, list[CurvePoint]]:
        """The stage's points by the names that the method gave its curves."""
        curves: dict[str, list[CurvePoint]] = {}
        for point in self._stage.curves:
            name = point.name.removeprefix(f"{self._stage.name}/")
            curves.setdefault(name, []).append(point)
        return curves

    def _no_curve(self, name: str) -> str:
        return (
            f"stage {self._stage.name!r}: there is no curve {name!r} to choose or stop by. "
            f"{nearest(name, self._curves())}"
        )

    def state(self) -> dict[str, Any]:
        return {"best": self._best}

    def restore(self, saved: Mapping[str, Any]) -> None:
        self._best = saved["best"]


def _watched(watch: Watch) -> dict[str, float]:
    """What is watched, evaluated without a trace in the training."""
    # A method may draw while it measures; the training goes on as if nobody had looked.
    generator = torch.random.get_rng_state()
    try:
        return {name: float(value) for name, value in watch().items()}
    finally:
        torch.random.set_rng_state(generator)
