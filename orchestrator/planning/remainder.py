"""What is left of a queue's trials, counted as they change state: asking costs the same with a
hundred trials and with a hundred thousand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.planning.durations import Durations, Size, size_of
from orchestrator.planning.plan import Plan
from orchestrator.spec.trial import Trial


@dataclass
class _Group:
    """The open trials of one method on one network."""

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
        # Of each group any of its sizes, which its rate is asked by.
        self._groups: dict[tuple[str, str | None], tuple[Size, _Group]] = {}
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
        return sum(group.number for _, group in list(self._groups.values()))

    def seconds(self) -> tuple[float, int]:
        """What all open trials take, one after another; and how many are not in that, since nothing
        like them has ended yet.
        """
        seconds, num_unknown = 0.0, 0
        # A copy: who shows how far a run is asks in a thread of its own.
        for size, group in list(self._groups.values()):
            seconds += group.seconds
            rate = self._durations.rate(size)
            if rate is None:
                num_unknown += group.others
            else:
                seconds += rate * group.length
        return max(seconds, 0.0), num_unknown

    def expected(self, key: str) -> float | None:
        """Seconds of one trial; None where nothing like it has ended."""
        return self._durations.expected(self._sizes[key])

    def took(self, key: str, seconds: float) -> None:
        """A trial is done, after so long: what is expected of those like it changes."""
        size = self._sizes[key]
        number = self._open[size]
        self._count(size, -number)
        self._durations.took(size, seconds)
        self._count(size, number)

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

    def _count(self, size: Size, by: int) -> None:
        """So many trials of a size more are open."""
        self._open[size] += by
        _, group = self._groups.setdefault(size.group, (size, _Group()))
        group.number += by
        mean = self._durations.mean(size)
        if mean is None:
            group.others += by
            group.length += by * size.length
        else:
            group.seconds += by * mean

    def _waits_no_longer(self, key: str, methods: Iterable[str]) -> None:
        for method in methods:
            self.waits[self._trials[key].method.name, method] -= 1
