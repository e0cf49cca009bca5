"""Every sweep file of the project can be planned as it stands.

Planning wants the records of the image sets, which stand in `records.json`, and no image: those
sets take minutes to decode. That the records are those of the files is a test, too.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up import check_claims

from orchestrator import Results, Store, load_sweep, make_plan
from orchestrator.data import sources
from orchestrator.parts.result import Result
from orchestrator.spec.task import DataRecord

FILES = sorted((Path(__file__).parents[2] / "sweeps").glob("*.py"))
WITH_CLAIMS = [file for file in FILES if "claims=" in file.read_text()]


RECORDS = json.loads(Path(__file__).with_name("records.json").read_text())
SMALL = ("parquet/dtd10", "parquet/flowers17", "parquet/pacs?where.domain=photo")


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """`planned(file)`: sweep, plan and store, the same for all tests of the file."""
    store, done = Store(tmp_path_factory.mktemp("sweeps") / "store"), {}
    store.prepare()
    for record in RECORDS:
        store.put_data(DataRecord.from_json(record))

    def plan(file):
        if file not in done:
            name, sweep = load_sweep(file)
            done[file] = sweep, make_plan(name, sweep, store), store
        return done[file]

    return plan


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_sweep_file_plans(file, planned):
    sweep, plan, _ = planned(file)
    assert len(plan.cells) == sweep.expect
    assert plan.question
    assert not plan.is_complete


@pytest.mark.slow
@pytest.mark.parametrize(
    "record",
    [
        pytest.param(record, marks=[] if record["name"] in SMALL else pytest.mark.long)
        for record in RECORDS
    ],
    ids=lambda record: record["name"],
)
def test_the_records_are_those_of_the_files(shared_data, record):
    assert sources.load(record["name"]).record.to_json() == record


def test_the_sweep_of_the_readme_plans_as_printed(store, tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (tmp_path / "readme.py").write_text(readme.split("```python\n")[1].split("```")[0])
    name, sweep = load_sweep(tmp_path / "readme.py")
    assert len(make_plan(name, sweep, store).cells) == sweep.expect == 36


@pytest.mark.slow
@pytest.mark.parametrize("file", WITH_CLAIMS, ids=lambda f: f.stem)
def test_the_claims_of_a_sweep_compare_like_with_like(file, planned):
    """Once all cells are done, no claim is left undecided because its sides do not match."""
    check_claims(*planned(file))


@pytest.mark.slow
def test_masks_and_packed_networks_are_compared_over_the_targets(planned):
    """PackNet measures the base, too, which masks leave as it is."""
    sweep, plan, store = planned(next(file for file in FILES if file.stem == "piggyback_orders"))
    results = Results(plan, store)
    for cell in results.plan.cells:
        packs = cell.trial.method.name == "packnet"
        tasks = cell.trial.tasks if packs else cell.trial.tasks[1:]
        metrics = [
            {"name": "accuracy", "labels": {"task": task.name}, "value": 0.8 + 0.1 * packs}
            for task in tasks
        ]
        record = {"outcome": "done", "metrics": metrics, "matrices": [], "needs": {}}
        results.by_key[cell.trial.key] = Result(store, record | {"key": cell.trial.key})
    (claim,) = [
        claim
        for claim in sweep.claims
        if claim.metric == "accuracy" and type(claim).__name__ == "Higher"
    ]
    verdict = claim.decide(results)
    assert (verdict.verdict, verdict.n) == ("not reproduced", 5)
    assert verdict.evidence == "difference -0.100 ±0.000; averaged over tasks (4), task (4)"
