"""How many trials a second, when the trials do nothing: Spolia with store and tracking on, against
Ray Tune.

Peers, all in this one run, on as many slots as this machine has CPUs, each in a process and a Ray
of its own:

* tune + MLflow: a class trainable, `MLflowLoggerCallback` on SQLite, the same 20 params, 30 points
  and one matrix (an artifact) a trial; with Ray's defaults (a fresh actor each trial) and with
  `reuse_actors`. It is slow, so it gets fewer trials (--peer-trials): its rate does not depend on
  them.
* tune alone: class trainable, `reuse_actors`, no tracking at all, as many trials as Spolia.

Spolia's time ends when the last run is written to MLflow. Bars: 20 times the better of the tracked
peers; 0.7 of tune alone, in trials; its own trials 0.9 times as fast as without tracking; MLflow
level a minute after the last of 2,000 trials (as long for fewer).

    python benchmarks/orchestration.py --trials 300 --trials 2000
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BAR_TRACKED, BAR_ALONE, BAR_UNTRACKED, BAR_BEHIND = 20.0, 0.7, 0.9, 60.0
SLOTS = os.cpu_count() or 1


def make_database(path: Path) -> None:
    """MLflow's tables, before any clock starts: a database is made once in its life."""
    code = f"import mlflow; mlflow.MlflowClient('sqlite:///{path}').search_experiments()"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def spolia(trials: int, folder: Path, tracked: bool) -> dict[str, float]:
    """Seconds for a whole `spolia run`, imports apart, and how long before its end the last trial
    ended (`behind`).
    """
    file = folder / "nothing_sweep.py"
    cells = f"product(Nothing.grid(), seed=range({trials}))"
    file.write_text(
        "from nothing import Nothing\n"
        "from orchestrator import Sweep, product\n"
        f"sweep = Sweep(question='How fast is nothing?', cells={cells}, expect={trials})\n"
    )
    from rich.console import Console

    from orchestrator import Store, load_sweep, make_plan
    from orchestrator.executors.by_name import executor
    from orchestrator.executors.site import Site
    from orchestrator.session.running import run_sweep
    from orchestrator.store.home import home

    executor("ray")  # as the peers, which have imported and started Ray when their clock starts
    from orchestrator.cli.progress import TerminalDisplay
    from orchestrator.executors.ray.cluster import start_local

    start_local(SLOTS)
    (folder / "home").mkdir()
    make_database(folder / "home" / "mlflow.db")
    began = time.monotonic()
    places = home(folder / "home", None, None if tracked else "none")
    store = Store(places.store)
    store.prepare()
    name, sweep = load_sweep(file)
    ended = run_sweep(
        make_plan(name, sweep, store),
        sweep,
        places,
        Site(places.scratch, SLOTS),
        "ray",
        TerminalDisplay(Console(quiet=True)),
    )
    seconds = time.monotonic() - began
    assert ended.is_complete, ended.tracking_error
    assert ended.num_executed == trials
    found = {"seconds": seconds, "behind": time.time() - ended.plan.span[1]}
    if not tracked:
        return found
    import sqlite3

    with sqlite3.connect(folder / "home" / "mlflow.db") as database:
        (written,) = database.execute(
            "select count(*) from runs where status = 'FINISHED'"
        ).fetchone()
        (params,) = database.execute("select count(*) from params").fetchone()
        (points,) = database.execute("select count(*) from metrics").fetchone()
    # Nobody is fast by leaving things out: all runs, those of the sweep and of its setting, too,
    # with params and points.
    assert (written, params >= 20 * trials, points >= 30 * trials) == (trials + 2, True, True)
    return found


