"""Tables, and means with intervals over distinct trials."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from drawn import drawn_results
from sample_methods import Count

from orchestrator import (
    Matrix,
    Method,
    MethodError,
    Metric,
    Results,
    Run,
    Sweep,
    axis,
    make_plan,
    product,
    union,
)
from orchestrator.analysis.estimates import estimate
from orchestrator.analysis.figures import heat_map
from orchestrator.parts.matrix import make_matrix
from orchestrator.spec.labels import short_names
from orchestrator.training.execute import execute


class Columned(Method):
    """Its results are given by the test; its settings are called like columns of tables."""

    name = "columned"
    uses = frozenset({"seed"})
    metrics = (Metric("score"),)

    key: str = axis("a")
    value: int = axis(1)

    def train(self, run: Run) -> None:
        raise AssertionError("its results are given by the test")


def results(cells, store):
    sweep = Sweep(question="?", cells=cells, expect=len(cells))
    for trial in make_plan("asked", sweep, store).todo:
        execute(trial, store)
    return Results(make_plan("asked", sweep, store), store)


def test_an_interval_is_students():
    found = estimate([1.0, 2.0, 3.0, 4.0])
    assert (found.mean, found.n) == (2.5, 4)
    assert found.half == pytest.approx(3.1824463 * np.std([1, 2, 3, 4], ddof=1) / 2)


def test_one_value_has_no_interval_and_nan_is_not_counted():
    assert math.isnan(estimate([2.0]).half)
    assert str(estimate([2.0])) == "2.000"
    assert estimate([1.0, float("nan"), 3.0]).n == 2
    assert math.isnan(estimate([]).mean)


def test_n_counts_distinct_trials_and_not_cells(store):
    twice = union(
        product(Count.grid(number=1), seed=range(2)), product(Count.grid(number=1.0), seed=range(2))
    )
    (group,) = results(twice, store).groups()
    assert len(group.results) == 2


def test_distinct_needs_behind_a_group_are_counted(store):
    (group,) = results(product(Count.grid(depth=1, fan=2), seed=range(3)), store).groups()
    assert (len(group.results), group.num_needs) == (3, 6)


def test_tables_have_a_row_a_cell_metric_and_label(store):
    table = results(product(Count.grid(number=[1, 2]), seed=range(2)), store).metrics_table()
    assert table.column_names == [
        "cell",
        "key",
        "outcome",
        "number",
        "seed",
        "metric",
        "label",
        "value",
    ]
    assert table["value"].to_pylist() == [1.0, 1.0, 2.0, 2.0]


def test_a_setting_called_like_a_column_leaves_the_column_as_it_is(store):
    cells = product(Columned.grid(key=["a", "b"], value=[1, 2]), seed=0)
    found = drawn_results(store, cells, lambda cell: 0.5)
    first, *_, last = found.metrics_table().to_pylist()
    assert (first["key"], first["value"]) == (found.plan.cells[0].trial.key, 0.5)
    assert (first["setting.key"], first["setting.value"]) == ("a", 1)
    assert (last["setting.key"], last["setting.value"]) == ("b", 2)


def test_short_names_stay_apart():
    assert short_names(["of.split", "seed"]) == {"of.split": "split", "seed": "seed"}
    assert short_names(["of.split", "split", "of.value"]) == {
        "of.split": "of.split",
        "split": "split",
        "of.value": "of.value",
    }


def test_a_matrix_survives_parquet():
    made = make_matrix(
        "m",
        axes=("extractor", "head"),
        rows=["a", "b"],
        columns=["x", "y", "z"],
        values=[[1, 2, float("nan")], [4, 5, 6]],
        count=7,
        chance=0.1,
    )
    again = Matrix.from_parquet(made.to_parquet())
    assert (again.name, again.axes, again.rows, again.columns) == (
        "m",
        ("extractor", "head"),
        ("a", "b"),
        ("x", "y", "z"),
    )
    assert np.array_equal(again.values, made.values, equal_nan=True)
    assert (again.count == 7).all()


@pytest.mark.parametrize(
    ("rows", "values", "message"),
    [
        (["a"], [[1, 2], [3, 4]], "1 rows and 2 columns are named"),
        (["a", "a"], [[1, 2], [3, 4]], "two rows have one label"),
    ],
)
def test_a_matrix_that_does_not_fit_its_labels_is_refused(rows, values, message):
    with pytest.raises(MethodError, match=message):
        make_matrix("m", axes=("r", "c"), rows=rows, columns=["x", "y"], values=values)


@pytest.mark.parametrize("count", [1, 6])
def test_heat_maps_are_drawn_for_any_number(count):
    matrix = make_matrix(
        "m",
        axes=("extractor", "head"),
        rows=["a", "b"],
        columns=["x", "y"],
        values=[[0.1, float("nan")], [1, 0.5]],
        count=1,
        chance=0.5,
    )
    assert heat_map([("title", matrix, None)] * count).startswith(b"\x89PNG")


def test_notes_and_components_of_a_matrix_survive_parquet_and_stand_in_the_table():
    names = (["k1/network?task=a", ""], ["k1/network?task=a", "k2/network?task=b"])
    made = make_matrix(
        "m",
        axes=("r", "c"),
        rows=["a", "b"],
        columns=["x", "y"],
        values=[[1, float("nan")], [2, 3]],
        notes={(0, 1): "no common class"},
        components=names,
    )
    again = Matrix.from_parquet(made.to_parquet())
    assert again.notes == {(0, 1): "no common class"}
    assert again.components == (tuple(names[0]), tuple(names[1]))
    made = make_matrix("m", axes=("r", "c"), rows=["a"], columns=["x"], values=[[1]])
    plain = Matrix.from_parquet(made.to_parquet())
    assert (plain.notes, plain.components) == ({}, None)


def test_components_that_do_not_fit_the_matrix_are_refused():
    with pytest.raises(MethodError, match="1 and 1 components are named for 1 x 2 entries"):
        make_matrix(
            "m",
            axes=("r", "c"),
            rows=["a"],
            columns=["x", "y"],
            values=[[1, 2]],
            components=(["k"], ["k"]),
        )


def test_tables_that_say_what_they_would_say_again_stay(store, tmp_path):
    cells = product(Count.grid(number=[1, 2]), seed=0)
    found = results(cells, store)
    metrics, matrices = found.write(tmp_path)
    assert pq.read_table(metrics).num_rows == found.metrics_table().num_rows
    written = [metrics.stat().st_ino, matrices.stat().st_ino]
    assert [one.stat().st_ino for one in found.write(tmp_path)] == written
    # What cannot be read is written again, and so are tables of other results.
    matrices.write_bytes(b"not a table")
    assert pq.read_table(found.write(tmp_path)[1]).num_rows == found.matrices_table().num_rows
    results(product(Count.grid(number=[1, 2, 3]), seed=0), store).write(tmp_path)
    assert set(pq.read_table(metrics)["number"].to_pylist()) == {1, 2, 3}


@pytest.mark.process
def test_reading_matrices_needs_no_pandas():
    """Its import takes longer than to read 500 matrices."""
    program = (
        "import sys\n"
        "from orchestrator.parts.matrix import Matrix\n"
        "Matrix.from_parquet(sys.stdin.buffer.read())\n"
        "print('pandas' in sys.modules)"
    )
    made = make_matrix("m", axes=("r", "c"), rows="ab", columns="cd", values=np.eye(2))
    ran = subprocess.run(
        [sys.executable, "-c", program],
        input=made.to_parquet(),
        capture_output=True,
        check=False,
    )
    assert ran.stdout.split() == [b"False"], ran.stderr
