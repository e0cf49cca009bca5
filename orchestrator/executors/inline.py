"""One trial after another in this process: for debuggers, small sweeps, and machines without
Ray.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.executors.executor import Listener, check_that_it_ended
from orchestrator.executors.handshake import Greeting, greet
from orchestrator.executors.placement import Nodes, place_all, this_machine
from orchestrator.executors.site import Site
from orchestrator.planning.queue import Queue
from orchestrator.store.heartbeat import alive
from orchestrator.store.store import Store
from orchestrator.training.attempts import Broken, Worker, attempt_of
from orchestrator.training.execute import execute


class Inline:
    """Runs trials in the calling process. Bits are those of the other executors: a trial's threads
    are its own affair, not the executor's.
    """

    def run(self, queue: Queue, store: Store, site: Site, listener: Listener) -> None:
        here = Worker(platform.node(), f"this process, {os.getpid()}")
        queue = queue.shaped(lambda trial: None, lambda: [here.node])
        # One trial at a time has all CPUs, whatever the site would set aside for it.
        nodes = Nodes((replace(this_machine(), cpus=math.inf),))
        placements = place_all(queue.trials.values(), site, nodes)
        queue.at_once = 1
        with alive(store):  # so that `gc` leaves alone what this run uses
            while (trial := queue.take()) is not None:
                listener.started(trial)
                outcome = execute(
                    trial,
                    store,
                    replaces=queue.plan.outdated.get(trial.key, ""),
                    scratch=site.scratch,
                    device=placements[trial.key].device,
                    gpus=placements[trial.key].gpus,
                    checkpoint_every=site.checkpoint_every,
                )
                attempt = attempt_of(outcome, here)
                if outcome.fault in ("worker", "data"):  # there is no other process to try it
                    attempt = Broken(outcome, here)
                if outcome.fault == "worker":  # and this one can run nothing more
                    queue.stop(outcome.reason)
                ended = queue.heard(attempt)
                if ended is not None:
                    listener.ended(ended)
        check_that_it_ended(queue)

    def greetings(self, store: Store, site: Site, classes: Sequence[str]) -> list[Greeting]:
        return [greet(store.address, "", classes, {})]
