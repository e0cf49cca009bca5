"""A sweep's manifest: what the tracker has to know of it, and which runs it is to have in MLflow.

It is JSON, since it goes to the process that writes MLflow. How runs are nested is said here and
nowhere else: whoever writes them puts each below the run that its entry names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from orchestrator.planning.plan import Plan
from orchestrator.spec.canonical import digest, show
from orchestrator.spec.labels import short_names, value_key
from orchestrator.spec.trial import Cell, Trial
from orchestrator.store.checkout import git
from orchestrator.store.store import Store
from orchestrator.tracking.names import LONGEST_NAME, fit_text

SWEEP = "parent"  # id of the sweep's own run


Message = Mapping[str, Any]
"""What follows a manifest: `{"started": KEY}`, `{"finished": KEY}` and `{"failed": KEY}` tell of a
trial, `{"summary": ...}` closes the sweep's own run (see `Tracker.close`).
"""


class RunEntry(TypedDict):
    """One run of a sweep: of a cell, or of a training that cells need. `id` is the same within a
    store, whoever writes the run and whenever; `parent` is that of the run below which it stands.
    `headline` names the matrix to show as a picture.
    """

    id: str
    parent: str
    key: str
    role: str
    name: str
    params: dict[str, str]
    headline: str | None


class Manifest(TypedDict):
    """A sweep and its runs. `began` is when its first trial began, in milliseconds since 1970, or
    0; `identity` is the store's; `artifacts` is where MLflow is to put files, or None where a
    server decides.
    """

    sweep: str
    question: str
    began: int
    code: dict[str, str]
    store: str
    identity: str
    tracking: str
    artifacts: str | None
    runs: list[RunEntry]


def manifest(plan: Plan, store: Store, tracking: str, artifacts: str | None) -> Manifest:
    """The manifest of a plan: an entry for every cell and for every training that cells need."""
    cell_keys = plan.cell_keys
    needed = [trial for key, trial in plan.trials.items() if key not in cell_keys]
    return {
        "sweep": plan.name,
        "question": plan.question,
        "began": int(plan.span[0] * 1000),
        "code": _code_state(),
        "store": store.address,
        "identity": store.identity(),
        "tracking": tracking,
        "artifacts": artifacts,
        "runs": [
            *(cell_entry(plan, cell) for cell in plan.cells),
            *(need_entry(plan, trial) for trial in needed),
        ],
    }


def cell_entry(plan: Plan, cell: Cell) -> RunEntry:
    """The run of a cell: named by its axes, which are params beside the settings of its method."""
    axes = _axis_params(plan, cell)
    settings = [f"{axis}={value}" for axis, value in axes.items() if axis != "method"]
    labels = {axis: value_key(value) for axis, value in cell.labels.items()}
    return _entry(
        cell.trial,
        role="cell",
        # Of two cells that are one trial, each has a run.
        identity=digest([plan.name, labels, cell.trial.key])[:32],
        name=" ".join([cell.trial.method.name, *settings]),
        axes=axes,
    )


def need_entry(plan: Plan, trial: Trial) -> RunEntry:
    """The run of a training that cells need."""
    return _entry(
        trial,
        role="need",
        identity=digest([plan.name, trial.key])[:32],
        name=f"{trial.method.label} seed={trial.seed}",
        axes={},
    )


def _axis_params(plan: Plan, cell: Cell) -> dict[str, str]:
    """A cell's values by axis, under the axes' short names. An axis that only other cells have says
    nothing of this one.
    """
    short = short_names(plan.axes)
    settings = _settings(cell.trial)
    params = {}
    for axis in plan.axes:
        if axis not in cell.labels:
            continue
        value = plan.values.text(cell, axis)
        # An axis inside a setting must not pass for a setting of the method itself that differs
        # from it.
        has_own_name = settings.get(short[axis], value) == value
        params[short[axis] if has_own_name else axis] = value
    return params


def _entry(
    trial: Trial, *, role: str, identity: str, name: str, axes: Mapping[str, str]
) -> RunEntry:
    headline = next((m.name for m in trial.method.matrices if m.headline), None)
    params = {
        **_settings(trial),
        "method": trial.method.name,
        "network": trial.network.label if trial.network else "none",
        "seed": show(trial.seed),
        "tasks": " + ".join(task.name for task in trial.tasks),
        **axes,
    }
    return {
        "id": identity,
        "parent": SWEEP,
        "key": trial.key,
        "role": role,
        "name": fit_text(name, LONGEST_NAME),
        "params": params,
        "headline": headline,
    }


def _settings(trial: Trial) -> dict[str, str]:
    return {name: show(value) for name, value in trial.method.settings().items()}


def _code_state() -> dict[str, str]:
    """Commit of the current folder and whether files in it are changed, or nothing where that is no
    Git checkout.
    """
    here = Path.cwd()
    commit = git(here, "rev-parse", "HEAD")
    changed = git(here, "status", "--porcelain", "-uno")
    state = {}
    if commit is not None:
        state["commit"] = commit
    if changed is not None:
        state["changed"] = str(bool(changed)).lower()
    return state
