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
import pickle
import shlex
import signal
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
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
import yaml  # type: ignore[import-untyped]  # comes with Ray
from ray import tune
from ray.exceptions import OutOfMemoryError, RayError
from ray.tune.error import TuneError
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.errors import Abandoned, ExecutorError
from orchestrator.executors.executor import Listener, check_that_it_ended
from orchestrator.executors.handshake import Greeting, disagreements, greet, versions
from orchestrator.executors.lifeline import lifeline
from orchestrator.executors.placement import (
    Node,
    Nodes,
    Placement,
    cpus_for_slots,
    in_words,
    place_all,
    this_machine,
)
from orchestrator.executors.site import Site
from orchestrator.executors.waiting import Look, telling_what_is_waited_for
from orchestrator.executors.worker import Assignment, TrialRunner
from orchestrator.planning.queue import Queue
from orchestrator.spec.classes import FOLDERS, packages_of
from orchestrator.spec.classes import VARIABLE as PACKAGES
from orchestrator.spec.naming import class_paths
from orchestrator.spec.trial import Trial
from orchestrator.store.code import code_in_use
from orchestrator.store.heartbeat import alive
from orchestrator.store.store import Store
from orchestrator.training.attempts import (
    Attempt,
    Gone,
    Unfit,
    Worker,
    attempt_of,
    from_json,
    to_json,
)
from orchestrator.training.execute import finished_by_others

# Workers need them as the driver has them.
VARIABLES = ("SPOLIA_DATA", "SPOLIA_CACHE", "TORCH_HOME", FOLDERS)
ANSWER_WITHIN = 60.0  # seconds for every node to answer the handshake
BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")  # on the head of a cluster that `ray up` started
SAY_AFTER = 60.0  # seconds in which nothing has started, until it is said what is waited for
KINDS = ("CPU", "GPU")  # of a node's resources
CONNECT_WITHIN = 5.0  # seconds for a cluster's address to accept a connection
# How the lines begin in which Ray says why a worker went away.
SAYS_WHY = ("the actor died", "the actor is dead", "worker unexpectedly", "the node")
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
        with _connected(site, _cpus_for_slots(queue, site)), alive(store) as probe:
            _check_nodes(store, site, classes, probe)
            with lifeline(ray.util.get_node_ip_address()) as line:
                _fit(queue, store, site, listener, probe, line)
        check_that_it_ended(queue)

    def greetings(self, store: Store, site: Site, classes: Sequence[str]) -> list[Greeting]:
        with _connected(site), alive(store) as probe:
            driver = greet(store.address, probe, classes, {})
            return [driver, *_greetings_of_nodes(store, classes, probe)]


def _cpus_for_slots(queue: Queue, site: Site) -> float:
    """CPUs that a private Ray counts; 0 where we are going to work on another. Raises
    ExecutorError for what this machine cannot hold.
    """
    if site.address or ray.is_initialized():
        return 0
    placements = place_all(queue.trials.values(), site, Nodes((this_machine(),)))
    return cpus_for_slots(placements.values(), site.slots or os.cpu_count() or 1)


