"""What workers were handed and what became of it, whatever pool of processes they are in."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from orchestrator.errors import StoreError
from orchestrator.executors.executor import Listener
from orchestrator.executors.placement import Placement
from orchestrator.executors.pool import Lot
from orchestrator.planning.queue import Queue, workload
from orchestrator.spec.trial import Trial
from orchestrator.store.store import Store
from orchestrator.training.attempts import Attempt, Gone, Unfit, Worker, attempt_of
from orchestrator.training.execute import finished_by_others
from orchestrator.training.outcome import Outcome


class Lots:
    """A `Source` of lots over a queue: keeps what is handed out, tells the queue what became of it,
    and a listener what the queue made of that.
    """

    def __init__(
        self,
        queue: Queue,
        listener: Listener,
        store: Store,
        slots: int,
        placements: Mapping[str, Placement],
        with_more_memory: Callable[[Placement], Placement | None] = lambda placement: None,
    ) -> None:
        self._nodes: Collection[str] = ()  # ids of those that can take work, as last told
        self._placements = dict(placements)
        self._with_more_memory = with_more_memory
        self._had: dict[str, Placement] = {}  # what each trial was last handed out with, by key
        self._queue = queue.shaped(
            lambda trial: self._placements[trial.key], lambda: self._nodes, self._give_more
        )
        self._listener, self._store = listener, store
        self._slots = slots
        self._live: dict[int, Lot] = {}  # handed out and not heard of
        self._numbers = itertools.count()
        self._room: Callable[[Collection[Placement]], float | None] = lambda placements: None

    def fit_into(self, room: Callable[[Collection[Placement]], float | None]) -> None:
        """`room` tells how many trials of some placements run at once, which changes with these."""
        self._room = room
        self._count_room()

    def _count_room(self) -> None:
        ended = self._queue.ended
        left = [has for key, has in self._placements.items() if key not in ended]
        if left:
            self._queue.at_once = self._room(left)

    def take(self, freed: Placement | None) -> Lot | None:
        trials = self._queue.take_lot(self._slots, freed)
        if not trials:
            return None
        keys = tuple(trial.key for trial in trials)
        unfit = tuple(sorted(self._queue.unfit))
        lot = Lot(next(self._numbers), keys, self._placements[keys[0]], unfit)
        self._live[lot.number] = lot
        self._had.update(dict.fromkeys(keys, lot.placement))
        for trial in trials:
            self._listener.started(trial)
        return lot

    def is_finished(self) -> bool:
        return self._queue.is_finished

    def heard(self, lot: Lot, attempts: Sequence[Attempt], nodes: Collection[str] = ()) -> None:
        if self._live.pop(lot.number, None) is None:
            return
        self._nodes = nodes or self._nodes
        for attempt in attempts:
            self._tell(attempt)
        # Those behind one for which the worker was unfit were never begun.
        for key in lot.keys[len(attempts) :]:
            self._queue.put_back(key, alone=False)

    def gone(self, lot: Lot, why: str, is_node: bool) -> None:
        """What the worker finished before is in the store. Of several others, each gets a try by
        itself: one of them killed it, unless its machine went.
        """
        if self._live.pop(lot.number, None) is None:
            return
        left = []
        for key in lot.keys:
            found = self._found(key)
            if found is None:
                left.append(key)
            else:
                self._tell(attempt_of(found, Worker()))
        for key in left:
            if len(left) > 1 and not is_node:
                self._queue.put_back(key)
            else:
                self._tell(Gone(key, why, is_node))

    def _found(self, key: str) -> Outcome | None:
        """How a trial ended that has a result, or None, also where the store does not answer: a
        worker that is given the trial asks again, and nobody's run ends for that.
        """
        replaces = self._queue.plan.outdated.get(key, "")
        with contextlib.suppress(StoreError):
            return finished_by_others(self._queue.trials[key], self._store, replaces)
        return None

    def give_back(self, why: str) -> None:
        """The whole pool is gone, and its workers with it, by no fault of a trial."""
        for lot in list(self._live.values()):
            self.gone(lot, why, is_node=True)

    def noted(self, text: str) -> None:
        self._listener.noted(text)

    def _give_more(self, trial: Trial) -> bool:
        """Give a trial that ran out of GPU memory a larger share, and with it those of its workload
        that are still to come; whether there is a larger one.
        """
        had = self._had[trial.key]
        if self._placements[trial.key] != had:  # one like it ran out at the same time
            return True
        larger = self._with_more_memory(had)
        if larger is None:
            return False
        of = workload(trial)
        for key, other in self._queue.trials.items():
            has = self._placements[key]
            # What computes on a CPU stays there, and CPUs are each trial's own affair.
            if workload(other) == of and 0 < has.gpus < larger.gpus:
                self._placements[key] = replace(has, gpus=larger.gpus)
        self._count_room()
        name, share = trial.method.name, f"{larger.gpus:g}"
        on = "" if trial.network is None else f" on {trial.network.label}"
        self._listener.noted(
            f"{name}{on} ran out of GPU memory with {had.words} a trial, and has {larger.words} "
            f"from here on ([gpus] {name} = {share} in spolia.toml spares the tries)"
        )
        return True

    def _tell(self, attempt: Attempt) -> None:
        known = dict(self._queue.unfit), len(self._queue.held_back)
        ended = self._queue.heard(attempt)
        if ended is not None:
            self._listener.ended(ended)
        if known != (self._queue.unfit, len(self._queue.held_back)):
            self._listener.noted(_decision(attempt, self._queue))


def _decision(attempt: Attempt, queue: Queue) -> str:
    """What the queue has decided upon an attempt, for people."""
    if isinstance(attempt, Unfit) and attempt.worker.node not in queue.unfit:
        return f"it is the trial, and not the machine that it failed on before: {attempt.why}"
    if isinstance(attempt, Unfit):
        where = attempt.worker.name.partition(",")[0]
        return f"no more work goes to {where} (node {attempt.worker.node[:8]}): {attempt.why}"
    method = queue.trials[attempt.key].method.name
    return f"{method} breaks alike again and again, so the rest of it waits until all else is done"
