"""The page on notebooks: its code runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from orchestrator import Results, load_sweep, make_plan
from orchestrator.parts.matrix import make_matrix
from orchestrator.parts.result import Result

ROOT = Path(__file__).resolve().parents[3]
MATRIX = "accuracy_by_extractor"


def quickstart_results(store):
    """The quickstart's results as if they had been measured: each cell with a compatibility and a
    matrix."""
    plan = make_plan(*load_sweep(str(ROOT / "sweeps/quickstart.py")), store)
    results = Results(plan, store)
    axes, names = ("extractor", "head"), ["a", "b"]
    for cell in plan.cells:
        value = 0.02 * cell.index + 0.01 * cell.trial.seed
        networks = [f"{cell.trial.key}/network?task={name}" for name in names]
        matrix = make_matrix(
            MATRIX,
            axes=axes,
            rows=names,
            columns=names,
            values=np.eye(2) * value,
            chance=0.125,
            components=(networks, networks),
        )
        blob = store.put_blob(matrix.to_parquet())
        record = {
            "key": cell.trial.key,
            "outcome": "done",
            "metrics": [{"name": "compatibility", "value": value, "labels": {}}],
            "matrices": [{"name": MATRIX, "rows": "extractor", "columns": "head", "blob": blob}],
            "needs": {},
            "curves": [],
        }
        results.by_key[cell.trial.key] = Result(store, record)
        plan.outcomes[cell.trial.key] = "done"
    return results


def test_the_code_of_the_page_runs(store):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/notebooks.md").read_text(), re.S)
    first, *others = blocks
    assert "results = session.results()" in first
    names: dict = {"results": quickstart_results(store)}
    for block in others:
        exec(block, names)
    assert set(names["cells"]["split"]) == {"stage2", "pool"}
    assert len(names["means"]) == 12
    assert (names["best"].title, names["entry"].n) == ("ingredients=identical split=pool", 3)
    assert len(names["table"]) == len(names["verdicts"]) == 9
