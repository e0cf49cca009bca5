"""Plans, statuses and results as plain JSON values, for programs: `--json`. Names here are kept
from version to version.
"""

from __future__ import annotations

import math
from typing import Any

from orchestrator.analysis.claims import verdicts
from orchestrator.analysis.results import Estimate, Results
from orchestrator.planning.plan import Plan
from orchestrator.spec.labels import short_names, shown
from orchestrator.store.store import Store


def plan_view(plan: Plan) -> dict[str, Any]:
    """Counts, and every distinct trial with its state, needs first."""
    cells = plan.cell_keys
    return {
        "sweep": plan.name,
        "question": plan.question,
        "cells": len(plan.cells),
        "dropped": [{"reason": d.reason, "count": d.count} for d in plan.dropped],
        "complete": plan.is_complete,
        "to_run": len(plan.todo),
        "unshared": plan.unshared(),
        "seconds": sum(c for t in plan.todo if (c := plan.cost(t)) is not None),
        "trials": [
            {
                "key": key,
                "label": t.label,
                "method": t.method.name,
                "role": "cell" if key in cells else "need",
                "state": plan.state(key),
                "used": plan.users[key],
                "needs": {n: need.key for n, need in t.needs.items()},
                "seconds": plan.cost(t),
            }
            for key, t in plan.trials.items()
        ],
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
                **{names[a]: shown(c, a) for a in plan.axes},
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
    """Means with intervals over seeds, one entry a setting."""
    names = list(
        dict.fromkeys(m.name for cell in results.plan.cells for m in cell.trial.method.metrics)
    )
    groups = []
    for group in results.groups():
        found = {name: _estimate(e) for name in names if (e := group.metric(name)).n}
        groups.append(
            {
                "labels": dict(group.labels),
                "n": len(group.results),
                "distinct_needs": group.num_needs,
                "metrics": found,
            }
        )
    decided = [vars(verdict) for verdict in verdicts(results.plan.claims, results)]
    return {
        "sweep": results.plan.name,
        "complete": results.plan.is_complete,
        "groups": groups,
        "claims": decided,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "mean": estimate.mean,
        "half_width_95": None if math.isnan(estimate.half) else estimate.half,
        "n": estimate.n,
    }
