"""Ray Tune: one experiment over the whole graph of trials, on a private local Ray or on a cluster.

A search algorithm of our own hands out lots of trials whose needs are done. Workers are actors that
stay warm from lot to lot; exceptions of a method are caught in the worker and come back as
outcomes, so that Tune's own retries are for lost workers only.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

# Read by Ray when it is imported: no loggers that block the driver, no change of folder, no
# snapshots every few seconds, Ctrl-C is ours.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune.error import TuneError
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.errors import ExecutorError
from orchestrator.executors.executor import Listener
from orchestrator.executors.handshake import Greeting, disagreements, greet
from orchestrator.executors.site import Shapes, Site
from orchestrator.executors.worker import Assignment, TrialRunner
from orchestrator.planning.queue import Queue
from orchestrator.spec.classes import FOLDERS, packages_of
from orchestrator.spec.classes import VARIABLE as PACKAGES
from orchestrator.spec.naming import class_paths
from orchestrator.spec.trial import Trial
from orchestrator.store.code import code_in_use
from orchestrator.store.heartbeat import alive
from orchestrator.store.store import Store
from orchestrator.training.execute import finished_by_others
from orchestrator.training.outcome import Outcome

RETRIES = 2  # tries of a lot whose worker was lost, beyond the first
# Workers need them as the driver has them.
VARIABLES = ("SPOLIA_DATA", "SPOLIA_CACHE", "TORCH_HOME", FOLDERS)
ANSWER_WITHIN = 60.0  # seconds for every node to answer the handshake
CONNECT_WITHIN = 5.0  # seconds for a cluster's address to accept a connection
CLUSTER_HINT = (
    "Is the cluster up (`ray status` on its head), is this machine part of it, "
    "and does RAY_AUTH_MODE agree?"
)


class RayTune:
    """Runs trials as one Ray Tune experiment."""

    def run(self, queue: Queue, store: Store, site: Site, listener: Listener) -> None:
        if queue.is_finished:
            return
        classes = sorted({path for trial in queue.trials.values() for path in class_paths(trial)})
        # The probe stays while we run: workers that a cluster starts later look for it, too.
        with _connected(site), alive(store) as probe:
            _check_nodes(store, site, classes, probe)
            _fit(queue, store, site, listener, probe)
        if not queue.is_finished:
            num_left = queue.num_waiting + len(queue.running)
            raise ExecutorError(
                f"Ray Tune stopped with {num_left} trials not run; run the same command again"
            )

    def greetings(self, store: Store, site: Site, classes: Sequence[str]) -> list[Greeting]:
        with _connected(site), alive(store) as probe:
            driver = greet(store.address, probe, classes, {})
            return [driver, *_greetings_of_nodes(store, classes, probe)]


@contextlib.contextmanager
def _connected(site: Site) -> Iterator[None]:
    """A Ray to work on: the one this process is connected to already, the cluster of the site, or a
    private one on this machine.
    """
    if ray.is_initialized():
        yield
        return
    if site.address:
        join(site.address)
    else:
        start_local(site.slots or os.cpu_count() or 1)
    try:
        yield
    finally:
        ray.shutdown()


def start_local(cpus: int) -> None:
    """A private Ray on this machine. Raises ExecutorError where it cannot be started."""
    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=runtime_env(),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ExecutorError(
            f"a local Ray cannot be started: {error}. --executor inline works without it"
        ) from error


def join(address: str) -> None:
    """Join a cluster as its driver. Raises ExecutorError where nobody answers."""
    if address.startswith("ray://"):
        raise ExecutorError(
            f"{address}: the driver must run on the cluster; start it there with "
            "`ray job submit` (docs/running-on-a-cluster.md)"
        )
    if address != "auto":
        _check_that_it_answers(address)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=runtime_env(),
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        first_line = str(error).splitlines()[0]
        raise ExecutorError(
            f"no Ray cluster answers at {address!r}: {first_line} {CLUSTER_HINT}"
        ) from error


def _check_that_it_answers(address: str) -> None:
    """A socket fails within seconds where Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_WITHIN).close()
    except (OSError, ValueError) as error:
        raise ExecutorError(
            f"no Ray cluster answers at {address!r} ({error}). {CLUSTER_HINT} "
            "An address is 'auto' or HOST:PORT"
        ) from error


