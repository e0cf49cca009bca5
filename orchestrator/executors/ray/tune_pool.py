"""Ray Tune as a pool of processes that stay warm from lot to lot.

One experiment, whose search algorithm hands out lots until there is none left. Exceptions of a
method are caught in the worker and come back as attempts; what is tried again, Tune does not decide
(docs/decisions/0025-ray-tune.md).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import ActorUnavailableError, OutOfMemoryError
from ray.tune.error import TuneError
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from orchestrator.errors import Abandoned, ExecutorError
from orchestrator.executors.assignment import Assignment
from orchestrator.executors.handshake import Greeting
from orchestrator.executors.lifeline import lifeline
from orchestrator.executors.placement import Nodes, Placement
from orchestrator.executors.pool import Lot, Source
from orchestrator.executors.ray import nodes
from orchestrator.executors.waiting import telling_what_is_waited_for
from orchestrator.store.store import Store
from orchestrator.training.attempts import Attempt, Unfit, Worker, from_json, to_json

SAY_AFTER = 60.0  # seconds in which nothing has started, until it is said what is waited for
LOOK_EVERY = 1.0  # seconds between two looks of a worker without a lot whether its driver is there
# How the lines begin in which Ray says why a worker went away.
SAYS_WHY = ("the actor died", "the actor is dead", "worker unexpectedly", "the node")


class TunePool:
    """A `Pool` on the Ray that this process is connected to."""

    def __init__(self, say_after: float = SAY_AFTER) -> None:
        self._say_after = say_after

    def nodes(self) -> Nodes:
        return Nodes((*nodes.there(), *nodes.types()))

    def greetings(
        self, store: str, probe: str, classes: Sequence[str], variables: Mapping[str, str]
    ) -> list[Greeting]:
        return nodes.greetings(store, probe, classes, variables)

    def drain(self, lots: Source, assignment: Assignment, slots: int) -> None:
        """Raises ExecutorError where Tune itself gives up."""
        with (
            # It breaks with the process that workers work for, which this is.
            lifeline(ray.util.get_node_ip_address()) as line,
            _tune_folder(assignment) as folder,
            telling_what_is_waited_for(nodes.look, lots.noted, self._say_after),
        ):
            logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
            try:
                _tuner(lots, replace(assignment, lifeline=line), slots, folder).fit()
            except TuneError as error:
                last_line = str(error).strip().splitlines()[-1]
                raise ExecutorError(f"Ray Tune gave up: {last_line}") from error


def _tuner(source: Source, assignment: Assignment, slots: int, folder: str) -> tune.Tuner:
    # Put into Ray's object store once, not sent with every lot.
    worker = tune.with_parameters(LotRunner, assignment=assignment)
    lots = LotSearcher(source)
    return tune.Tuner(
        tune.with_resources(worker, _resources_of_lot),
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


def _resources_of_lot(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """What Tune sets aside for a lot, given its config."""
    bundle = {kind: config[kind] for kind in ("CPU", "GPU") if config[kind]}
    if not config["unfit"]:
        return tune.PlacementGroupFactory([bundle])
    elsewhere = {"ray.io/node-id": f"!in({config['unfit']})"}
    return tune.PlacementGroupFactory([bundle], bundle_label_selector=[elsewhere])


@contextlib.contextmanager
def _tune_folder(assignment: Assignment) -> Iterator[str]:
    """Where Tune keeps its own state, which nobody reads: on one machine a temporary folder, else
    beside the store, which every node reaches, under the name of the run.
    """
    if len(ray.nodes()) == 1:
        with tempfile.TemporaryDirectory(
            prefix="spolia-tune-", ignore_cleanup_errors=True
        ) as folder:
            yield folder
        return
    store, name = Store(assignment.store), f"tune/{assignment.probe}"
    try:
        yield store.folder(name)
    finally:
        store.clear(name)


class LotSearcher(Searcher):  # type: ignore[misc]  # Ray has no types
    """Tune's source of what to run, which it asks whenever a worker is free, and tells what came of
    each lot.
    """

    def __init__(self, lots: Source) -> None:
        # Tune insists on a metric; nothing is chosen by it.
        super().__init__(metric="seconds", mode="min")
        self._lots = lots
        self._live: dict[str, Lot] = {}  # by Tune's own ids
        self._errors: dict[str, Exception] = {}  # of lots that ended with one
        self._freed: Placement | None = None  # of the worker that is free now

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher for a restore that is never made; the source stays here."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        lot = self._lots.take(self._freed)
        if lot is None:
            # None: nothing is ready yet, ask again
            return Searcher.FINISHED if self._lots.is_finished() else None
        self._live[trial_id] = lot
        resources = {"CPU": lot.placement.cpus, "GPU": lot.placement.gpus}
        return {"keys": ",".join(lot.keys), "unfit": ",".join(lot.unfit), **resources}

    def on_error(self, trial_id: str, error: Exception | None) -> None:
        """Why a lot is going to be complete with an error."""
        if error is not None:
            self._errors[trial_id] = error

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        lot = self._live.pop(trial_id, None)
        if lot is None:
            return
        self._freed = lot.placement
        why = self._errors.pop(trial_id, None)
        cause = getattr(why, "cause", why)
        if isinstance(cause, WorkerIsUnfit):
            self._lots.heard(lot, _read(cause.report), nodes.ids(lot.placement))
        elif error or not result or "attempts" not in result:
            self._lots.gone(lot, *_what_ray_says(why))
        else:
            self._lots.heard(lot, _read(result["attempts"]))

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
        # Not at the top: it loads torch, for which the driver's side of this file has no use.
        from orchestrator.executors.worker import TrialRunner

        node = ray.get_runtime_context().get_node_id()
        name = f"{socket.gethostname()}, process {os.getpid()}"
        self._keys = config["keys"].split(",")
        # Tune hands an actor on to lots of the same resources only.
        placement = Placement(config["CPU"], config["GPU"])
        self._runner = TrialRunner(assignment, Worker(node, name), placement)
        self._has_lot = threading.Lock()
        threading.Thread(target=self._end_if_abandoned, daemon=True).start()

    def _end_if_abandoned(self) -> None:
        """Nobody tells a worker without a lot that there will be no other. One that has a lot comes
        to the end of its epoch first.
        """
        while not self._runner.is_abandoned:
            time.sleep(LOOK_EVERY)
        with self._has_lot:
            os._exit(1)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._keys = new_config["keys"].split(",")
        return True  # the same actor goes on: imports, CUDA and cached images stay warm

    def step(self) -> dict[str, Any]:
        try:
            with self._has_lot:
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


def _read(report: str) -> list[Attempt]:
    return [from_json(attempt) for attempt in json.loads(report)]


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
    # Of a worker that cannot be reached and is not known to have died nobody knows more: as far as
    # anybody can tell, its machine is gone.
    is_node = (
        bool(getattr(error, "preempted", False))
        or "node has died" in str(error).lower()
        or isinstance(error, ActorUnavailableError)
    )
    said = [line for line in lines if line.lower().startswith(SAYS_WHY)]
    return (said or lines or [type(error).__name__])[-1], is_node