@contextlib.contextmanager
def _connected(site: Site, cpus: float = 0) -> Iterator[None]:
    """A Ray to work on: the one this process is connected to already, the cluster of the site, or a
    private one on this machine, with so many CPUs (0: one a slot).
    """
    if ray.is_initialized():
        yield
        return
    with _signals_as_before():
        if site.address:
            join(site.address)
        else:
            start_local(cpus or site.slots or os.cpu_count() or 1)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _signals_as_before() -> Iterator[None]:
    """Ray sets a handler of its own for SIGTERM, which aborts. A preempted driver is to stop like
    an interrupted one.
    """
    # Only the main thread may set handlers, and only there Ray does.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def start_local(cpus: float) -> None:
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
    if "://" in address:
        raise ExecutorError(
            f"{address}: the driver must run on the cluster; `spolia submit` has it run there "
            "(docs/running-on-a-cluster.md)"
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


def _ids_of_nodes() -> list[str]:
    """Ids of the nodes that can take work."""
    return [node["NodeID"] for node in _nodes_alive() if node["Resources"].get("CPU")]


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
        # No CPU is asked for: a cluster that is busy still answers. One call a process: this one
        # has looked at all GPUs, and a worker made of it would go on seeing them.
        remote = ray.remote(num_cpus=0, scheduling_strategy=on_node, max_retries=0, max_calls=1)(
            greet
        )
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


def _fit(queue: Queue, store: Store, site: Site, listener: Listener, probe: str, line: str) -> None:
    """Let Ray Tune run the whole queue. Raises ExecutorError where Tune itself gives up."""
    placements = place_all(queue.trials.values(), site, _nodes(site))
    queue = queue.shaped(lambda trial: placements[trial.key], _ids_of_nodes)
    slots = _slots(site)
    # Put into Ray's object store once, not sent with every lot.
    assignment = replace(_assignment(queue, store, site, probe, placements), lifeline=line)
    worker = tune.with_parameters(LotRunner, assignment=assignment)
    lots = LotSearcher(queue, listener, store, slots, placements)
    with _tune_folder(store, probe) as folder:
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        tuner = tune.Tuner(
            tune.with_resources(worker, _resources_of_lots(placements)),
            tune_config=tune.TuneConfig(
                search_alg=lots,
                scheduler=NothingToChoose(lots),
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
                # What is tried again, the queue decides.
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        try:
            with telling_what_is_waited_for(_look, listener.noted, SAY_AFTER):
                tuner.fit()
        except TuneError as error:
            last_line = str(error).strip().splitlines()[-1]
            raise ExecutorError(f"Ray Tune gave up: {last_line}") from error


def _nodes(site: Site) -> Nodes:
    """The nodes of the Ray that we are connected to, and the kinds that it starts when asked."""
    there = [
        Node(node["NodeManagerHostname"], *(node["Resources"].get(kind, 0.0) for kind in KINDS))
        for node in _nodes_alive()
    ]
    if len(there) == 1 and not site.address:
        # A Ray of our own counts as many CPUs as its slots need, which may be more than there are.
        (node,) = there
        return Nodes((replace(node, cpus=min(node.cpus, os.cpu_count() or 1)),))
    types = node_types() if site.address else []
    # A cluster that starts its nodes when they are asked for: what they have, nobody has said.
    is_unknown = not types and (site.device == "gpu" or not any(node.cpus for node in there))
    return Nodes((*there, *types), may_grow=bool(site.address) and is_unknown)


def node_types() -> list[Node]:
    """The kinds of machines that a cluster starts when it is asked, where it says so: as its
    provider has told Ray, or in what `ray up` leaves on the head, which the autoscaler reads, too.
    """
    config = ray._private.state.state.get_cluster_config()
    groups = [] if config is None else config.node_group_configs
    told = [(group.name or "node", dict(group.resources), group.max_count) for group in groups]
    if not told and BOOTSTRAP.expanduser().is_file():
        types = yaml.safe_load(BOOTSTRAP.expanduser().read_text()).get("available_node_types", {})
        told = [(n, t.get("resources", {}), t.get("max_workers", 0)) for n, t in types.items()]
    return [
        Node(f"{name}, a node type", *(float(resources.get(kind, 0)) for kind in KINDS))
        for name, resources, count in told
        if count  # none of the head's
    ]


def _look() -> Look | None:
    """How things stand with what Tune has asked Ray for; None where Ray does not answer now."""
    try:
        # Tune asks for a placement group a lot; those of other drivers have other jobs' numbers.
        job = ray.get_runtime_context().get_job_id()
        groups = ray.util.placement_group_table().values()
        free = ray._private.state.available_resources_per_node()
        nodes = [node for node in _nodes_alive() if node["Resources"].get("CPU")]
    except (RayError, RuntimeError, ConnectionError):
        return None
    ours = [group for group in groups if group["placement_group_id"].endswith(job)]
    waiting = Counter(
        in_words(*(group["bundles"][0].get(kind, 0.0) for kind in KINDS))
        for group in ours
        if group["state"] == "PENDING"
    )
    return Look(
        waiting,
        num_placed=sum(group["state"] == "CREATED" for group in ours),
        free=[_free_in_words(node, free.get(node["NodeID"], {})) for node in nodes],
    )


def _free_in_words(node: Mapping[str, Any], free: Mapping[str, float]) -> str:
    """`node-7 has 0 of 8 CPUs, 1 of 1 GPUs`"""
    has = [(kind, node["Resources"][kind]) for kind in KINDS if node["Resources"].get(kind)]
    parts = [f"{free.get(kind, 0.0):g} of {count:g} {kind}s" for kind, count in has]
    return f"{node['NodeManagerHostname']} has {', '.join(parts)}"


def _slots(site: Site) -> int:
    """How many trials run at once: what the site says, else one a CPU. Raises ExecutorError where
    neither says it: a cluster that starts its nodes when they are asked for has none yet.
    """
    if site.slots:
        return site.slots
    num_cpus = int(ray.cluster_resources().get("CPU", 0))
    if not num_cpus:
        raise ExecutorError(
            "the cluster has no CPUs yet, so nothing says how many trials to run at once: "
            "name it (slots = 16 in spolia.toml, or --slots 16)"
        )
    return num_cpus


def _assignment(
    queue: Queue, store: Store, site: Site, probe: str, placements: Mapping[str, Placement]
) -> Assignment:
    trials = queue.trials
    paths = {class_paths(trial) for trial in trials.values()}
    return Assignment(
        trials={key: json.dumps(trial.to_json()) for key, trial in trials.items()},
        placements=placements,
        replaces={key: queue.plan.outdated[key] for key in trials if key in queue.plan.outdated},
        code={classes: dict(code_in_use(classes).modules) for classes in paths},
        versions=versions(),
        store=store.address,
        probe=probe,
        scratch=str(site.scratch.absolute()),
        checkpoint_every=site.checkpoint_every,
        variables=_variables({path for t in trials.values() for path in class_paths(t)}),
    )


def _resources_of_lots(
    placements: Mapping[str, Placement],
) -> Callable[[Mapping[str, Any]], tune.PlacementGroupFactory]:
    """What Tune sets aside for a lot, given its config: the trials of a lot are of one shape."""
    # Plain values only: what the function below holds is unpickled on workers, before any of our
    # code could say what is missing there.
    shape_of = {key: (placed.cpus, placed.gpus) for key, placed in placements.items()}

    def resources(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        first_key = config["keys"].partition(",")[0]
        cpus, gpus = shape_of[first_key]
        bundle = {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}
        if not config["unfit"]:
            return tune.PlacementGroupFactory([bundle])
        elsewhere = {"ray.io/node-id": f"!in({config['unfit']})"}
        return tune.PlacementGroupFactory([bundle], bundle_label_selector=[elsewhere])

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
    """Tune's source of what to run: hands out lots of trials by key, as their needs get done, and
    tells the queue what came of each.
    """

    def __init__(
        self,
        queue: Queue,
        listener: Listener,
        store: Store,
        slots: int,
        placements: Mapping[str, Placement],
    ) -> None:
        # Tune insists on a metric; nothing is chosen by it.
        super().__init__(metric="seconds", mode="min")
        self._queue, self._listener, self._store = queue, listener, store
        self._slots, self._placements = slots, placements
        self._live: dict[str, list[Trial]] = {}  # lots by Tune's own ids
        self._errors: dict[str, Exception] = {}  # of lots that ended with one
        self._freed: Placement | None = None  # of the worker that is free now

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
        return {"keys": ",".join(t.key for t in lot), "unfit": ",".join(sorted(self._queue.unfit))}

    def on_error(self, trial_id: str, error: Exception | None) -> None:
        """Why a lot is going to be complete with an error."""
        if error is not None:
            self._errors[trial_id] = error

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        lot = self._live.pop(trial_id, [])
        if not lot:
            return
        self._freed = self._placements[lot[0].key]
        why = self._errors.pop(trial_id, None)
        cause = getattr(why, "cause", why)
        if isinstance(cause, WorkerIsUnfit):
            self._hear(lot, cause.report)
        elif error or not result or "attempts" not in result:
            self._gone(lot, why)
        else:
            self._hear(lot, result["attempts"])

    def _hear(self, lot: Sequence[Trial], report: str) -> None:
        """Tell the queue what a worker reported of the trials of its lot."""
        attempts = [from_json(attempt) for attempt in json.loads(report)]
        for attempt in attempts:
            self._tell(attempt)
        # Those behind one for which the worker was unfit were never begun.
        for trial in lot[len(attempts) :]:
            self._queue.put_back(trial.key, alone=False)

    def _gone(self, lot: Sequence[Trial], error: Exception | None) -> None:
        """A worker went away. What it finished before is in the store; of several others, each gets
        a try by itself: one of them killed it.
        """
        left = []
        for trial in lot:
            replaces = self._queue.plan.outdated.get(trial.key, "")
            found = finished_by_others(trial, self._store, replaces)
            if found is not None:
                self._tell(attempt_of(found, Worker()))
            else:
                left.append(trial)
        why, is_node = _what_ray_says(error)
        for trial in left:
            if len(left) > 1:
                self._queue.put_back(trial.key)
            else:
                self._tell(Gone(trial.key, why, is_node))

    def _tell(self, attempt: Attempt) -> None:
        known = len(self._queue.unfit), len(self._queue.held_back)
        ended = self._queue.heard(attempt)
        if ended is not None:
            self._listener.ended(ended)
        if known != (len(self._queue.unfit), len(self._queue.held_back)):
            self._listener.noted(_decision(attempt, self._queue))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: what is done stands in the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the same command plans against the store."""


class NothingToChoose(FIFOScheduler):  # type: ignore[misc]  # Ray has no types
    """The queue decides the order; Tune's own scheduler would scan every trial at every step. Of
    errors Tune tells its scheduler more than its searcher, which they are passed on to.
    """

    def __init__(self, lots: LotSearcher) -> None:
        super().__init__()
        self._lots = lots

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its scheduler, too."""
        return {}

    def choose_trial_to_run(self, tune_controller: Any, **kwargs: Any) -> None:
        return None

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._lots.on_error(trial.trial_id, _error_of(trial))


class WorkerIsUnfit(Exception):  # noqa: N818 - a report
    """Raised by a worker that can run nothing more, so that Tune ends its process. `report` is what
    became of its lot.
    """

    def __init__(self, report: str) -> None:
        super().__init__(report)
        self.report = report


class LotRunner(tune.Trainable):  # type: ignore[misc]  # Ray has no types
    """An actor that runs one lot after another. `step` runs a whole lot."""

    def setup(self, config: dict[str, Any], assignment: Assignment) -> None:
        node = ray.get_runtime_context().get_node_id()
        name = f"{socket.gethostname()}, process {os.getpid()}"
        self._keys = config["keys"].split(",")
        # Tune hands an actor on to lots of the same resources only.
        placement = assignment.placements[self._keys[0]]
        self._runner = TrialRunner(assignment, Worker(node, name), placement)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._keys = new_config["keys"].split(",")
        return True  # the same actor goes on: imports, CUDA and cached images stay warm

    def step(self) -> dict[str, Any]:
        try:
            attempts = self._runner.run_lot(self._keys)
        except Abandoned:
            # Nobody hears an error. Ray would let the process live until it asks for work.
            os._exit(1)
        report = json.dumps([to_json(attempt) for attempt in attempts])
        if isinstance(attempts[-1], Unfit):
            raise WorkerIsUnfit(report)
        return {"attempts": report, "seconds": 0.0, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Trials keep checkpoints of their own."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Trials keep checkpoints of their own."""


def _error_of(trial: Any) -> Exception | None:
    """Why a lot of Tune's ended, or None. Tune writes it beside the lot's state on this machine;
    where it looks for it itself, on shared storage, it arrives later.
    """
    try:
        content = Path(trial.pickled_error_file).read_bytes()
    except (OSError, TypeError):
        return trial.get_error()  # type: ignore[no-any-return]
    error = pickle.loads(content)
    return error if isinstance(error, Exception) else None


def _what_ray_says(error: Exception | None) -> tuple[str, bool]:
    """Why a worker went away, in a line, and whether its machine went with it."""
    if error is None:
        return "Ray does not say why", False
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, OutOfMemoryError):
        return f"out of memory; {lines[0]}", False
    is_node = bool(getattr(error, "preempted", False)) or "node died" in str(error).lower()
    said = [line for line in lines if line.lower().startswith(SAYS_WHY)]
    return (said or lines or [type(error).__name__])[-1], is_node


def _decision(attempt: Attempt, queue: Queue) -> str:
    """What the queue has decided upon an attempt, for people."""
    if isinstance(attempt, Unfit):
        where = attempt.worker.name.partition(",")[0]
        return f"no more work goes to {where} (node {attempt.worker.node[:8]}): {attempt.why}"
    method = queue.trials[attempt.key].method.name
    return f"{method} breaks alike again and again, so the rest of it waits until all else is done"
