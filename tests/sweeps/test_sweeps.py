"""Every sweep file of the project can be planned as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import load_sweep, make_plan

FILES = sorted((Path(__file__).parents[2] / "sweeps").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_sweep_file_plans(file, store, request):
    name, sweep = load_sweep(file)
    if any(task.data != "digits" for p in sweep.cells.points for task in p.values.get("tasks", ())):
        request.getfixturevalue("shared_data")
    plan = make_plan(name, sweep, store)
    assert len(plan.cells) == sweep.expect
    assert plan.question
    assert not plan.is_complete


def test_the_sweep_of_the_readme_plans_as_printed(store, tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (tmp_path / "readme.py").write_text(readme.split("```python\n")[1].split("```")[0])
    name, sweep = load_sweep(tmp_path / "readme.py")
    assert len(make_plan(name, sweep, store).cells) == sweep.expect == 36
