"""The tracker's writer process as the driver sees it: one process writes MLflow, off the training
path, and may fail without harm to the training.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.planning.plan import Plan
from orchestrator.spec.canonical import digest, show
from orchestrator.spec.labels import short_names, value_key
from orchestrator.spec.trial import Cell, Trial
from orchestrator.store.store import Store

# How long an absent server may keep the writer: MLflow's own patience is minutes a request.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def sheet(plan: Plan, store: Store, tracking: str, artifacts: str | None) -> dict[str, Any]:
    """What the writer has to know: one entry a run, for every cell and for every training that
    cells need.
    """
    cells = plan.cell_keys
    runs = [_cell_run(plan, cell) for cell in plan.cells]
    runs += [_need_run(plan, trial) for key, trial in plan.trials.items() if key not in cells]
    about = {
        "sweep": plan.name,
        "question": plan.question,
        "began": int(plan.span[0] * 1000),
        "code": _code(),
    }
    return {
        **about,
        "store": store.address,
        "tracking": tracking,
        "artifacts": artifacts,
        "runs": runs,
    }


def _code() -> dict[str, str]:
    """The state of the code in the current folder, where that is a Git checkout."""
    found = {}
    for name, command in (
        ("commit", ["rev-parse", "HEAD"]),
        ("changed", ["status", "--porcelain", "--untracked-files=no"]),
    ):
        try:
            ran = subprocess.run(
                ["git", *command], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return {}
        if ran.returncode == 0:
            found[name] = (
                ran.stdout.strip() if name == "commit" else str(bool(ran.stdout.strip())).lower()
            )
    return found


def _cell_run(plan: Plan, cell: Cell) -> dict[str, Any]:
    short = short_names(plan.axes)
    settings = {k: show(v) for k, v in cell.trial.method.settings().items()}
    # An axis that only other cells have says nothing of this one.
    values = {axis: plan.values.text(cell, axis) for axis in plan.axes if axis in cell.labels}
    # An axis inside a setting must not pass for a setting of the method itself that differs from
    # it.
    axes = {short[a] if settings.get(short[a], v) == v else a: v for a, v in values.items()}
    name = " ".join(
        [cell.trial.method.name, *(f"{k}={v}" for k, v in axes.items() if k != "method")]
    )
    labels = {name: value_key(value) for name, value in cell.labels.items()}
    return _run(
        cell.trial, "cell", digest([plan.name, labels, cell.trial.key])[:32], name[:250], axes
    )


def _need_run(plan: Plan, trial: Trial) -> dict[str, Any]:
    return _run(
        trial,
        "need",
        digest([plan.name, trial.key])[:32],
        f"{trial.method.label} seed={trial.seed}"[:250],
        {},
    )


def _run(
    trial: Trial, role: str, identity: str, name: str, axes: Mapping[str, str]
) -> dict[str, Any]:
    settings = {k: show(v) for k, v in trial.method.settings().items()}
    about = {
        "method": trial.method.name,
        "network": trial.network.label if trial.network else "none",
        "seed": show(trial.seed),
    }
    tasks = " + ".join(t.name for t in trial.tasks)
    headline = next((m.name for m in trial.method.matrices if m.headline), None)
    params = {**settings, **about, "tasks": tasks, **axes}
    return {
        "id": identity,
        "key": trial.key,
        "role": role,
        "name": name,
        "params": params,
        "headline": headline,
    }


class Writer:
    """Starts the process; `send` never waits for MLflow and never raises. `finish` waits and tells
    what went wrong, if anything.
    """

    def __init__(self, sheet: Mapping[str, Any], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with open(log, "ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.tracking.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**PATIENCE, **os.environ},
                start_new_session=True,  # Ctrl-C is for the driver; what is done still gets written
            )
        self._orders: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._pump = threading.Thread(target=self._feed, daemon=True)
        self._pump.start()
        self.send(sheet)

    def send(self, order: Mapping[str, Any]) -> None:
        """Hand over an order; it is written when the process gets to it."""
        self._orders.put(order)

    def _feed(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(
            BrokenPipeError, ValueError
        ):  # the process gave up; `finish` says why
            while (order := self._orders.get()) is not None:
                self._process.stdin.write(json.dumps(order).encode() + b"\n")
                self._process.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def finish(self, order: Mapping[str, Any] | None) -> tuple[int, str]:
        """Wait until all orders are written, the last one too; the number of runs written and why
        writing stopped early, or an empty string.
        """
        if order is not None:
            self.send(order)
        self._orders.put(None)
        assert self._process.stdout is not None
        output = self._process.stdout.read()
        status = self._process.wait()
        self._process.stdout.close()
        self._pump.join()
        try:
            report = json.loads(output.splitlines()[-1])
        except (ValueError, IndexError):
            return 0, f"the writer process ended with status {status}; see {self.log}"
        return int(report["written"]), str(report["error"])
