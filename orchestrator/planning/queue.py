"""Which trial next: a queue over the graph of needs, the same for every executor."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Mapping

from orchestrator.errors import ExecutorError
from orchestrator.planning.plan import Plan
from orchestrator.spec.trial import Trial
from orchestrator.training.outcome import Outcome

LOT_SECONDS = 1.0  # trials that are known to be short are handed out together, for about this long
LARGEST_LOT = 64


class Queue:
    """Trials that have no result yet. `take` hands out one whose needs are done, longest remaining
    path first; `finish` tells how it ended.

    What needs a trial that ended without being `done` is blocked, unless its method accepts such
    needs (and then only those that are results).
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._shape: Callable[[Trial], Hashable] = lambda trial: None
        todo = plan.todo
        self.trials: Mapping[str, Trial] = {t.key: t for t in todo}
        self.ended: dict[str, Outcome] = {}
        self.running: set[str] = set()
        self.blocked: dict[str, str] = {}
        self._outcome = dict(plan.outcomes)
        self._users: dict[str, list[str]] = {}
        self._open: dict[str, int] = {}
        for trial in todo:
            needed = {n.key for n in trial.needs.values()}
            self._open[trial.key] = sum(k in self.trials for k in needed)
            for key in needed:
                self._users.setdefault(key, []).append(trial.key)
        path = self._remaining_paths(todo)
        self._rank = {t.key: (-path[t.key], i) for i, t in enumerate(todo)}
        self._ready: dict[Hashable, list[tuple[tuple[float, int], str]]] = {}
        self._spent: dict[str, tuple[float, int]] = {}
        self._alone: set[str] = set()
        for trial in todo:
            self._offer(trial.key)

    def shaped(self, shape: Callable[[Trial], Hashable]) -> Queue:
        """The same queue, told what a trial's worker must be like: a worker that has just become
        free gets a trial of its own shape first.
        """
        self._shape = shape
        ready = [entry for heap in self._ready.values() for entry in heap]
        self._ready = {}
        for entry in ready:
            heapq.heappush(self._ready.setdefault(shape(self.trials[entry[1]]), []), entry)
        return self

    def _remaining_paths(self, todo: Iterable[Trial]) -> dict[str, float]:
        """Seconds from a trial's start to the end of the longest chain behind it."""
        path: dict[str, float] = {}
        for trial in reversed(
            list(todo)
        ):  # needs come first in the plan, so users are known before what they need
            behind = max((path[u] for u in self._users.get(trial.key, [])), default=0.0)
            path[trial.key] = behind + (self.plan.cost(trial) or 1.0)
        return path

    def _offer(self, key: str) -> None:
        """Make a trial ready if all its needs have ended, or blocked if one of them will not do."""
        trial = self.trials[key]
        if key in self.blocked or self._open[key]:
            return
        for name, need in trial.needs.items():
            outcome = self._outcome.get(need.key)
            if outcome != "done" and not (
                trial.method.accepts_diverged and outcome in ("diverged", "infeasible")
            ):
                self._block(key, f"its need {name!r} ({need.label}) ended {outcome}")
                break
        else:
            heapq.heappush(self._ready.setdefault(self._shape(trial), []), (self._rank[key], key))

    def _block(self, key: str, reason: str) -> None:
        self.blocked[key] = reason
        for user in self._users.get(key, []):
            if user not in self.blocked:
                self._block(user, f"something it needs is blocked: {reason}")

    def take(self, prefer: Hashable = None) -> Trial | None:
        """The next trial to run, or None while none is ready. Raises ExecutorError where waiting
        would never end.
        """
        heaps = {shape: heap for shape, heap in self._ready.items() if heap}
        if heaps:
            heap = heaps.get(prefer) or min(heaps.values())
            key = heapq.heappop(heap)[1]
            self.running.add(key)
            return self.trials[key]
        if not self.running and not self.is_finished:
            stuck = [k[:12] for k in self.trials if k not in self.ended and k not in self.blocked]
            raise ExecutorError(
                f"nothing runs and nothing is ready, yet {len(stuck)} trials are left: {', '.join(stuck[:5])}"
            )
        return None

    def take_lot(self, slots: int, prefer: Hashable = None) -> list[Trial]:
        """Trials of one shape for one worker: one, or several that this run or an earlier one has
        shown to be short. Empty while none is ready.

        Handing out costs an executor some tens of milliseconds; a lot shares them. Every slot keeps
        its share of what is ready.
        """
        first = self.take(prefer)
        if first is None:
            return []
        lot, shape = [first], self._shape(first)
        most = min(LARGEST_LOT, 1 + len(self._ready.get(shape, [])) // slots)
        seconds = self._seconds(first)
        while (
            len(lot) < most
            and seconds is not None
            and seconds < LOT_SECONDS
            and first.key not in self._alone
        ):
            trial = self.trials[self._ready[shape][0][1]]
            more = self._seconds(trial)
            if more is None or trial.key in self._alone:
                break
            seconds += more
            lot.append(trial)
            self.running.add(heapq.heappop(self._ready[shape])[1])
        return lot

    def _seconds(self, trial: Trial) -> float | None:
        """How long a trial may take, from those of its method that ended in this run, or before
        it.
        """
        total, count = self._spent.get(trial.method.name, (0.0, 0))
        return total / count if count else self.plan.cost(trial)

    def put_back(self, key: str) -> None:
        """A trial that was handed out did not run; it will be handed out again, by itself."""
        self.running.discard(key)
        self._alone.add(key)
        self._offer(key)

    def finish(self, outcome: Outcome) -> None:
        """A trial has ended; what waited for it becomes ready or blocked."""
        self.running.discard(outcome.key)
        self.ended[outcome.key] = outcome
        self._outcome[outcome.key] = outcome.kind
        name = self.trials[outcome.key].method.name
        total, count = self._spent.get(name, (0.0, 0))
        self._spent[name] = (total + outcome.seconds, count + 1)
        for user in self._users.get(outcome.key, []):
            self._open[user] -= 1
            self._offer(user)

    @property
    def is_finished(self) -> bool:
        """Whether every trial has ended or is blocked."""
        return len(self.ended) + len(self.blocked) == len(self.trials)

    def waiting(self) -> list[str]:
        """Keys of trials that have not been handed out."""
        return [
            k
            for k in self.trials
            if k not in self.ended and k not in self.blocked and k not in self.running
        ]

    def waits_for(self, key: str) -> set[str]:
        """Names of the methods whose trials this one still waits for."""
        needed = self.trials[key].needs.values()
        return {n.method.name for n in needed if n.key in self.trials and n.key not in self.ended}

    @property
    def num_waiting(self) -> int:
        return len(self.trials) - len(self.ended) - len(self.blocked) - len(self.running)

    def of_kind(self, *kinds: str) -> list[Outcome]:
        """Outcomes of these kinds, in the order in which they came."""
        return [o for o in self.ended.values() if o.kind in kinds]
