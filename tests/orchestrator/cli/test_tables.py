"""What the terminal prints of results."""

from __future__ import annotations

import io

import pytest
from drawn import Drawn, drawn_results
from paged import Paged
from rich.console import Console

from orchestrator import Metric, Results, Sweep, make_plan, product, union
from orchestrator.analysis import definitions
from orchestrator.cli.tables import print_results
from orchestrator.training.execute import execute


class DrawnApart(Drawn):
    """Its score is another thing, and better where it is lower."""

    name = "drawn_apart"
    metrics = (Metric("score", headline=True, higher_is_better=False, help="What is lost."),)


def printed(results, width=80, **asked):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_results(console, results, **asked)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


@pytest.fixture
def paged(store):
    cells = product(Paged.grid(split=["early", "late"]), seed=0)
    sweep = Sweep(question="?", cells=cells, expect=2)
    for trial in make_plan("asked", sweep, store).todo:
        execute(trial, store)
    return Results(make_plan("asked", sweep, store), store)


@pytest.mark.parametrize("width", [80, 120])
def test_beneath_the_results_stands_what_each_number_is_and_what_guessing_gives(paged, width):
    told = printed(paged, width).partition("what the numbers are\n")[2].splitlines()
    assert told == [
        "fits (matrix): How well two pieces fit. Guessing gives 0.1.",
        "score: The share that it <b>got</b> right. Guessing gives 0.1.",
    ]


def test_only_what_was_shown_is_told(paged):
    told = printed(paged, columns=["cost"]).partition("what the numbers are\n")[2]
    assert told == "cost: Lower is better.\n"


def test_of_numbers_of_which_nobody_says_anything_nothing_is_told(store):
    results = drawn_results(store, product(Drawn.grid(), seed=0), lambda cell: 0.5)
    assert "what the numbers are" not in printed(results)


def test_where_methods_mean_different_things_by_a_metric_each_is_told(store):
    cells = union(product(DrawnApart.grid(), seed=0), product(Paged.grid(), seed=0))
    results = drawn_results(store, cells, lambda cell: 0.5)
    told = definitions.metric(results, "score")
    assert told.what == "drawn_apart: What is lost. paged: The share that it <b>got</b> right."
    assert (told.better, told.chance) == ("", None)
