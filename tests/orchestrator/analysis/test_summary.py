"""The description of a sweep's run in MLflow: what matters most comes first, and it fits."""

from __future__ import annotations

import pytest
from sample_methods import Priced

from orchestrator import Results, Sweep, claims, make_plan, product
from orchestrator.analysis.summary import summary
from orchestrator.training.execute import execute

LONGEST = 1500


@pytest.fixture
def results(store):
    """Forty settings, of which a claim says something."""
    cells = product(Priced.grid(size=list(range(40))), seed=range(2))
    asked = [claims.Varies(metric="worth", axis="size")]
    sweep = Sweep(question="Is it?", cells=cells, expect=80, claims=asked)
    for trial in make_plan("asked", sweep, store).todo:
        execute(trial, store)
    return Results(make_plan("asked", sweep, store), store)


def test_verdicts_stand_before_the_means_and_lines_are_whole(results):
    whole, cut = summary(results), summary(results, LONGEST)
    assert "40 more" not in whole
    assert whole.index("| verdict |") < whole.index("| size |")
    assert len(cut) <= LONGEST < len(whole)
    *lines, blank, note = cut.splitlines()
    assert lines == whole.splitlines()[: len(lines)]
    assert blank == ""
    num_left = len(whole.splitlines()) - len(lines)
    assert note == f"and {num_left} more lines, which are in the tables and in the report."
    assert "**" in cut  # the verdict itself


def test_a_question_that_is_longer_than_that_is_cut_by_whoever_stores_it(results):
    assert summary(results, 5).strip().startswith("and ")
