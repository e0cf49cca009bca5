"""Claims in words: values that look alike read apart."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import Drawn, DrawnOnTasks, drawn_results, given

from orchestrator import Method, Metric, Run, axis, claims, digits, product, union
from orchestrator.analysis.claims.deciding import permutation_p, spread_p


class Mixed(Method):
    """Its results are given by the test; its setting may be a number or a truth value."""

    name = "mixed"
    uses = frozenset({"seed"})
    metrics = (Metric("score", by=("task",)),)

    size: bool | int | float | str = axis(0)

    def train(self, run: Run) -> None:
        raise AssertionError("its results are given by the test")


def statements(store, cells, sides, **more):
    """What claims say that hold each of some sides against the first."""
    asked = [claims.Higher(metric="score", where=one, than=sides[0], **more) for one in sides[1:]]
    results = drawn_results(store, cells, lambda cell: 0.0)
    return [claim.decide(results).claim for claim in asked]


def test_numbers_that_are_equal_to_six_digits_read_apart(store):
    levels = [1.0, 1.0000001, 1.0000002]
    cells = product(Drawn.grid(level=levels), seed=range(2))
    first, second = statements(store, cells, [{"level": level} for level in levels])
    assert first == "score is higher at level=1.0000001 than at level=1.0"
    assert second == "score is higher at level=1.0000002 than at level=1.0"


@pytest.mark.parametrize("values", [(1, True), (0, False)])
def test_values_that_python_calls_equal_are_two_and_read_apart(store, values):
    cells = product(Mixed.grid(size=list(values)), seed=range(2))
    (claim,) = statements(store, cells, [{"size": value} for value in values])
    assert claim == f"score is higher at size={values[1]} than at size={values[0]}"


@pytest.mark.parametrize("value", [1, True])
def test_a_value_and_its_name_read_apart_by_type(store, value):
    cells = product(Mixed.grid(size=[value, str(value)]), seed=range(2))
    kind = type(value).__name__
    (claim,) = statements(store, cells, [{"size": value}, {"size": f"{value} (str)"}])
    assert claim == f"score is higher at size={value} (str) than at size={value} ({kind})"
    # A text that is a value itself is that value, not what another one looks like.
    assert statements(store, cells, [{"size": value}, {"size": str(value)}]) == [claim]


def test_tasks_of_one_name_read_apart(store):
    tasks = [digits.classes(0, 1).named("t"), digits.classes(2, 3).named("t")]
    cells = union(*(product(DrawnOnTasks.grid(), tasks=task, seed=range(2)) for task in tasks))
    (claim,) = statements(store, cells, [{"tasks": task} for task in tasks])
    assert claim == "score is higher at tasks=t=digits-2.3 than at tasks=t=digits-0.1"


def test_bars_that_are_equal_to_six_digits_read_apart(store):
    cells = product(Drawn.grid(level=[0.0, 1.0]), seed=range(2))
    sides = [{"level": 0.0}, {"level": 1.0}]
    said = {statements(store, cells, sides, by=by)[0] for by in (0.1, 0.1 + 1e-9, 0.1 + 2e-9)}
    assert len(said) == 3
    assert "score is higher at level=1 than at level=0 by more than 0.1" in said


def test_cells_without_an_axis_and_all_cells_read_apart(store):
    cells = union(
        product(Drawn.grid(level=[0.0, 1.0]), seed=range(2)), product(Mixed.grid(), seed=range(2))
    )
    without, everything = statements(
        store, cells, [{"level": 0.0}, {"level": "-"}, {"method": ["drawn", "mixed"]}]
    )
    assert without == "score is higher at no level than at level=0"
    assert everything == "score is higher at method=drawn or mixed than at level=0"


def test_a_dash_is_a_value_like_others_where_an_axis_has_it(store):
    """In tables, and in claims that name it, the bare dash is the lack of the axis."""
    cells = product(Mixed.grid(size=["-", "+", "*"]), seed=range(3))
    axis = claims.Spread(metric="score", axis="size", above=0.5)
    named = claims.Higher(metric="score", where={"size": "+"}, than={"size": "'-'"})

    def score(cell):
        return float(cell.trial.method.size == "+") + cell.trial.seed

    assert [found.verdict for found in given(store, cells, [axis, named], score)] == [
        "reproduced",
        "reproduced",
    ]
    results = drawn_results(store, cells, score)
    assert [section.axes for section in results.sections()] == [("size",)]


def test_a_relation_over_all_cells_names_none(store):
    cells = product(Drawn.grid(level=[0.0, 1.0, 2.0, 3.0, 4.0]), seed=range(2))
    claim = claims.Related(
        metric="score", axis="level", where={}, how="with", other="quality", at={}
    )
    (found,) = given(store, cells, [claim], lambda cell: 0.0, quality=lambda cell: 0.0)
    assert found.claim == "over level, score goes with quality"


def test_a_difference_in_bits_that_is_seen_refutes_unchanged_though_cells_are_open(store):
    cells = product(Drawn.grid(level=[0.0, 1.0, 2.0]), seed=range(3))
    claim = claims.Unchanged(metric="score", axis="level")

    def score(cell, apart):
        is_apart = cell.trial.method.level == 1.0 and cell.trial.seed == 0
        is_open = cell.trial.method.level == 2.0 or cell.trial.seed == 2
        return None if is_open else apart * is_apart

    (apart,) = given(store, cells, [claim], lambda cell: score(cell, 1e-12))
    assert (apart.verdict, apart.p) == ("not reproduced", None)
    assert apart.evidence.startswith("1 of 2 differ; ")
    assert "have no score" in apart.evidence
    (alike,) = given(store, cells, [claim], lambda cell: score(cell, 0.0))
    assert alike.verdict == "undecided"


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_permutation_knows_differences_of_any_size(scale):
    """Values that rise alike in five seeds, whose levels differ: p does not depend on the unit."""
    values = np.arange(4.0) + 10.0 * np.arange(5.0)[:, None]  # [seeds, values]
    expected = spread_p(values)
    assert expected < 0.01
    assert spread_p(scale * values) == expected
    shuffled = scale * np.array([0.1, 0.2, 0.3, 0.3 * (1 + 1e-15)])
    assert permutation_p(float(shuffled[2]), shuffled) == 0.5
