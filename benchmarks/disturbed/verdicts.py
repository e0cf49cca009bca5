"""What must hold after a disturbance and a second, undisturbed command: every trial has the bits of
an undisturbed run, what was committed before is still the same result, and MLflow has every run
once.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def results_of(file: Path, home: Path) -> dict[str, dict[str, Any]]:
    """By key of every trial of a sweep that has a result: the digest of its `bits`, that of the
    `record` itself, which tells one result of a trial from another, and whether it is a `cell`.
    """
    from orchestrator import Store, load_sweep, make_plan
    from orchestrator.testing import fingerprint

    name, sweep = load_sweep(file)
    store = Store(home / "store")
    plan = make_plan(name, sweep, store)
    found: dict[str, dict[str, Any]] = {}
    for key in plan.trials:
        record = store.find(key)
        if record is not None:
            found[key] = {"bits": _digest(fingerprint(record)), "record": record.digest}
            found[key]["cell"] = key in plan.cell_keys
    return found


def defects_of_results(
    expected: dict[str, dict[str, Any]],
    before: dict[str, dict[str, Any]],
    after: dict[str, dict[str, Any]],
) -> tuple[int, int, list[str]]:
    """How many trials have no result after the second command, how many were trained again although
    they had one before it, and what is wrong with bits.
    """
    lost = len(expected.keys() - after.keys())
    doubled = sum(after.get(key, {}).get("record") != one["record"] for key, one in before.items())
    other = [k[:12] for k, one in after.items() if one["bits"] != expected[k]["bits"]]
    return lost, doubled, [f"other bits: {', '.join(other)}"] if other else []


def runs_in_mlflow(address: str, experiment: str) -> dict[str, list[dict[str, Any]]]:
    """What MLflow has of a sweep's runs, by our own identity of a run: all but what differs from
    try to try (MLflow's ids, the times of the sweep's own run, when a curve was first seen).
    """
    from mlflow import MlflowClient

    client = MlflowClient(address)
    found = client.get_experiment_by_name(experiment)
    runs: dict[str, list[dict[str, Any]]] = {}
    if found is None:
        return runs
    for run in client.search_runs([found.experiment_id], max_results=1000):
        identity = run.data.tags.get("spolia.id", f"not ours: {run.info.run_name}")
        runs.setdefault(identity, []).append(_without_ids(client, run))
    return runs


_OF_MLFLOW = "mlflow."  # what it writes itself


def _without_ids(client: Any, run: Any) -> dict[str, Any]:
    history: dict[str, Any] = {
        name: sorted(
            (p.step, p.timestamp, p.value) for p in client.get_metric_history(run.info.run_id, name)
        )
        for name in run.data.metrics
    }
    tags = {k: v for k, v in run.data.tags.items() if not k.startswith(_OF_MLFLOW)}
    outputs = len(run.outputs.model_outputs) if run.outputs else 0
    is_sweep = tags.get("spolia.role") == "sweep"
    times = [run.info.start_time, run.info.end_time]
    if tags.get("spolia.role") == "setting":
        # It has been through as many states as there was time for; the last one counts.
        history, times = dict(run.data.metrics), times[1:]
        tags.pop("spolia.try", None)
        # What marks its pictures depends on MLflow's id of the sweep's run, which has them, too.
        state, _, marks = tags.get("spolia.result", "").partition(" ")
        if marks not in ("", "not drawn"):
            tags["spolia.result"] = f"{state} drawn"
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "times": None if is_sweep else times,
        "params": dict(run.data.params),
        "tags": tags,
        "metrics": history,
        "files": [] if is_sweep else sorted(_files(client, run.info.run_id, "")),
        "models": outputs,
    }


def _files(client: Any, run_id: str, folder: str) -> list[str]:
    paths = []
    for entry in client.list_artifacts(run_id, folder or None):
        if entry.is_dir:
            paths += _files(client, run_id, entry.path)
        else:
            paths.append(f"{entry.path} {entry.file_size}")
    return paths


def defects_of_runs(
    expected: dict[str, list[dict[str, Any]]], after: dict[str, list[dict[str, Any]]]
) -> tuple[int, int, int, list[str]]:
    """How many runs MLflow lacks, has twice, and has as RUNNING; and which differ."""
    lost = len(expected.keys() - after.keys())
    doubled = sum(len(runs) - 1 for runs in after.values())
    doubled += len(after.keys() - expected.keys())
    running = sum(run["status"] == "RUNNING" for runs in after.values() for run in runs)
    wrong = []
    for identity in sorted(expected.keys() & after.keys()):
        for name, value in expected[identity][0].items():
            if json.loads(json.dumps(after[identity][0][name])) != json.loads(json.dumps(value)):
                wrong.append(f"{name} of {expected[identity][0]['name']}")
    return lost, doubled, running, wrong


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
