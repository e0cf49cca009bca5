"""Where trials run. An executor drains a queue and tells a listener; it decides nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orchestrator.errors import ExecutorError
from orchestrator.executors.handshake import Greeting
from orchestrator.executors.site import Site
from orchestrator.planning.queue import Queue
from orchestrator.spec.trial import Trial
from orchestrator.store.store import Store
from orchestrator.training.outcome import Outcome


class Listener(Protocol):
    """Hears of every trial that starts and ends, in the driver."""

    def preparing(self, what: str) -> None:
        """What the executor does before the first trial runs, and may take its time over."""
        ...

    def started(self, trial: Trial) -> None: ...

    def ended(self, outcome: Outcome) -> None: ...

    def noted(self, text: str) -> None:
        """What the queue has decided: no more work for a machine, a method that has to wait."""
        ...


class Executor(Protocol):
    """Runs all trials of a queue. KeyboardInterrupt passes through, with nothing left running."""

    def run(self, queue: Queue, store: Store, site: Site, listener: Listener) -> None: ...

    def greetings(self, store: Store, site: Site, classes: Sequence[str]) -> list[Greeting]:
        """What every node says of itself and of the code behind some classes (`module:Class`), this
        one first.
        """
        ...


def check_that_it_ended(queue: Queue) -> None:
    """Raises ExecutorError where a run ended before its trials did."""
    num_left = queue.num_waiting + len(queue.running)
    if queue.stopped:
        raise ExecutorError(
            f"no machine is left that could go on: {queue.stopped}. {num_left} trials have not "
            "run; mend that and run the same command again"
        )
    if not queue.is_finished:
        raise ExecutorError(
            f"the executor stopped with {num_left} trials not run; run the same command again"
        )
