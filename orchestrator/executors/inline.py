"""One trial after another in this process: for debuggers, small sweeps, and machines without
Ray.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.executors.executor import Listener
from orchestrator.executors.handshake import Greeting, greet
from orchestrator.executors.site import Site
from orchestrator.planning.queue import Queue
from orchestrator.store.heartbeat import alive
from orchestrator.store.store import Store
from orchestrator.training.execute import execute


class Inline:
    """Runs trials in the calling process. Bits are those of the other executors: a trial's threads
    are its own affair, not the executor's.
    """

    def run(self, queue: Queue, store: Store, site: Site, listener: Listener) -> None:
        with alive(store):  # so that `gc` leaves alone what this run uses
            while (trial := queue.take()) is not None:
                listener.started(trial)
                outcome = execute(
                    trial,
                    store,
                    replaces=queue.plan.outdated.get(trial.key, ""),
                    scratch=site.scratch,
                    device=site.run_on,
                    checkpoint_every=site.checkpoint_every,
                )
                queue.finish(outcome)
                listener.ended(outcome)

    def greetings(self, store: Store, site: Site, classes: Sequence[str]) -> list[Greeting]:
        return [greet(store.address, "", classes, {})]
