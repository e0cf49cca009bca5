"""Which trial next: a queue over the graph of needs, the same for every executor."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import NamedTuple

from orchestrator.errors import ExecutorError
from orchestrator.planning.plan import Plan
from orchestrator.planning.remainder import Remainder
from orchestrator.planning.rounds import rounds_of
from orchestrator.planning.standing import usable_states
from orchestrator.planning.tries import PROCESS_TRIES, Tries
from orchestrator.spec.trial import Trial
from orchestrator.training.attempts import Attempt, Broken, Cramped, Finished, Gone, Unfit
from orchestrator.training.outcome import Outcome

LOT_SECONDS = 1.0  # trials that are known to be short are handed out together, for about this long
LARGEST_LOT = 64


class _Ready(NamedTuple):
    """A trial that can be handed out; those first in order have the longest path before them, of
    those in the earliest round.
    """

    round: int  # 0 for all, unless seeds go first
    negative_path: float
    place: int  # in the plan
    key: str


class Queue:
    """Trials that have no result yet. `take` hands out one whose needs are done, longest remaining
    path first; with `seeds_first`, what one seed of every setting takes before what the next does.
    `heard` is told what came of it, and decides whether it is tried again.

    What needs a trial that ended without being `done` is blocked, unless its method accepts such
    needs (and then only those that are results).

    `num_ended` counts outcomes by their kind, `left` what is open: who shows how far a run is looks
    at these a few times a second, and at no list of trials.

    `at_once` is how many trials run at a time, None as long as no executor has said it.

    `unfit` says of machines, by the ids of their nodes, why they are given no more work. Where
    none is left that could be given any, `stopped` says why the run ends.
    """

    def __init__(
        self, plan: Plan, tries: Tries | None = None, *, seeds_first: bool = False
    ) -> None:
        todo = plan.todo
        self.plan = plan
        self.trials: Mapping[str, Trial] = {trial.key: trial for trial in todo}
        self.ended: dict[str, Outcome] = {}
        self.num_ended: Counter[str] = Counter()
        self.left = Remainder(plan, self.trials)
        self.running: set[str] = set()
        self.blocked: dict[str, str] = {}  # why, by key
        self.unfit: dict[str, str] = {}
        self._suspects: set[str] = set()  # those that may be fit, and a trial may not
        self.stopped = ""
        self.at_once: float | None = None
        self._tries = tries or Tries()
        self._nodes: Callable[[], Collection[str]] = lambda: ()
        self._give_more: Callable[[Trial], bool] = lambda trial: False
        self._outcomes = dict(plan.outcomes)
        self._longest = self._known_seconds()
        self._alone: set[str] = set()  # keys of trials that go into no lot with others
        self._held_back: dict[str, str] = {}  # methods that wait until all else is done, and why
        self._users: dict[str, list[str]] = {}
        for trial in todo:
            for key in {need.key for need in trial.needs.values()}:
                self._users.setdefault(key, []).append(trial.key)
        paths = self._remaining_paths(todo)
        rounds = rounds_of(plan) if seeds_first else {}
        self._entries = {
            t.key: _Ready(rounds.get(t.key, 0), -paths[t.key], place, t.key)
            for place, t in enumerate(todo)
        }
        self._shape: Callable[[Trial], Hashable] = lambda trial: None
        self._ready: dict[Hashable, list[_Ready]] = {}  # a heap for each shape
        self._held: list[_Ready] = []  # ready, and of methods that are held back
        for trial in todo:
            self._offer(trial.key)

    def shaped(
        self,
        shape: Callable[[Trial], Hashable],
        nodes: Callable[[], Collection[str]] = lambda: (),
        give_more: Callable[[Trial], bool] = lambda trial: False,
    ) -> Queue:
        """The same queue, told what a trial's worker must be like: a worker that has just become
        free gets a trial of its own shape first. `nodes` gives the ids of the machines there are;
        `give_more` gives trials of a workload another shape, with more memory, if there is one.
        """
        self._nodes, self._give_more = nodes, give_more
        self._shape = shape
        self._sort_by_shape()
        return self

    def _sort_by_shape(self) -> None:
        ready = [entry for heap in self._ready.values() for entry in heap]
        self._ready = {}
        for entry in ready:
            self._push(entry.key)

    def _remaining_paths(self, todo: Iterable[Trial]) -> dict[str, float]:
        """Seconds from a trial's start to the end of the longest chain behind it, by key."""
        paths: dict[str, float] = {}
        # Needs come first in the plan, so backwards users are known before what they need.
        for trial in reversed(list(todo)):
            behind = max((paths[user] for user in self._users.get(trial.key, [])), default=0.0)
            # Of unknown cost: a second, so that chains count by length.
            paths[trial.key] = behind + (self.plan.cost(trial) or 1.0)
        return paths

    def _push(self, key: str) -> None:
        if self.trials[key].method.name in self._held_back:
            self._held.append(self._entries[key])
        else:
            heapq.heappush(self._heap_of(key), self._entries[key])

    def _heap_of(self, key: str) -> list[_Ready]:
        return self._ready.setdefault(self._shape(self.trials[key]), [])

    def _offer(self, key: str) -> None:
        """Make a trial ready if all its needs have ended, or blocked if one of them will not do."""
        if key in self.blocked or self.left.is_pending(key):
            return
        reason = self._unusable_need(self.trials[key])
        if reason is None:
            self._push(key)
        else:
            self._block(key, reason)

    def _unusable_need(self, trial: Trial) -> str | None:
        """Which need of a trial ended in a way that will not do, or None."""
        usable = usable_states(trial.method)
        for name, need in trial.needs.items():
            outcome = self._outcomes.get(need.key)
            if outcome not in usable:
                return f"its need {name!r} ({need.label}, {need.key[:12]}) ended {outcome}"
        return None

    def _block(self, key: str, reason: str) -> None:
        """Block a trial, and all that needs it, directly or not."""
        self._close(key)
        self.blocked[key] = reason
        waiting = [key]
        while waiting:
            for user in self._users.get(waiting.pop(), []):
                if user not in self.blocked:
                    self._close(user)
                    self.blocked[user] = f"something it needs is blocked: {reason}"
                    waiting.append(user)

    def _close(self, key: str) -> None:
        """Count a trial as open no more; to be called before it has ended or is blocked."""
        if key not in self.ended and key not in self.blocked:
            self.left.close(key)

    def take(self, prefer: Hashable = None) -> Trial | None:
        """The next trial to run, of the shape `prefer` where one is ready; None while none is.
        Raises ExecutorError where waiting would never end.
        """
        if self.stopped:
            return None
        heaps = self._heaps()
        if heaps:
            # Else the heap whose first entry has the longest path.
            first = min(heaps.values())
            preferred = heaps.get(prefer, first)
            # A worker that fits another shape is no reason to begin with the next seeds.
            return self._hand_out(preferred if preferred[0].round <= first[0].round else first)
        if not self.running and not self.is_finished:
            stuck = [k[:12] for k in self.trials if k not in self.ended and k not in self.blocked]
            raise ExecutorError(
                f"nothing runs and nothing is ready, yet {len(stuck)} trials are left: "
                f"{', '.join(stuck[:5])}"
            )
        return None

    def _heaps(self) -> dict[Hashable, list[_Ready]]:
        """What can be handed out now, by shape. What is held back comes when nothing else is
        left.
        """
        heaps = {shape: heap for shape, heap in self._ready.items() if heap}
        if self._held and not heaps and not self.running:
            held, self._held = self._held, []
            for entry in held:
                heapq.heappush(self._heap_of(entry.key), entry)
            return {shape: heap for shape, heap in self._ready.items() if heap}
        return heaps

    def _hand_out(self, heap: list[_Ready]) -> Trial:
        key = heapq.heappop(heap).key
        self.running.add(key)
        return self.trials[key]

    def take_lot(self, slots: int, prefer: Hashable = None) -> list[Trial]:
        """Trials of one shape for one worker: one, or several that this run or an earlier one has
        shown to be short. Empty while none is ready.

        Handing out costs an executor some tens of milliseconds; a lot shares them. Every slot keeps
        its share of what is ready.
        """
        first = self.take(prefer)
        if first is None:
            return []
        lot = [first]
        seconds = self._expected_seconds(first)
        if seconds is None or first.key in self._alone:
            return lot
        heap = self._ready.get(self._shape(first), [])
        largest = min(LARGEST_LOT, 1 + len(heap) // slots)
        while len(lot) < largest and seconds < LOT_SECONDS:
            candidate = self.trials[heap[0].key]
            more = self._expected_seconds(candidate)
            if more is None or candidate.key in self._alone:
                break
            seconds += more
            lot.append(self._hand_out(heap))
        return lot

    def _expected_seconds(self, trial: Trial) -> float | None:
        """How long a trial may take: as long as the longest of its workload that left a
        result, in this run or before; None where there is none.
        """
        return self._longest.get(workload(trial))

    def _known_seconds(self) -> dict[Hashable, float]:
        """Seconds of the longest trial of each workload, of those that have a result."""
        longest: dict[Hashable, float] = {}
        for key, seconds in self.plan.seconds.items():
            if key in self.plan.trials:
                of = workload(self.plan.trials[key])
                longest[of] = max(seconds, longest.get(of, 0.0))
        return longest

    def put_back(self, key: str, *, alone: bool = True) -> None:
        """A trial that was handed out did not run; it will be handed out again, by itself or in a
        lot.
        """
        self.running.discard(key)
        if alone:
            # It may be what its worker died of, and must not take others with it a second time.
            self._alone.add(key)
        self._offer(key)

    def heard(self, attempt: Attempt) -> Outcome | None:
        """What came of a trial that was handed out. Returns how it ended, or None where it is to be
        tried again.
        """
        given_up = ""
        match attempt:
            case Finished(outcome):
                return self.finish(outcome)
            case Broken(outcome):
                self._hold_back_if_alike(attempt)
                return self.finish(outcome)
            case Cramped(outcome) if not self._give_more(self.trials[outcome.key]):
                self._hold_back_if_alike(attempt)
                return self.finish(outcome)
            case Cramped():
                self._sort_by_shape()  # it is not the only one whose shape has changed
            case Gone():
                given_up = self._tries.gone(attempt)
            case Unfit(is_node=True):
                self._no_more_work_for(attempt)
            case Unfit():
                given_up = self._suspect(attempt)
        if given_up:
            kind = "lost" if isinstance(attempt, Gone) else "failed"
            return self.finish(Outcome(attempt.key, kind, reason=given_up))
        # By itself, where the trial may have done it.
        is_machines = getattr(attempt, "is_node", False) and not self._tries.is_suspect(attempt.key)
        self.put_back(attempt.key, alone=not is_machines)
        return None

    def finish(self, outcome: Outcome) -> Outcome:
        """A trial has ended; what waited for it becomes ready or blocked."""
        self.running.discard(outcome.key)
        self._close(outcome.key)
        self.num_ended[outcome.kind] += 1
        self.ended[outcome.key] = outcome
        self._outcomes[outcome.key] = outcome.kind
        # An exception tells nothing of how long a training takes.
        if outcome.is_result:
            of = workload(self.trials[outcome.key])
            self._longest[of] = max(outcome.seconds, self._longest.get(of, 0.0))
        if outcome.kind == "done":  # others ended early
            self.left.took(outcome.key, outcome.seconds)
        for user in self._users.get(outcome.key, []):
            # However it ended: whether the outcome will do is asked once all needs have ended.
            self.left.need_ended(user, self.trials[outcome.key])
            self._offer(user)
        return outcome

    def _suspect(self, attempt: Unfit) -> str:
        """Why a trial is given up that has stopped a process working, or found no data, or an empty
        string where it is to be tried again. It may be the trial's fault, or the machine's: after
        some tries there the machine gets no more work, until the trial has failed on another, too.
        """
        tries, node = self._tries.unfit(attempt), attempt.worker.node
        if len(tries) > 1:
            for cleared in tries.keys() & self._suspects:
                self._suspects.discard(cleared)
                del self.unfit[cleared]
            return attempt.why
        if tries[node] < (1 if attempt.is_data else PROCESS_TRIES):
            return ""
        if not set(self._nodes()) - set(self.unfit) - {node}:
            return attempt.why
        self.unfit[node] = attempt.why
        self._suspects.add(node)
        return ""

    def _no_more_work_for(self, attempt: Unfit) -> None:
        """Note that a machine is unfit, and stop where no other is left."""
        self.unfit[attempt.worker.node] = attempt.why
        if not set(self._nodes()) - set(self.unfit):
            self.stop(attempt.why)

    def stop(self, why: str) -> None:
        """Hand out nothing more."""
        self.stopped = self.stopped or why

    def _hold_back_if_alike(self, attempt: Broken | Cramped) -> None:
        """Where trials of a method break alike, let the rest of it wait until all else is done."""
        method = self.trials[attempt.key].method.name
        if method in self._held_back or not self._tries.broken(attempt, method):
            return
        self._held_back[method] = attempt.outcome.reason.partition("\n")[0]
        for shape, heap in self._ready.items():
            entries = [(entry, self.trials[entry.key].method.name == method) for entry in heap]
            self._held += [entry for entry, is_held in entries if is_held]
            self._ready[shape] = [entry for entry, is_held in entries if not is_held]
            heapq.heapify(self._ready[shape])

    @property
    def held_back(self) -> Mapping[str, str]:
        """Methods that wait until all else is done, and the error that they break with."""
        return self._held_back

    @property
    def is_finished(self) -> bool:
        """Whether every trial has ended or is blocked, or nothing more will be handed out."""
        has_stopped = bool(self.stopped) and not self.running
        return has_stopped or len(self.ended) + len(self.blocked) == len(self.trials)

    @property
    def num_waiting(self) -> int:
        """How many trials have not been handed out and are not blocked."""
        return len(self.trials) - len(self.ended) - len(self.blocked) - len(self.running)

    def of_kind(self, *kinds: str) -> list[Outcome]:
        """Outcomes of these kinds, in the order in which they came."""
        return [outcome for outcome in self.ended.values() if outcome.kind in kinds]


def workload(trial: Trial) -> Hashable:
    """Trials of one workload take about as long, and as much memory: of one method on one network.
    Not of one method alone: a small network on trial says nothing of a large one.
    """
    network = trial.network
    return trial.method.name, None if network is None else network.label