def tune_peer(trials: int, folder: Path, tracked: bool, reuse: bool) -> float:
    """Seconds of Ray Tune for the same trials."""
    os.environ["TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S"] = "0"
    os.environ["RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS"] = "0"
    if not tracked:
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
        os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "600"
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    class Peer(tune.Trainable):
        def setup(self, config):
            self.step_number = 0

        def reset_config(self, new_config):
            self.step_number = 0
            return True

        def step(self):
            self.step_number += 1
            # Tracked, it reports as many points as our trial
            # leaves; alone, one step is all that is timed.
            last = self.step_number == 30 or not tracked
            if last and tracked:
                Path(self.logdir, "scores.csv").write_text("0,0,0,0\n" * 4)
            return {"loss": 1.0 / self.step_number, "done": last}

        def save_checkpoint(self, checkpoint_dir):
            pass

        def load_checkpoint(self, checkpoint):
            pass

    make_database(folder / "peer.db")
    callbacks = []
    if tracked:
        address = f"sqlite:///{folder / 'peer.db'}"
        callbacks.append(
            MLflowLoggerCallback(tracking_uri=address, experiment_name="peer", save_artifact=True)
        )
    ray.init(
        address="local",
        num_cpus=SLOTS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    space = {
        "seed": tune.grid_search(list(range(trials))),
        **{f"s{i:02d}": 0.1 for i in range(1, 20)},
    }
    began = time.monotonic()
    tuner = tune.Tuner(
        Peer,
        param_space=space,
        tune_config=tune.TuneConfig(reuse_actors=reuse, max_concurrent_trials=SLOTS),
        run_config=tune.RunConfig(
            name="peer", storage_path=str(folder / "tune"), verbose=0, callbacks=callbacks
        ),
    )
    found = tuner.fit()
    seconds = time.monotonic() - began
    assert (len(found), len(found.errors)) == (trials, 0)
    return seconds


def measured(what: str, trials: int) -> dict[str, float]:
    """One measurement in a process of its own: trials/s, and the driver's peak memory in MiB."""
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, __file__, "--only", what, "--trials", str(trials)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if ran.returncode:
        raise SystemExit(f"{what} with {trials} trials failed:\n{ran.stderr[-3000:]}")
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def measure(what: str, trials: int) -> None:
    """Measure in this process and print the result as JSON."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if what.startswith("spolia"):
            found = spolia(trials, folder, tracked=what == "spolia")
        else:
            seconds = tune_peer(trials, folder, tracked="tracked" in what, reuse="reuse" in what)
            found = {"seconds": seconds, "behind": 0.0}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    trial_rate = trials / (found["seconds"] - found["behind"])
    rate = trials / found["seconds"]
    print(json.dumps({**found, "rate": rate, "trial_rate": trial_rate, "memory": memory}))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--trials",
        type=int,
        action="append",
        help="how many (give it twice for two sizes; default 300 and 2000)",
    )
    parser.add_argument(
        "--peer-trials",
        type=int,
        default=24,
        help="how many for the peers with MLflowLoggerCallback",
    )
    parser.add_argument("--only", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only:
        measure(chosen.only, chosen.trials[0])
        return 0
    print(
        f"{'who':34} {'trials':>7} {'seconds':>8} {'trials/s':>9} {'behind':>7} {'driver MiB':>11}",
        flush=True,
    )

    def show(who: str, what: str, trials: int) -> dict[str, float]:
        found = measured(what, trials)
        seconds, rate, behind = found["seconds"], found["trial_rate"], found["behind"]
        memory = found["memory"]
        print(
            f"{who:34} {trials:7} {seconds:8.1f} {rate:9.2f} {behind:7.1f} {memory:11.0f}",
            flush=True,
        )
        return found

    tracked = max(
        show("tune + MLflow, defaults", "tune-tracked", chosen.peer_trials)["rate"],
        show("tune + MLflow, reuse_actors", "tune-tracked-reuse", chosen.peer_trials)["rate"],
    )
    over_tracked, over_alone, over_untracked, behind = [], [], [], []
    for trials in chosen.trials or [300, 2000]:
        alone = show("tune alone, reuse_actors", "tune-reuse", trials)
        untracked = show("spolia, store on, tracking off", "spolia-untracked", trials)
        ours = show("spolia, store and tracking on", "spolia", trials)
        over_tracked.append(ours["rate"] / tracked)
        over_alone.append(ours["trial_rate"] / alone["rate"])
        over_untracked.append(ours["trial_rate"] / untracked["trial_rate"])
        behind.append(ours["behind"])
    print(f"until MLflow is level, against tune with MLflow: {min(over_tracked):.1f} (bar 20)")
    print(f"trials against tune alone: {min(over_alone):.2f} (bar {BAR_ALONE:g})")
    print(f"trials against ours without tracking: {min(over_untracked):.2f} (bar {BAR_UNTRACKED})")
    print(f"MLflow level after the last trial: {max(behind):.0f} s (bar {BAR_BEHIND:g})")
    return not (
        min(over_tracked) >= BAR_TRACKED
        and min(over_alone) >= BAR_ALONE
        and min(over_untracked) >= BAR_UNTRACKED
        and max(behind) <= BAR_BEHIND
    )


if __name__ == "__main__":
    sys.exit(main())
