"""CPU time of `spolia plan`, `status` and `results` on finished sweeps, beside `import torch`.

Two sweeps, whose results are made up: the quickstart, and one of 300 cells with 600 trials. In each
round, every command runs once, in a process of its own; medians over the rounds.

    python benchmarks/commands.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SWEEPS = (ROOT / "sweeps" / "quickstart.py", ROOT / "benchmarks" / "finished_sweep.py")
BARS = {"plan": 1.0, "status": 1.0, "results": 2.0}  # CPU seconds above those of `import torch`
STAGES, EPOCHS = ("train/loss", "train/rotation", "watch/a", "watch/b"), 30  # of a made-up curve


def finish(file: Path, home: Path) -> None:
    """Give every trial of a sweep a result, as a run would leave it; say how many there are."""
    from orchestrator import Store, load_sweep, make_plan

    store = Store(home / "store")
    store.prepare()
    name, sweep = load_sweep(str(file))
    plan = make_plan(name, sweep, store)
    for trial in plan.trials.values():
        store.commit(made_up(trial, store))
    assert make_plan(name, sweep, store).is_done
    print(len(plan.cells), len(plan.trials))


def made_up(trial: Any, store: Any) -> dict[str, Any]:
    """The record of a trial that kept, measured and logged all that its method declares."""
    import torch

    from orchestrator.training.provenance import provenance

    began = 1.7e9
    draw = int(trial.key[:6], 16) / 16**6  # in [0, 1), another for every trial
    names = [task.name for task in trial.tasks]
    network = {"path": "module:Network", "config": {"width": 8}, "requires": {}}
    network["blob"] = store.put_blob(trial.key.encode())
    points = [(stage, step) for stage in STAGES for step in range(1, EPOCHS + 1)]
    timings = {"began": began, "ended": began + 9, "seconds": 9.0 + draw, "fits": {}}
    return {
        "key": trial.key,
        "outcome": "done",
        "reason": "",
        "trial": trial.to_json(),
        "identity": trial.identity,
        "metrics": [
            {"name": metric.name, "value": draw, "labels": labels}
            for metric in trial.method.metrics
            for labels in ([{"task": name} for name in names] if metric.by else [{}])
        ],
        "curves": [[name, step, draw / step, began + step] for name, step in points],
        "components": [
            {**network, "name": kept.name, "labels": {"task": name}}
            for kept in trial.method.components
            for name in names
        ],
        "matrices": [matrix(trial, spec, draw, store) for spec in trial.method.matrices],
        "frozen": {},
        "needs": {
            name: {"key": need.key, "content": content_of(need, store)}
            for name, need in trial.needs.items()
        },
        "timings": timings,
        "memory": {"process": 2**29},
        "provenance": provenance(trial, torch.device("cpu")),
    }


def content_of(need: Any, store: Any) -> str:
    from orchestrator.store.content import content_digest

    return content_digest(store.find(need.key))


def matrix(trial: Any, spec: Any, draw: float, store: Any) -> dict[str, Any]:
    """A matrix of the trial's tasks, as a record names it."""
    from orchestrator.parts.matrix import make_matrix

    labels = [task.name for task in trial.tasks]
    values = [[(draw + i + j) / 3 for i, _ in enumerate(labels)] for j, _ in enumerate(labels)]
    axes = (spec.rows, spec.columns)
    made = make_matrix(
        spec.name, axes=axes, rows=labels, columns=labels, values=values, count=99, chance=0.1
    )
    blob = store.put_blob(made.to_parquet())
    return {"name": spec.name, "rows": axes[0], "columns": axes[1], "blob": blob}


def cpu_seconds(command: Sequence[str], folder: Path) -> float:
    """User and system time of a process that ends well, with its children."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
    _, status, used = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {running.returncode}")
    return used.ru_utime + used.ru_stime


def measure(commands: Mapping[str, Sequence[str]], folder: Path, rounds: int) -> dict[str, float]:
    """The median CPU seconds of each command. One round before that warms the caches."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            seconds[name].append(cpu_seconds(command, folder))
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--finish", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.finish:
        finish(*options.finish)
        return 0
    print(f"{'sweep':16} {'cells':>6} {'trials':>7} {'command':>13} {'CPU s':>7} {'above':>7} bar")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SPOLIA_CACHE"] = f"{folder}/cache"
        # Compiled once, as an installed package is, whatever the shell of this program says.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = f"{folder}/bytecode"
        for file in SWEEPS:
            home = Path(folder) / file.stem
            worst = max(worst, compare(file, home, options.rounds))
    print(f"commands, the largest share of a bar: {worst:.2f} (bar 1)")
    return 0 if worst <= 1 else 1


def compare(file: Path, home: Path, rounds: int) -> float:
    """Measure the commands on one finished sweep; the largest share of a bar that one of them
    takes.
    """
    home.mkdir()
    finishing = [sys.executable, __file__, "--finish", str(file), str(home)]
    made = subprocess.run(finishing, capture_output=True, text=True, check=True, cwd=home)
    cells, trials = map(int, made.stdout.split())
    spolia = [sys.executable, "-m", "orchestrator.cli"]
    commands: dict[str, Sequence[str]] = {
        "import torch": [sys.executable, "-c", "import torch"],
        **{name: [*spolia, name, str(file), "--home", str(home)] for name in BARS},
    }
    medians = measure(commands, home, rounds)
    share = 0.0
    for name, seconds in medians.items():
        line = f"{file.stem:16} {cells:6} {trials:7} {name:>13} {seconds:7.2f}"
        if name in BARS:
            above = seconds - medians["import torch"]
            line += f" {above:7.2f} {BARS[name]:g}"
            share = max(share, above / BARS[name])
        print(line)
    return share


if __name__ == "__main__":
    sys.exit(main())