def runtime_env() -> dict[str, str] | None:
    """Ray hands the interpreter's path to a shell as it is: with a space in it no worker would ever
    start, and Tune would wait for ever.
    """
    quoted = shlex.quote(sys.executable)
    return {"py_executable": quoted} if quoted != sys.executable else None


def _nodes_alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _check_nodes(store: Store, site: Site, classes: Sequence[str], probe: str) -> None:
    """Raises ExecutorError where a node would not compute what the driver planned. A private Ray
    needs no such check.
    """
    if len(_nodes_alive()) < 2 and not site.address:  # a private Ray is this very machine
        return
    driver = greet(store.address, probe, classes, {})
    problems = disagreements(driver, _greetings_of_nodes(store, classes, probe))
    if problems:
        listed = [f"  - {problem}" for problem in problems]
        raise ExecutorError("\n".join(["the cluster cannot start work:", *listed]))


def _greetings_of_nodes(store: Store, classes: Sequence[str], probe: str) -> list[Greeting]:
    """What every node of the cluster says of itself; all are asked at once. Raises ExecutorError
    that names a node that does not answer.
    """
    pending = []
    for node in _nodes_alive():
        on_node = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        # No CPU is asked for: a cluster that is busy still answers.
        remote = ray.remote(num_cpus=0, scheduling_strategy=on_node, max_retries=0)(greet)
        answer = remote.remote(store.address, probe, list(classes), _variables(classes))
        pending.append((node, answer))
    greetings = []
    for node, answer in pending:
        try:
            greetings.append(ray.get(answer, timeout=ANSWER_WITHIN))
        except RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            name = f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"
            raise ExecutorError(f"node {name} cannot take part: {lines[-1]}") from error
    return greetings


def _variables(paths: Iterable[str]) -> dict[str, str]:
    """What is set in the environment of a node that is to load these classes: the driver trusts
    their packages, since its sweep imported them.
    """
    set_here = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return {**set_here, PACKAGES: packages_of(paths)}


