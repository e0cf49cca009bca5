"""Pictures of a sweep's matrices: which groups are in them, in what order, under what headings."""

from __future__ import annotations

from sample_methods import Count, Tabled

from methods.fine_tune import FineTune
from methods.networks import resnet8
from methods.sequential_fine_tuning import SequentialFineTuning
from orchestrator import Results, Sweep, digits, make_plan, product, union
from orchestrator.analysis.matrix_pictures import overview, panels, unscored
from orchestrator.training.execute import execute


def results_of(store, grid):
    sweep = Sweep(question="?", cells=grid, expect=len(grid))
    for trial in make_plan("asked", sweep, store).todo:
        assert execute(trial, store).kind == "done"
    return Results(make_plan("asked", sweep, store), store)


def test_the_largest_come_first_and_headings_say_what_differs(store):
    found = panels(
        results_of(store, product(Tabled.grid(size=[2, 4], tone=["low"]), seed=range(2))), "table"
    )
    assert [(p.heading, p.mean.values.shape) for p in found] == [
        ("size=4", (4, 2)),
        ("size=2", (2, 2)),
    ]
    assert found[0].mean.values[0].tolist() == [0.5, 0.125]


def test_what_is_the_same_within_a_method_is_no_heading(store):
    grid = product(union(Tabled.grid(size=[2, 3], tone=["high"]), Count.grid()), seed=range(2))
    assert [p.heading for p in panels(results_of(store, grid), "table")] == ["size=3", "size=2"]


def test_a_matrix_of_one_entry_is_no_picture(store):
    results = results_of(store, product(Tabled.grid(), seed=[0]))
    assert panels(results, "single") == []
    assert overview(results, "single") is None
    assert overview(results)[:4] == b"\x89PNG"


def test_the_headline_matrix_is_drawn_however_large_it_is(store):
    results = results_of(store, product(Tabled.grid(size=500), seed=[0]))
    assert panels(results, "table")[0].mean.values.shape == (500, 2)


def test_without_a_matrix_there_is_no_picture(store):
    assert overview(results_of(store, product(Count.grid(), seed=[0]))) is None


def test_entries_without_a_value_are_told_with_the_order_of_tasks_that_has_them(store):
    a, b = (digits.classes(i, i + 1).images(limit=20).named(n) for i, n in ((0, "a"), (2, "b")))
    grid = product(
        SequentialFineTuning.grid(training=FineTune(epochs=0)),
        network=resnet8(width=4),
        tasks=[(a, b), (b, a)],
        seed=0,
    )
    lines = unscored(results_of(store, grid))
    assert sorted(line.partition(":")[0] for line in lines) == [
        "accuracy · a + b",
        "accuracy · b + a",
    ]


def test_the_same_of_many_matrices_is_told_once(store):
    tasks = [digits.classes(i, i + 1).images(limit=20).named(f"t{i}") for i in range(5)]
    grid = product(
        SequentialFineTuning.grid(training=FineTune(epochs=0)),
        network=resnet8(width=4),
        tasks=[(tasks[0], other) for other in tasks[1:]] + [tuple(tasks[:3])],
        seed=0,
    )
    assert sorted(unscored(results_of(store, grid))) == [
        "4 matrices, in each 1 of 4 entries have no value: not measured (1)",
        "accuracy · t0 + t1 + t2: 3 of 9 entries have no value: not measured (3)",
    ]
