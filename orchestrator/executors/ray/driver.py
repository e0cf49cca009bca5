"""The executor `ray`: brings a queue of trials and a pool of processes on Ray together."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from orchestrator.errors import ExecutorError, option
from orchestrator.executors.assignment import Assignment
from orchestrator.executors.executor import Listener, check_that_it_ended
from orchestrator.executors.handshake import Greeting, disagreements, greet, versions
from orchestrator.executors.lots import Lots
from orchestrator.executors.placement import (
    Nodes,
    at_once,
    cpus_for_slots,
    place_all,
    this_machine,
    with_more_memory,
)
from orchestrator.executors.pool import Pool, PoolEnded
from orchestrator.executors.ray import address
from orchestrator.executors.ray.process import PoolProcess
from orchestrator.executors.site import Site
from orchestrator.planning.queue import Queue
from orchestrator.spec.classes import FOLDERS, packages_of
from orchestrator.spec.classes import VARIABLE as PACKAGES
from orchestrator.spec.naming import class_paths
from orchestrator.store import cache_limit
from orchestrator.store.code import code_in_use
from orchestrator.store.heartbeat import alive
from orchestrator.store.store import Store

# Workers need them as the driver has them.
VARIABLES = ("SPOLIA_DATA", "SPOLIA_CACHE", cache_limit.VARIABLE, "TORCH_HOME", FOLDERS)
RESTARTS = 3  # of a private Ray, in one run
SAY_AFTER = 60.0  # seconds in which nothing has started, until it is said what is waited for


class RayTune:
    """Runs trials as one Ray Tune experiment, on a cluster or on a private Ray. The private one is
    started again where it dies.
    """

    say_after = SAY_AFTER

    def run(self, queue: Queue, store: Store, site: Site, listener: Listener) -> None:
        if queue.is_finished:
            return
        # The probe stays while we run: workers that a cluster starts later look for it, too.
        with alive(store) as probe:
            run = _Run(queue, store, site, listener, probe)
            cpus = _cpus_for_slots(queue, site)
            for num_left in reversed(range(RESTARTS + 1)):
                listener.preparing(_coming_up(site))
                try:
                    with _pool(site, cpus, self.say_after) as pool:
                        run.on(pool)
                    break
                except PoolEnded as ended:
                    run.give_back(ended, num_left)
                    if queue.is_finished:
                        break
        check_that_it_ended(queue)

    def greetings(self, store: Store, site: Site, classes: Sequence[str]) -> list[Greeting]:
        try:
            with _pool(site) as pool, alive(store) as probe:
                driver = greet(store.address, probe, classes, {})
                variables = _variables(classes)
                return [driver, *pool.greetings(store.address, probe, classes, variables)]
        except PoolEnded as ended:
            raise ExecutorError(f"Ray is gone: {ended} {_logged(site)}") from ended


@contextlib.contextmanager
def _pool(site: Site, cpus: float = 0, say_after: float = SAY_AFTER) -> Iterator[Pool]:
    """On the Ray that this process is connected to already; else in a process of its own, on the
    cluster of the site, or on a private Ray with so many CPUs (0: one a slot).
    """
    if _is_connected():
        from orchestrator.executors.ray.tune_pool import TunePool

        yield TunePool(say_after)
        return
    if site.address:
        address.check(site.address)
    cpus = cpus or site.slots or os.cpu_count() or 1
    with PoolProcess(site.ray_log, site.address, cpus, say_after) as pool:
        yield pool


def _coming_up(site: Site) -> str:
    """What takes its time before there is a pool, in words."""
    if _is_connected():
        return "asking Ray for its machines"
    return f"joining the Ray cluster at {site.address}" if site.address else "starting Ray"


def _is_connected() -> bool:
    """Whether this process works on a Ray already. Nobody who has not imported it does."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def _cpus_for_slots(queue: Queue, site: Site) -> float:
    """CPUs that a private Ray counts; 0 where we are going to work on another. Raises
    ExecutorError for what this machine cannot hold.
    """
    if site.address or _is_connected():
        return 0
    placements = place_all(queue.trials.values(), site, Nodes((this_machine(),)))
    return cpus_for_slots(placements.values(), site.slots or os.cpu_count() or 1)


