"""Plans, statuses and results as plain JSON values, for programs: `--json`. Names here are kept
from version to version.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from orchestrator.analysis.claims import verdicts
from orchestrator.analysis.results import Estimate, Group, Results
from orchestrator.planning.plan import Plan
from orchestrator.spec.labels import short_names
from orchestrator.spec.trial import Trial
from orchestrator.store.store import Store


def plan_view(plan: Plan) -> dict[str, Any]:
    """Counts, and every distinct trial with its state, needs first."""
    cell_keys = plan.cell_keys
    costs = [plan.cost(trial) for trial in plan.todo]
    return {
        "sweep": plan.name,
        "question": plan.question,
        "cells": len(plan.cells),
        "dropped": [{"reason": d.reason, "count": d.count} for d in plan.dropped],
        "complete": plan.is_complete,
        "to_run": len(plan.todo),
        "unshared": plan.unshared(),
        "seconds": sum(cost for cost in costs if cost is not None),
        "trials": [_trial_view(plan, trial, cell_keys) for trial in plan.trials.values()],
    }


def _trial_view(plan: Plan, trial: Trial, cell_keys: Collection[str]) -> dict[str, Any]:
    return {
        "key": trial.key,
        "label": trial.label,
        "method": trial.method.name,
        "role": "cell" if trial.key in cell_keys else "need",
        "state": plan.state(trial.key),
        "used": plan.users[trial.key],
        "needs": {name: need.key for name, need in trial.needs.items()},
        "seconds": plan.cost(trial),
    }


def status_view(plan: Plan, store: Store) -> dict[str, Any]:
    """Every cell with its labels, key and state; every trial that failed; every trial under way."""
    names = short_names(plan.axes)
    running = store.under_way()
    under_way = [store.progress(t.key) for t in plan.todo if t.key in running]
    return {
        "sweep": plan.name,
        "complete": plan.is_complete,
        "cells": [
            {
                "cell": c.index,
                "key": c.trial.key,
                "state": plan.state(c.trial.key),
                **{names[a]: plan.values.text(c, a) for a in plan.axes},
            }
            for c in plan.cells
        ],
        "failed": [
            {"key": k, "label": plan.trials[k].label, "reason": reason}
            for k, reason in plan.failures.items()
        ],
        "under_way": [
            {k: now[k] for k in ("key", "stage", "epoch", "epochs", "began", "time")}
            for now in under_way
            if now is not None
        ],
    }


def results_view(results: Results) -> dict[str, Any]:
    """Means with intervals over seeds, one entry a setting, and the verdicts on claims."""
    declared = [m.name for cell in results.plan.cells for m in cell.trial.method.metrics]
    metrics = list(dict.fromkeys(declared))
    return {
        "sweep": results.plan.name,
        "complete": results.plan.is_complete,
        "groups": [_group_view(group, metrics) for group in results.groups()],
        "claims": [vars(verdict) for verdict in verdicts(results.plan.claims, results)],
    }


def _group_view(group: Group, metrics: Sequence[str]) -> dict[str, Any]:
    estimates = {name: group.metric(name) for name in metrics}
    return {
        "labels": dict(group.labels),
        "n": len(group.results),
        "distinct_needs": group.num_needs,
        "metrics": {name: _estimate_view(e) for name, e in estimates.items() if e.n},
    }


def _estimate_view(estimate: Estimate) -> dict[str, Any]:
    return {
        "mean": estimate.mean,
        "half_width_95": None if math.isnan(estimate.half) else estimate.half,
        "n": estimate.n,
    }
