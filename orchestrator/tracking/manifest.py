"""A sweep's manifest: what the tracker has to know of it, and which runs it is to have in MLflow.

It is JSON, since it goes to the process that writes MLflow. How runs are nested is said here and
nowhere else: whoever writes them puts each below the run that its entry names.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from orchestrator.spec.canonical import digest
from orchestrator.spec.declarations import headline_of
from orchestrator.spec.labels import short_names, value_key
from orchestrator.store.checkout import git
from orchestrator.tracking.names import LONGEST_NAME, fit_text
from orchestrator.tracking.run_names import RunNames

# For types only: plans bring torch, which the tracker's process does without.
if TYPE_CHECKING:
    from orchestrator.planning.plan import Plan
    from orchestrator.spec.trial import Cell, Trial
    from orchestrator.store.store import Store

SWEEP = "parent"  # id of the sweep's own run


Message = Mapping[str, Any]
"""What follows a manifest: `{"started": KEY}`, `{"finished": KEY}` and `{"failed": KEY}` tell of a
trial, `{"trials_ended": true}` says that none runs any more (tables, which take a while, come after
it), and `{"summary": ...}` closes the sweep's own run (see `Tracker.close`).
"""


class RunEntry(TypedDict):
    """One run of a sweep: of a cell, or of a training that cells need. `id` is the same within a
    store, whoever writes the run and whenever; `parent` is that of the run below which it stands.
    """

    id: str
    parent: str
    key: str
    role: str
    name: str
    params: dict[str, str]


class SettingEntry(TypedDict):
    """The run of a setting, cells that differ in seed only: at the top of its experiment, beside
    the sweep's own. `seeds` has those of its distinct trials by key, `method` what its method
    declares. In the sweep's run its matrices are pictures of the series `series`, at the `step`.
    """

    id: str
    name: str
    params: dict[str, str]
    seeds: dict[str, int | None]
    method: str
    series: str
    step: int


class Declared(TypedDict):
    """What a method declares: names of its metrics, those of them that are of the targets, which
    are headlines (with whether a higher value is better), and its matrices, the headline first.
    """

    metrics: list[str]
    of_targets: list[str]
    headline: dict[str, bool]
    matrices: list[str]


class Manifest(TypedDict):
    """A sweep and its runs. `began` is just before its first trial, in milliseconds since 1970;
    `identity` is the store's; `artifacts` is where MLflow is to put files, or None where a
    server decides; `axes` are those of the settings, as params call them.
    """

    sweep: str
    question: str
    began: int
    code: dict[str, str]
    store: str
    identity: str
    tracking: str
    artifacts: str | None
    axes: list[str]
    methods: dict[str, Declared]
    settings: list[SettingEntry]
    runs: list[RunEntry]


def manifest(plan: Plan, store: Store, tracking: str, artifacts: str | None) -> Manifest:
    """The manifest of a plan: an entry for every setting, cell, and training that cells need."""
    names = RunNames(plan)
    settings = settings_of(plan, store, names)
    needs = needed(plan)
    need_names = names.needs(needs)
    short = short_names(plan.axes)
    return {
        "sweep": plan.name,
        "question": plan.question,
        # Before all trials: MLflow's pages order by it, and the sweep's own run comes first.
        "began": int((plan.span[0] or time.time()) * 1000) - 1,
        "code": _code_state(),
        "store": store.address,
        "identity": store.identity(),
        "tracking": tracking,
        "artifacts": artifacts,
        "axes": [short[axis] for axis in plan.axes if axis != "seed"],
        "methods": _declared(plan),
        "settings": settings,
        "runs": [
            *(cell_entry(plan, cell, names) for cell in plan.cells),
            *(need_entry(plan, need, names, need_names[need.key]) for need in needs),
        ],
    }


def needed(plan: Plan) -> list[Trial]:
    """The trainings that cells need and that are no cells themselves."""
    cell_keys = plan.cell_keys
    return [trial for key, trial in plan.trials.items() if key not in cell_keys]


def settings_of(plan: Plan, store: Store, names: RunNames) -> list[SettingEntry]:
    """An entry for every setting, in the sweep's order."""
    along = _along(plan, store)
    steps = {
        value.key: step for step, value in enumerate(plan.values.values(along) if along else ())
    }
    found: dict[str, SettingEntry] = {}
    for cell in plan.cells:
        identity = _setting_id(plan, cell)
        if identity not in found:
            value = plan.values.of(cell, along) if along else None
            found[identity] = {
                "id": identity,
                "name": fit_text(names.setting(cell), LONGEST_NAME),
                "params": names.of_setting(cell),
                "seeds": {},
                "method": cell.trial.method.name,
                # Without the axis, a setting is a series of one picture.
                "series": names.without(cell, along) if value else names.setting(cell),
                "step": steps[value.key] if value else 0,
            }
        found[identity]["seeds"][cell.trial.key] = cell.trial.seed
    return list(found.values())


def _along(plan: Plan, store: Store) -> str:
    """The axis along which pictures are a series: the one that the sweep's question is about."""
    # Late: the tracker's process does without what draws pages.
    from orchestrator.analysis.page.plots import axes_in_question
    from orchestrator.analysis.results import Results

    return next(iter(axes_in_question(Results(plan, store))), "")


def _setting_id(plan: Plan, cell: Cell) -> str:
    labels = {axis: value_key(value) for axis, value in cell.labels.items() if axis != "seed"}
    return digest([plan.name, "setting", labels])[:32]


def cell_entry(plan: Plan, cell: Cell, names: RunNames) -> RunEntry:
    """The run of a cell, below its setting."""
    labels = {axis: value_key(value) for axis, value in cell.labels.items()}
    return {
        # Of two cells that are one trial, each has a run.
        "id": digest([plan.name, labels, cell.trial.key])[:32],
        "parent": _setting_id(plan, cell),
        "key": cell.trial.key,
        "role": "cell",
        "name": fit_text(names.cell(cell), LONGEST_NAME),
        "params": names.of_cell(cell),
    }


def need_entry(plan: Plan, trial: Trial, names: RunNames, name: str) -> RunEntry:
    """The run of a training that cells need, below the sweep's."""
    return {
        "id": digest([plan.name, trial.key])[:32],
        "parent": SWEEP,
        "key": trial.key,
        "role": "need",
        "name": fit_text(name, LONGEST_NAME),
        "params": names.of_need(trial),
    }


def _declared(plan: Plan) -> dict[str, Declared]:
    """What the methods of cells declare, by their names."""
    methods = {cell.trial.method.name: cell.trial.method for cell in plan.cells}
    return {
        name: {
            "metrics": [one.name for one in method.metrics],
            "of_targets": [one.name for one in method.metrics if one.of_targets],
            "headline": {one.name: one.higher_is_better for one in headline_of(method.metrics)},
            "matrices": [
                one.name for one in sorted(method.matrices, key=lambda one: not one.headline)
            ],
        }
        for name, method in methods.items()
    }


def _code_state() -> dict[str, str]:
    """Commit of the current folder and whether files in it are changed, as tags; nothing where that
    is no Git checkout.
    """
    here = Path.cwd()
    commit = git(here, "rev-parse", "HEAD")
    changed = git(here, "status", "--porcelain", "-uno")
    state = {}
    if commit is not None:
        state["mlflow.source.git.commit"] = commit
    if changed is not None:
        state["spolia.changed"] = str(bool(changed)).lower()
    return state