class _Run:
    """One run of a queue, on one pool after another."""

    def __init__(
        self, queue: Queue, store: Store, site: Site, listener: Listener, probe: str
    ) -> None:
        self._queue, self._store, self._site = queue, store, site
        self._listener, self._probe = listener, probe
        self._lots: Lots | None = None

    def on(self, pool: Pool) -> None:
        """Run what is left. Raises ExecutorError for nodes that would not compute what was planned,
        or that cannot hold it, before anything starts.
        """
        queue, site = self._queue, self._site
        there = pool.nodes()
        self._check(pool, there)
        usable = _usable(there, site)
        placements = place_all(queue.trials.values(), site, usable)
        slots = _slots(usable, site)
        if self._lots is None:
            self._lots = Lots(
                queue,
                self._listener,
                self._store,
                slots,
                placements,
                lambda placement: with_more_memory(placement, usable),
            )
        self._lots.fit_into(lambda placements: at_once(placements, there, slots))
        assignment = _assignment(queue, self._store, site, self._probe)
        self._listener.preparing("starting workers, which load torch")
        pool.drain(self._lots, assignment, slots)

    def _check(self, pool: Pool, there: Nodes) -> None:
        """Raises ExecutorError where a node would not compute what the driver planned."""
        is_this_machine = sum(node.up for node in there.known) < 2 and not self._site.address
        if is_this_machine:
            return
        trials = self._queue.trials.values()
        classes = sorted({path for trial in trials for path in class_paths(trial)})
        store, probe = self._store.address, self._probe
        self._listener.preparing("asking every machine whether it has the same code and store")
        driver = greet(store, probe, classes, {})
        others = pool.greetings(store, probe, classes, _variables(classes))
        problems = disagreements(driver, others)
        if problems:
            listed = [f"  - {problem}" for problem in problems]
            raise ExecutorError("\n".join(["the cluster cannot start work:", *listed]))

    def give_back(self, ended: PoolEnded, num_left: int) -> None:
        """What had been handed out goes back to the queue. Raises ExecutorError where the pool is
        not started again.
        """
        if self._lots is not None:
            self._lots.give_back(f"Ray is gone: {ended}")
        if self._queue.is_finished:
            return
        logged = _logged(self._site)
        if not self._site.address and num_left:
            self._listener.noted(f"Ray is gone ({ended}) and is started again. {logged}")
            return
        num_open = self._queue.num_waiting + len(self._queue.running)
        whose = f"the Ray cluster at {self._site.address} is gone"
        if not self._site.address:
            whose = f"Ray is gone for the {RESTARTS + 1}th time in this run"
        raise ExecutorError(
            f"{whose} ({ended}), so it ends here; {num_open} trials have not run. {logged}. "
            "What is done is kept; the same command goes on from here"
        )


def _logged(site: Site) -> str:
    return f"What Ray says of it is in {site.ray_log}"


def _usable(there: Nodes, site: Site) -> Nodes:
    """The nodes that trials can be placed on."""
    if not site.address:
        nodes = [node for node in there.known if node.up]
        if len(nodes) == 1:
            # A Ray of our own counts as many CPUs as its slots need: more than there may be.
            nodes = [replace(nodes[0], cpus=min(nodes[0].cpus, os.cpu_count() or 1))]
        return Nodes(nodes)
    # A cluster that starts its nodes when they are asked for: what they have, nobody has said. One
    # that has what the site asks for is taken at its word.
    has_none_yet = not any(node.cpus for node in there.known) or (
        site.device == "gpu" and not any(node.gpus for node in there.known)
    )
    is_unknown = has_none_yet and all(node.up for node in there.known)
    return Nodes(there.known, may_grow=is_unknown)


def _slots(nodes: Nodes, site: Site) -> int:
    """How many trials run at once: what the site says, else one a CPU. Raises ExecutorError where
    neither says it: a cluster that starts its nodes when they are asked for has none yet.
    """
    if site.slots:
        return site.slots
    num_cpus = int(sum(node.cpus * node.up for node in nodes.known))
    if not num_cpus:
        raise ExecutorError(
            "the cluster has no CPUs yet, so nothing says how many trials to run at once: "
            f"name it (slots = 16 in spolia.toml, or {option('slots', 16)})"
        )
    return num_cpus


def _variables(paths: Iterable[str]) -> dict[str, str]:
    """What is set in the environment of a node that is to load these classes: the driver trusts
    their packages, since its sweep imported them.
    """
    set_here = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return {**set_here, PACKAGES: packages_of(paths)}


def _assignment(queue: Queue, store: Store, site: Site, probe: str) -> Assignment:
    trials = queue.trials
    paths = {class_paths(trial) for trial in trials.values()}
    return Assignment(
        trials={key: json.dumps(trial.to_json()) for key, trial in trials.items()},
        replaces={key: queue.plan.outdated[key] for key in trials if key in queue.plan.outdated},
        code={classes: dict(code_in_use(classes).modules) for classes in paths},
        versions=versions(),
        store=store.address,
        probe=probe,
        scratch=str(site.scratch.absolute()),
        checkpoint_every=site.checkpoint_every,
        variables=_variables({path for t in trials.values() for path in class_paths(t)}),
    )
