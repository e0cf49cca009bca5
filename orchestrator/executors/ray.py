"""Ray Tune: one experiment over the whole graph of trials, on a private local Ray, or on the one that this process is connected to already.

A search algorithm of our own hands out keys of trials whose needs are done. Workers are actors that stay warm from trial to trial; exceptions of a
method are caught in the worker and come back as outcomes, so that Tune's own retries are for lost workers only.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import sys
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Read by Ray when it is imported: no loggers that block the driver, no change of folder, no snapshots every few seconds, Ctrl-C is ours.
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
from ray.tune.error import TuneError
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from orchestrator.errors import ExecutorError
from orchestrator.execute import Outcome, execute
from orchestrator.executors import Listener, Site
from orchestrator.schedule import Queue
from orchestrator.store import Store
from orchestrator.trial import Trial

RETRIES = 2  # tries of a trial whose worker was lost, beyond the first
SHIPPED = ("SPOLIA_DATA",)  # variables that workers need as the driver has them


class RayTune:
    """Runs trials as one Ray Tune experiment."""

    def run(self, queue: Queue, store: Store, site: Site, listener: Listener) -> None:
        if queue.is_finished:
            return
        ours = not ray.is_initialized()
        if ours:
            start_local(site.slots or os.cpu_count() or 1)
        folder = site.scratch.absolute() / f"tune-{uuid.uuid4().hex[:8]}"
        try:
            _fit(queue, store, site, listener, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if ours:
                ray.shutdown()
        if not queue.is_finished:
            raise ExecutorError(f"Ray Tune stopped with {queue.num_waiting + len(queue.running)} trials not run; run the same command again")


def start_local(cpus: int) -> None:
    """A private Ray on this machine. Raises ExecutorError where it cannot be started."""
    # Ray hands the interpreter's path to a shell as it is: with a space in it no worker would ever start, and Tune would wait for ever.
    quoted = shlex.quote(sys.executable)
    environment = {"py_executable": quoted} if quoted != sys.executable else None
    try:
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, runtime_env=environment)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ExecutorError(f"a local Ray cannot be started: {error}. --executor inline works without it") from error


def _fit(queue: Queue, store: Store, site: Site, listener: Listener, folder: Path) -> None:
    cluster = ray.cluster_resources()
    slots = site.slots or max(1, int(cluster.get("CPU", 1)))
    trials = {key: json.dumps(trial.to_json()) for key, trial in queue.trials.items()}
    wanted = {key: trial.method.resources(trial) for key, trial in queue.trials.items()}
    cpus, gpus = cluster.get("CPU", 1), cluster.get("GPU", 0)

    def resources(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        hint = wanted[config["key"]]
        # More than there is would wait for ever.
        bundle = {"CPU": min(hint.cpus, cpus), **({"GPU": min(hint.gpus, gpus)} if gpus else {})}
        return tune.PlacementGroupFactory([bundle])

    worker = tune.with_parameters(
        Worker,
        trials=trials,
        store=store.address,
        scratch=str(site.scratch.absolute()),
        checkpoint_every=site.checkpoint_every,
        variables={name: os.environ[name] for name in SHIPPED if name in os.environ},
    )
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    tuner = tune.Tuner(
        tune.with_resources(worker, resources),
        tune_config=tune.TuneConfig(
            search_alg=Source(queue, listener), scheduler=NothingToChoose(), num_samples=-1, max_concurrent_trials=slots, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name="sweep", storage_path=str(folder), verbose=0, failure_config=tune.FailureConfig(max_failures=RETRIES)
        ),
    )  # fmt: skip
    try:
        tuner.fit()
    except TuneError as error:
        raise ExecutorError(f"Ray Tune gave up: {str(error).strip().splitlines()[-1]}") from error


class Source(Searcher):  # type: ignore[misc]
    """Hands trials to Tune by key, as their needs get done."""

    def __init__(self, queue: Queue, listener: Listener) -> None:
        super().__init__(metric="seconds", mode="min")  # Tune insists on a metric; nothing is chosen by it
        self._queue, self._listener = queue, listener
        self._live: dict[str, Trial] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes its searcher down for a restore that is never made; the queue stays here."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        trial = self._queue.take()
        if trial is not None:
            self._live[trial_id] = trial
            self._listener.started(trial)
            return {"key": trial.key}
        return Searcher.FINISHED if self._queue.is_finished else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial = self._live.pop(trial_id, None)
        if trial is None:
            return
        if error or not result or "outcome" not in result:
            outcome = Outcome(trial.key, "lost", reason=f"its worker went away {RETRIES + 1} times (out of memory, or the machine is gone)")
        else:
            outcome = Outcome(**json.loads(result["outcome"]))
        self._queue.finish(outcome)
        self._listener.ended(outcome)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: what is done stands in the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the same command plans against the store."""


class NothingToChoose(FIFOScheduler):  # type: ignore[misc]
    """The queue decides the order; Tune's own scheduler would scan every trial at every step."""

    def choose_trial_to_run(self, tune_controller: Any, **kwargs: Any) -> None:
        return None


class Worker(tune.Trainable):  # type: ignore[misc]
    """An actor that runs one trial after another. `step` runs a whole trial."""

    def setup(self, config: dict[str, Any], trials: Mapping[str, str], store: str, scratch: str, checkpoint_every: float,
              variables: Mapping[str, str]) -> None:  # fmt: skip
        os.environ.update(variables)
        self._trials, self._store, self._scratch, self._every = trials, Store(store), Path(scratch), checkpoint_every
        self._key = config["key"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._key = new_config["key"]
        return True

    def step(self) -> dict[str, Any]:
        trial = Trial.from_json(json.loads(self._trials[self._key]))
        if trial.key != self._key:  # the worker's code gives this trial another identity than the driver's
            outcome = Outcome(
                self._key, "failed", reason="this worker has other sources of the method than the driver; install the same version on both"
            )
        else:
            outcome = execute(trial, self._store, scratch=self._scratch, checkpoint_every=self._every)
        return {"outcome": json.dumps(asdict(outcome)), "seconds": outcome.seconds, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Trials keep checkpoints of their own."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Trials keep checkpoints of their own."""
