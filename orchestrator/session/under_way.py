"""What a trial that runs says of itself: it leaves that in the store, which all machines read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.spec.trial import Trial
from orchestrator.store.store import Store

LOOK_EVERY = 2.0  # seconds between two looks at what trials have left
SLACK = 2.0  # seconds by which the clocks of two machines may differ


@dataclass(frozen=True)
class UnderWay:
    """A trial that runs: how far it is, its `loss`, the seconds that an epoch takes (`pace`), on
    which `host`, when it `began` and when this was written (`time`), both in seconds since 1970.
    What is not known is None; the host, empty.
    """

    key: str
    label: str
    stage: str
    epoch: int
    epochs: int
    began: float
    time: float
    loss: float | None = None
    pace: float | None = None
    host: str = ""


def under_way(trial: Trial, store: Store) -> UnderWay | None:
    """How far a trial is; None where it has not left anything yet, or has ended."""
    now = store.progress(trial.key)
    if now is None:
        return None
    told = {name: now[name] for name in ("stage", "epoch", "epochs", "began", "time")}
    host = str(now.get("host", ""))
    loss = now.get("loss")
    if loss is None:  # a method with a loop of its own, which may draw it as a curve
        loss = _last_loss(now)
    pace = now.get("pace")  # not there in what earlier versions left
    return UnderWay(trial.key, trial.label, loss=loss, pace=pace, host=host, **told)


def _last_loss(progress: Mapping[str, Any]) -> float | None:
    """The loss of the stage under way at the end of its last epoch."""
    name = f"{progress['stage']}/loss"
    values = [value for curve, _, value, _ in progress.get("curves", ()) if curve == name]
    return values[-1] if values else None


class News:
    """What some of the trials that run have last said. It is read in a thread of its own, since a
    store may answer late, and of as many trials as are shown, however many run.

    `wanted` gives these trials, each with the time at which it was handed out, in seconds since
    1970: what was left before that is an earlier try's. `hear` is told what each of them said.
    """

    def __init__(
        self,
        store: Store,
        wanted: Callable[[], Mapping[str, tuple[Trial, float]]],
        hear: Callable[[UnderWay], None] = lambda told: None,
    ) -> None:
        self._store, self._wanted, self._hear = store, wanted, hear
        self._last: dict[str, UnderWay] = {}
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, daemon=True)
        self.is_silent = True  # whether nothing has come from any of them yet

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._has_ended.set()
        # Not waited for where the store does not answer: nothing rests on what it would say.
        self._thread.join(LOOK_EVERY)

    def of(self, key: str) -> UnderWay | None:
        return self._last.get(key)

    def look(self) -> None:
        """Ask the store once."""
        found = {}
        for key, (trial, handed_out) in self._wanted().items():
            told = under_way(trial, self._store)
            if told is not None and told.time >= handed_out - SLACK:
                found[key] = told
                self._hear(told)
        self.is_silent = self.is_silent and not found
        self._last = found

    def _keep_looking(self) -> None:
        while not self._has_ended.wait(LOOK_EVERY):
            self.look()
