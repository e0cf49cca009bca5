"""What is left of a queue's trials, counted as they change state: asking costs the same with a
hundred trials and with a hundred thousand.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.planning.plan import Plan
from orchestrator.spec.trial import Trial


@dataclass
class Left:
    """The open trials of one method."""

    number: int = 0
    seconds: float = 0.0  # that the plan expects of those of which it knows
    num_unknown: int = 0  # those of which it knows nothing


class Remainder:
    """The open trials of a queue, those that have not ended and are not blocked, by method; and
    which methods they wait for.
    """

    def __init__(self, plan: Plan, trials: Mapping[str, Trial]) -> None:
        self._plan, self._trials = plan, trials
        self.by_method: dict[str, Left] = defaultdict(Left)
        self.waits: Counter[tuple[str, str]] = Counter()
        """Of how many trials of one method some need of another method has not ended."""
        # By key: of which methods its needs have not ended, and how many. Nobody has more users
        # than needs, so these are no more than the edges of the graph.
        self._pending: dict[str, Counter[str]] = {}
        for trial in trials.values():
            self._count(trial, 1)
            needed = {need.key: need.method.name for need in trial.needs.values()}
            pending = Counter(method for key, method in needed.items() if key in trials)
            if pending:
                self._pending[trial.key] = pending
                self.waits.update((trial.method.name, method) for method in pending)

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
        self._count(self._trials[key], -1)
        self._waits_no_longer(key, self._pending.pop(key, ()))

    def _count(self, trial: Trial, by: int) -> None:
        left = self.by_method[trial.method.name]
        cost = self._plan.cost(trial)
        left.number += by
        left.seconds += by * (cost or 0.0)
        left.num_unknown += by * (cost is None)

    def _waits_no_longer(self, key: str, methods: Iterable[str]) -> None:
        for method in methods:
            self.waits[self._trials[key].method.name, method] -= 1
