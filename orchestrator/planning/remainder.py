"""What is left of a queue's trials, counted as they change state: asking costs the same with a
hundred trials and with a hundred thousand.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.planning.durations import Durations, Family, Size, size_of
from orchestrator.planning.plan import Plan
from orchestrator.spec.trial import Trial


class Left(NamedTuple):
    """What open trials take, one after another, in `seconds`; `num_guessed` of them by the length
    of others, since none of their size has ended or run for a while. Of `num_unknown` more not even
    others of their method on their network have, so they are not in the seconds.
    """

    seconds: float
    num_guessed: int = 0
    num_unknown: int = 0


@dataclass
class _Family:
    """The open trials that differ in nothing but their length, of which `like` is one."""

    like: Size
    number: int = 0
    seconds: float = 0.0  # of those of a size of which some have ended
    others: int = 0  # of a size of which none has
    length: float = 0.0  # of these


class Remainder:
    """The open trials of a queue, those that have not ended and are not blocked: how long they will
    take, and which methods they wait for.
    """

    def __init__(self, plan: Plan, trials: Mapping[str, Trial]) -> None:
        self._trials = trials
        self._durations = Durations(plan.durations)
        self._sizes = {key: size_of(trial) for key, trial in trials.items()}
        self._open = Counter[Size]()
        self._lock = threading.Lock()
        self._families: dict[Family, _Family] = {}
        self.waits: Counter[tuple[str, str]] = Counter()
        """Of how many trials of one method some need of another method has not ended."""
        # By key: of which methods its needs have not ended, and how many. Nobody has more users
        # than needs, so these are no more than the edges of the graph.
        self._pending: dict[str, Counter[str]] = {}
        for trial in trials.values():
            self._count(self._sizes[trial.key], 1)
            needed = {need.key: need.method.name for need in trial.needs.values()}
            pending = Counter(method for key, method in needed.items() if key in trials)
            if pending:
                self._pending[trial.key] = pending
                self.waits.update((trial.method.name, method) for method in pending)

    @property
    def number(self) -> int:
        """How many trials are open."""
        return sum(family.number for family in list(self._families.values()))

    def all(self) -> Left:
        """What all open trials take."""
        seconds, num_guessed, num_unknown = 0.0, 0, 0
        # A copy: who shows how far a run is asks in a thread of its own.
        for family in list(self._families.values()):
            seconds += family.seconds
            line = self._durations.line(family.like)
            if line is None:
                num_unknown += family.others
            else:
                num_guessed += family.others
                seconds += line.fixed * family.others + line.each * family.length
        return Left(max(seconds, 0.0), num_guessed, num_unknown)

    def expected(self, key: str) -> float | None:
        """Seconds of one trial; None where nothing like it has ended."""
        return self._durations.expected(self._sizes[key])

    def foretell(self, key: str, seconds: float) -> None:
        """A trial that runs will have taken so long at its end, by what it says of itself."""
        with self._recounted(self._sizes[key]) as size:
            self._durations.foretell(size, seconds)

    def took(self, key: str, seconds: float) -> None:
        """A trial is done, after so long: what is expected of those like it changes."""
        with self._recounted(self._sizes[key]) as size:
            self._durations.took(size, seconds)

    def is_pending(self, key: str) -> bool:
        """Whether a trial still waits for one of its needs."""
        return key in self._pending

    def need_ended(self, key: str, need: Trial) -> None:
        """One of the needs of a trial has ended, however it did."""
        pending = self._pending.get(key)
        if pending is None:  # blocked meanwhile
            return
        pending[need.method.name] -= 1
        if not pending[need.method.name]:
            del pending[need.method.name]
            self._waits_no_longer(key, [need.method.name])
        if not pending:
            del self._pending[key]

    def close(self, key: str) -> None:
        """A trial that was open has ended or is blocked."""
        self._count(self._sizes[key], -1)
        self._waits_no_longer(key, self._pending.pop(key, ()))

    @contextlib.contextmanager
    def _recounted(self, size: Size) -> Iterator[Size]:
        """Open trials of a size are counted anew by what is known of it at the end."""
        # What is foretold comes from the thread that draws.
        with self._lock:
            number = self._open[size]
            self._add(size, -number)
            yield size
            self._add(size, number)

    def _count(self, size: Size, by: int) -> None:
        """So many trials of a size more are open."""
        with self._lock:
            self._add(size, by)

    def _add(self, size: Size, by: int) -> None:
        self._open[size] += by
        family = self._families.setdefault(size.family, _Family(size))
        family.number += by
        mean = self._durations.mean(size)
        if mean is None:
            family.others += by
            family.length += by * size.length
        else:
            family.seconds += by * mean

    def _waits_no_longer(self, key: str, methods: Iterable[str]) -> None:
        for method in methods:
            self.waits[self._trials[key].method.name, method] -= 1