def _fit(queue: Queue, store: Store, site: Site, listener: Listener, probe: str) -> None:
    """Let Ray Tune run the whole queue. Raises ExecutorError where Tune itself gives up."""
    shapes = _shapes(site)
    queue = queue.shaped(shapes)
    slots = site.slots or max(1, int(shapes.cpus))
    # Put into Ray's object store once, not sent with every lot.
    worker = tune.with_parameters(Worker, assignment=_assignment(queue, store, site, probe))
    with _tune_folder(store, probe) as folder:
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        tuner = tune.Tuner(
            tune.with_resources(worker, _resources_of_lots(queue, shapes)),
            tune_config=tune.TuneConfig(
                search_alg=LotSearcher(queue, listener, store, slots, shapes),
                scheduler=NothingToChoose(),
                num_samples=-1,  # until the searcher says that it has finished
                max_concurrent_trials=slots,
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=folder,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        )
        try:
            tuner.fit()
        except TuneError as error:
            last_line = str(error).strip().splitlines()[-1]
            raise ExecutorError(f"Ray Tune gave up: {last_line}") from error


def _shapes(site: Site) -> Shapes:
    """The shapes of workers on the cluster that we are connected to."""
    total = ray.cluster_resources()
    shapes = Shapes(site, total.get("CPU", 1.0), total.get("GPU", 0.0))
    if site.device == "gpu" and not site.address and not shapes.gpus:
        raise ExecutorError(
            'the site says device = "gpu" and there is none on this machine; '
            'name a cluster (address), or say device = "auto"'
        )
    return shapes


def _assignment(queue: Queue, store: Store, site: Site, probe: str) -> Assignment:
    trials = queue.trials
    paths = {class_paths(trial) for trial in trials.values()}
    return Assignment(
        trials={key: json.dumps(trial.to_json()) for key, trial in trials.items()},
        replaces={key: queue.plan.outdated[key] for key in trials if key in queue.plan.outdated},
        code={classes: dict(code_in_use(classes).modules) for classes in paths},
        store=store.address,
        probe=probe,
        scratch=str(site.scratch.absolute()),
        checkpoint_every=site.checkpoint_every,
        device=site.run_on,
        variables=_variables({path for t in trials.values() for path in class_paths(t)}),
    )


def _resources_of_lots(
    queue: Queue, shapes: Shapes
) -> Callable[[Mapping[str, Any]], tune.PlacementGroupFactory]:
    """What Tune sets aside for a lot, given its config: the trials of a lot are of one shape."""
    # Plain values only: what the function below holds is unpickled on workers, before any of our
    # code could say what is missing there.
    shape_of = {key: shapes(trial) for key, trial in queue.trials.items()}

    def resources(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        first_key = config["keys"].partition(",")[0]
        cpus, gpus = shape_of[first_key]
        bundle = {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}
        return tune.PlacementGroupFactory([bundle])

    return resources


@contextlib.contextmanager
def _tune_folder(store: Store, run: str) -> Iterator[str]:
    """Where Tune keeps its own state, which nobody reads: on one machine a temporary folder, else
    beside the store, which every node reaches, under the name of the run.
    """
    if len(ray.nodes()) == 1:
        with tempfile.TemporaryDirectory(
            prefix="spolia-tune-", ignore_cleanup_errors=True
        ) as folder:
            yield folder
        return
    name = f"tune/{run}"
    try:
        yield store.folder(name)
    finally:
        store.clear(name)


class LotSearcher(Searcher):  # type: ignore[misc]  # Ray has no types
    """Tune's source of what to run: hands out lots of trials by key, as their needs get done."""

    def __init__(
        self, queue: Queue, listener: Listener, store: Store, slots: int, shapes: Shapes
    ) -> None:
        # Tune insists on a metric; nothing is chosen by it.
        super().__init__(metric="seconds", mode="min")
        self._queue, self._listener, self._store = queue, listener, store
        self._slots, self._shapes = slots, shapes
        self._live: dict[str, list[Trial]] = {}  # lots by Tune's own ids
        self._freed: tuple[float, float] | None = None  # shape of the worker that is free now

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher for a restore that is never made; the queue stays here."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        lot = self._queue.take_lot(self._slots, self._freed)
        if not lot:
            # None: nothing is ready yet, ask again
            return Searcher.FINISHED if self._queue.is_finished else None
        self._live[trial_id] = lot
        for trial in lot:
            self._listener.started(trial)
        return {"keys": ",".join(t.key for t in lot)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        lot = self._live.pop(trial_id, [])
        if not lot:
            return
        self._freed = self._shapes(lot[0])
        if error or not result or "outcomes" not in result:
            for trial in lot:
                self._lost(trial, alone=len(lot) == 1)
            return
        for outcome in json.loads(result["outcomes"]):
            self._end(Outcome(**outcome))

    def _lost(self, trial: Trial, alone: bool) -> None:
        """A worker went away for good. What it finished before is in the store; of several, each
        gets a try by itself: one of them killed it.
        """
        replaces = self._queue.plan.outdated.get(trial.key, "")
        found = finished_by_others(trial, self._store, replaces)
        if found is not None:
            self._end(found)
        elif alone:
            reason = (
                f"its worker went away {RETRIES + 1} times (out of memory, or the machine is gone)"
            )
            self._end(Outcome(trial.key, "lost", reason=reason))
        else:
            self._queue.put_back(trial.key)

    def _end(self, outcome: Outcome) -> None:
        self._queue.finish(outcome)
        self._listener.ended(outcome)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: what is done stands in the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the same command plans against the store."""


class NothingToChoose(FIFOScheduler):  # type: ignore[misc]  # Ray has no types
    """The queue decides the order; Tune's own scheduler would scan every trial at every step."""

    def choose_trial_to_run(self, tune_controller: Any, **kwargs: Any) -> None:
        return None


class Worker(tune.Trainable):  # type: ignore[misc]  # Ray has no types
    """An actor that runs one lot after another. `step` runs a whole lot."""

    def setup(self, config: dict[str, Any], assignment: Assignment) -> None:
        self._runner = TrialRunner(assignment)
        self._keys = config["keys"].split(",")

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._keys = new_config["keys"].split(",")
        return True  # the same actor goes on: imports, CUDA and cached images stay warm

    def step(self) -> dict[str, Any]:
        outcomes = [asdict(self._runner.run(key)) for key in self._keys]
        return {"outcomes": json.dumps(outcomes), "seconds": 0.0, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Trials keep checkpoints of their own."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Trials keep checkpoints of their own."""
