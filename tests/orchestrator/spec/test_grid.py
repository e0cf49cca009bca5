"""Grids and sweeps: combinators, counts, and every mistake at once."""

from __future__ import annotations

import pytest
from sample_methods import Count

from methods.compatible_features import CompatibleFeatures
from methods.fine_tune import FineTune
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import InputError, Sweep, SweepError, digits, product, union, zipped


def labels(grid, *names):
    return [tuple(p.labels.get(n, "-") for n in names) for p in grid.points]


def test_a_product_varies_its_last_axis_fastest():
    grid = product(Count.grid(number=[1, 2]), seed=range(2))
    assert labels(grid, "number", "seed") == [(1.0, 0), (1.0, 1), (2.0, 0), (2.0, 1)]


def test_a_tuple_is_one_value_and_a_list_several():
    assert len(CompatibleFeatures.grid(ingredients=("rotation", "common"))) == 1
    assert len(CompatibleFeatures.grid(ingredients=[("rotation",), ("common",)])) == 2


def test_zipped_walks_its_parts_together():
    assert labels(zipped(Count.grid(number=[1, 2]), seed=[7, 8]), "number", "seed") == [
        (1.0, 7),
        (2.0, 8),
    ]


def test_zipped_parts_of_unequal_length_are_a_problem():
    assert "equally many" in zipped(Count.grid(number=[1, 2]), seed=[7]).problems[0]


def test_a_union_takes_unequal_axes_through_a_product():
    grid = product(
        union(FineTune.grid(lr=[0.1, 0.01]), CompatibleFeatures.grid(split=["stem"])),
        network=resnet8(),
        seed=range(2),
    )
    assert labels(grid, "method", "lr", "split", "seed") == [
        ("fine_tune", 0.1, "-", 0),
        ("fine_tune", 0.1, "-", 1),
        ("fine_tune", 0.01, "-", 0),
        ("fine_tune", 0.01, "-", 1),
        ("compatible_features", "-", "stem", 0),
        ("compatible_features", "-", "stem", 1),
    ]


def test_where_sees_labels_and_defaults_and_counts_what_it_drops():
    grid = product(Count.grid(number=[1, 2, 3]), seed=range(2)).where(
        lambda cell: cell.number < 3 and cell.depth == 0, reason="three is a crowd"
    )
    assert len(grid) == 4
    assert [(d.reason, d.count) for d in grid.dropped] == [("three is a crowd", 2)]


def test_what_a_factor_drops_counts_as_whole_cells_of_the_product():
    grid = product(
        Count.grid(number=[1, 2]).where(lambda c: c.number == 1, reason="one"), seed=range(5)
    )
    assert (len(grid), grid.dropped[0].count) == (5, 5)


def test_where_names_an_axis_that_no_cell_has():
    assert (
        "'numbr'" in Count.grid(number=[1, 2]).where(lambda c: c.numbr == 1, reason="x").problems[0]
    )


def test_a_grid_of_methods_is_one_axis_with_its_labels_spread_out():
    grid = Recombine.grid(of=CompatibleFeatures.grid(split=["stem", "pool"], epochs=1))
    assert labels(grid, "of.split", "of.epochs") == [("stem", 1), ("pool", 1)]
    assert (
        grid.where(lambda c: c.of.split == "pool", reason="x").points[0].values["of"][0].split
        == "pool"
    )


def make(cells, expect=1):
    return Sweep(question="?", cells=cells, expect=expect)


def test_every_mistake_of_a_sweep_is_told_at_once():
    cells = product(
        union(
            Count.grid(numbr=1), CompatibleFeatures.grid(ingredients=[("rotatoin",)], epochs="ten")
        ),
        network="resnet8",
        seed=[0, 0],
        tasks=[3],
    )
    with pytest.raises(SweepError) as caught:
        make(cells)
    text = str(caught.value)
    assert "count has no setting 'numbr'. Did you mean 'number'?" in text
    assert "'rotatoin'" in text
    assert "'rotation'" in text
    assert "expected int, got 'ten' (str)" in text
    assert "0 is listed twice" in text


def test_wrong_networks_seeds_and_tasks_are_told():
    with pytest.raises(SweepError) as caught:
        make(product(FineTune.grid(), network="resnet8", seed=[-1], tasks=[3]))
    text = str(caught.value)
    assert "network: expected a network such as resnet8(), got 'resnet8'" in text
    assert "seed: expected a whole number from 0, got -1" in text
    assert "tasks: expected a task such as digits.classes(0, 1), got 3" in text


def test_an_empty_grid_says_what_left_it_empty():
    with pytest.raises(SweepError, match=r"empty.*2 left out: none is wanted"):
        make(Count.grid(number=[1, 2]).where(lambda c: False, reason="none is wanted"))
    with pytest.raises(SweepError, match="seed: the list of values is empty"):
        make(product(Count.grid(), seed=[]))


def test_a_count_that_differs_prints_the_line_to_paste():
    with pytest.raises(SweepError, match="expect=6,"):
        make(product(Count.grid(number=[1, 2, 3]), seed=range(2)), expect=5)


def test_an_axis_set_twice_is_a_problem():
    with pytest.raises(SweepError, match="'seed' is set in two factors"):
        make(product(product(Count.grid(), seed=range(2)), seed=range(2)))


def test_something_that_is_no_grid_is_refused_at_once():
    with pytest.raises(InputError, match=r"expected grids such as Method.grid"):
        product([1, 2])


def test_a_generator_as_values_is_refused():
    assert "list or a range" in product(Count.grid(), seed=(i for i in range(3))).problems[0]


def test_axes_are_what_varies():
    sweep = make(product(Count.grid(number=[1, 2], depth=0), seed=range(3)), 6)
    assert sweep.axes == ("number", "seed")


def test_a_bare_task_stands_for_a_tuple_of_one():
    cell = next(make(product(FineTune.grid(), network=resnet8(), tasks=digits, seed=0)).trials())
    assert cell.trial.tasks == (digits,)


def test_one_method_stands_for_a_tuple_of_one():
    assert labels(Recombine.grid(of=[FineTune(epochs=1), FineTune(epochs=2)]), "of") == [
        ((FineTune(epochs=1),),),
        ((FineTune(epochs=2),),),
    ]


def test_methods_of_a_grid_together_are_one_value():
    networks = union(
        CompatibleFeatures.grid(split=["stem", "pool"], epochs=1), FineTune.grid(epochs=[1, 2])
    )
    grid = Recombine.grid(of=networks.together(), split="pool")
    assert labels(grid, "of") == [("4 methods",)]
    assert [m.name for m in grid.points[0].values["of"]] == ["compatible_features"] * 2 + [
        "fine_tune"
    ] * 2
    assert (
        "'spilt'" in Recombine.grid(of=CompatibleFeatures.grid(spilt="pool").together()).problems[0]
    )
