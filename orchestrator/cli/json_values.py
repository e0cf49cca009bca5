"""Plans, statuses and results as plain JSON values, for programs: `--json`. Names here are kept
from version to version.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from orchestrator.executors.shares import Wanted, proposals
from orchestrator.planning.explain import why_not_done
from orchestrator.planning.plan import Plan
from orchestrator.session.cells import MissingData
from orchestrator.session.status import Status
from orchestrator.session.trial_log import TrialLog
from orchestrator.spec.canonical import SCALARS
from orchestrator.spec.claim import Verdict
from orchestrator.spec.labels import AxisValue, short_names
from orchestrator.spec.trial import Trial

if TYPE_CHECKING:
    from orchestrator.analysis.estimates import Estimate
    from orchestrator.analysis.groups import Column, Group
    from orchestrator.analysis.results import Results


def plan_view(plan: Plan, missing: Sequence[MissingData] = ()) -> dict[str, object]:
    """Counts, and every distinct trial with its state, needs first; what data is missing for the
    cells that are not in the plan.
    """
    cell_keys = plan.cell_keys
    costs = [plan.cost(trial) for trial in plan.todo]
    return {
        "sweep": plan.name,
        "question": plan.question,
        "cells": len(plan.cells),
        "notes": list(plan.notes),
        "dropped": [{"reason": d.reason, "count": d.count} for d in plan.dropped],
        "complete": plan.is_complete and not missing,
        "cell_counts": dict(plan.cell_counts),
        "trial_counts": dict(plan.trial_counts),
        "to_run": len(plan.todo),
        "unshared": plan.unshared(),
        # Of the trials whose cost is known; it is too little by all others.
        "seconds": sum(cost for cost in costs if cost is not None),
        "trials": [_trial_view(plan, trial, cell_keys) for trial in plan.trials.values()],
        "missing_data": _missing_views(missing),
    }


def shares_view(found: Sequence[Wanted]) -> dict[str, object]:
    """What trials took of a GPU, by workload (bytes; a share is null where none was measured), and
    the share of each method.
    """
    workloads = [
        {
            **asdict(one.workload),
            "measured": one.num_measured,
            "peak": one.peak,
            "gpu_memory": one.gpu_memory,
            "share": one.share,
            "to_run": one.num_todo,
        }
        for one in found
    ]
    return {"workloads": workloads, "gpus": proposals(found)}


def _missing_views(missing: Sequence[MissingData]) -> list[dict[str, object]]:
    return [{"name": one.name, "reason": one.reason, "cells": one.num_cells} for one in missing]


def _trial_view(plan: Plan, trial: Trial, cell_keys: Collection[str]) -> dict[str, object]:
    return {
        "key": trial.key,
        "label": trial.label,
        "method": trial.method.name,
        "role": "cell" if trial.key in cell_keys else "need",
        "state": plan.standing_or_stale(trial.key),
        "used": plan.users[trial.key],
        "needs": {name: need.key for name, need in trial.needs.items()},
        "seconds": plan.cost(trial),
    }


def status_view(status: Status) -> dict[str, object]:
    """How many cells and trials stand how; every cell with its labels, key, state, and why it is
    not done; every trial that failed; every trial under way; data sets that are not known here.
    """
    return {
        "sweep": status.name,
        "complete": status.is_complete,
        "at_work": status.is_at_work,
        "cell_counts": dict(status.cell_counts),
        "trial_counts": dict(status.trial_counts),
        "cells": [] if status.plan is None else _cell_views(status.plan),
        "failed": [
            {"key": one.key, "label": one.label, "reason": one.full_reason} for one in status.failed
        ],
        "under_way": [
            {
                "key": one.key,
                "stage": one.stage,
                "epoch": one.epoch,
                "epochs": one.epochs,
                "loss": one.loss,
                "host": one.host,
                "began": one.began,
                "time": one.time,
            }
            for one in status.under_way
        ],
        "missing_data": _missing_views(status.missing),
    }


def _cell_views(plan: Plan) -> list[dict[str, object]]:
    names = short_names(plan.axes)
    return [
        {
            "cell": c.index,
            "key": c.trial.key,
            "state": plan.standing_or_stale(c.trial.key),
            **_why_view(plan, c.trial),
            # Beside the fields above: short names of axes are never called as these are.
            **_typed({names[a]: plan.values.of(c, a) for a in plan.axes}),
        }
        for c in plan.cells
    ]


def log_view(log: TrialLog) -> dict[str, object]:
    """What is known of one trial."""
    return {
        "record": log.record,
        "failure": log.failure,
        "progress": log.progress,
        "log": log.printed,
    }


def _typed(values: Mapping[str, AxisValue | None]) -> dict[str, object]:
    """Axes with their values: numbers, truth values and null as such, anything else by its name in
    tables. An axis that a cell does not have is not there.
    """
    return {
        axis: value.value if isinstance(value.value, SCALARS) else value.text
        for axis, value in values.items()
        if value is not None
    }


def _why_view(plan: Plan, trial: Trial) -> dict[str, object]:
    """Why a trial ended otherwise than done, and the need for which; nothing for others."""
    if plan.standing(trial.key) in ("done", "open"):
        return {}
    cause = plan.cause(trial)
    view: dict[str, object] = {"why": why_not_done(plan, trial)}
    return view if cause is None else {**view, "need": cause[0], "need_key": cause[1].key}


def results_view(results: Results) -> dict[str, object]:
    """Means with intervals over seeds, one entry a setting, and the verdicts on claims; a part of a
    sweep has none, whatever claims the whole has.
    """
    # Late: plans and statuses do without.
    from orchestrator.analysis.claims import verdicts

    columns = [column for name in results.metrics() for column in results.columns(name)]
    return {
        "sweep": results.plan.name,
        "complete": results.plan.is_complete,
        "part": results.plan.is_part,
        "cell_counts": dict(results.plan.cell_counts),
        "trial_counts": dict(results.plan.trial_counts),
        "groups": [_group_view(group, columns) for group in results.groups()],
        "claims": [_verdict_view(one) for one in verdicts(results.plan.claims, results)],
        "claims_of_whole": results.plan.num_claims,
    }


def _verdict_view(verdict: Verdict) -> dict[str, object]:
    """All that a verdict has, with the values that it rests on by side and seed."""
    return {**vars(verdict), "pairs": vars(verdict.pairs) if verdict.pairs else None}


def _group_view(group: Group, columns: Sequence[Column]) -> dict[str, object]:
    """A setting: `n` trials are done of those `planned`, `counts` say how these stand. A metric
    whose labels not all settings share is there by label, under its name with the label.
    """
    metrics = {}
    for column in columns:
        estimate = group.value(column)
        if estimate.n:
            metrics[column.title] = estimate_view(estimate, column.over)
    return {
        "labels": _typed(group.values),
        "n": group.n,
        "planned": group.num_planned,
        "counts": dict(group.counts),
        "distinct_needs": group.num_needs,
        "metrics": metrics,
    }


def estimate_view(estimate: Estimate, over: str = "") -> dict[str, object]:
    """A mean, its half-width and n; `over` says what it is averaged over beside seeds."""
    averaged = {"averaged_over": over} if over else {}
    return {
        "mean": None if math.isnan(estimate.mean) else estimate.mean,
        "half_width_95": None if math.isnan(estimate.half) else estimate.half,  # JSON has no NaN
        "n": estimate.n,
        **averaged,
    }
