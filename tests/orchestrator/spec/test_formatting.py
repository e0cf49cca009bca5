"""What things show of themselves, in a shell and in a notebook: short, whole, escaped."""

from __future__ import annotations

import pytest
from drawn import Drawn, drawn_results
from sample_methods import Count

from orchestrator import Sweep, product
from orchestrator.spec.formatting import ROWS, html_table


def test_texts_of_a_table_are_shown_as_they_are():
    found = html_table(["<b>"], [["a & b"], ["<script>"]], caption="<i>")
    assert "<th>&lt;b&gt;</th>" in found
    assert "<td>a &amp; b</td>" in found
    assert "<script>" not in found
    assert "<i>" not in found


def test_of_many_rows_the_first_are_shown_and_the_others_counted():
    found = html_table(["n"], [[number] for number in range(ROWS + 5)])
    assert found.count("<td>") == ROWS
    assert "and 5 more" in found


def test_a_grid_says_its_axes():
    grid = product(Drawn.grid(level=[1.0, 2.0]), seed=range(3)).where(
        lambda cell: cell.seed < 2, reason="enough"
    )
    assert repr(grid) == "<Grid of 4 points: method (1), level (2), seed (2); 2 left out: enough>"
    assert "<td>1, 2</td>" in grid._repr_html_()


def test_a_grid_with_problems_says_how_many():
    assert repr(product(Count.grid(nmber=1))).endswith("; 1 problem>")


@pytest.fixture
def results(store):
    grid = product(Drawn.grid(level=[1.0, 2.0]), seed=range(2))
    return drawn_results(store, grid, lambda cell: None if cell.index == 3 else 0.5)


def test_plan_results_and_group_are_a_line_each(results):
    assert repr(results.plan) == (
        "<Plan of asked: 3 of 4 cells done, 1 open; 3 of 4 trials done, 1 open; 1 to run>"
    )
    assert repr(results) == (
        "<Results of asked: 3 of 4 cells done, 1 open; metrics: score, quality>"
    )
    assert repr(results.groups()[1]) == "<Group level=2: 1 of 2 trials done, 1 open>"


def test_plan_results_and_group_are_tables_in_a_notebook(results):
    assert "<td>drawn</td><td>4</td><td>3 done, 1 open</td>" in results.plan._repr_html_()
    assert "<td>2</td><td>0.500</td><td>1</td><td>1 open</td>" in results._repr_html_()
    assert "<td>0.500</td>" in results.groups()[1]._repr_html_()


def test_a_sweep_says_how_many_cells_and_its_question():
    cells = product(Drawn.grid(level=[1.0, 2.0]), seed=[0])
    sweep = Sweep(question="Is more <better>?\n\nMuch is known.", cells=cells, expect=2)
    assert repr(sweep) == "<Sweep of 2 cells: Is more <better>?>"
    assert "Is more &lt;better&gt;?" in sweep._repr_html_()
