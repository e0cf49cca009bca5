"""What plots are means over is what tables and claims are means over."""

from __future__ import annotations

import pytest
from drawn import Drawn, DrawnOfTargets, DrawnOnTasks, drawn_results

from orchestrator import Curve, Plot, digits, product, union
from orchestrator.analysis.plots import curves, series

BASE, TARGET = (
    digits.classes(*classes).images(limit=20).named(name)
    for name, classes in (("base", (0, 1)), ("target", (2, 3)))
)


class Plotted(DrawnOfTargets):
    """Its score over epochs, from the one before the first."""

    name = "plotted"
    plots = (Plot("quality", "score"), Curve("fit/score", begins="score"))


class PlottedEverywhere(DrawnOnTasks):
    """Does not say that it learns the targets only."""

    name = "plotted_everywhere"


class PlottedOver(Drawn):
    """A rate above 1 is 1; a plot is averaged over rates."""

    name = "plotted_over"
    plots = (Plot("score", "quality", along="level", over=("rate",)),)

    def canonical(self):
        return self.replace(rate=min(self.rate, 1.0))


def on_both_tasks(cell):
    return {"base": 0.9, "target": 0.2 + 0.1 * cell.trial.seed}


def test_a_curve_begins_with_what_the_table_shows(store):
    """One value a seed, that of the target: a mean over labels has no more seeds for it."""
    cells = product(Plotted.grid(), tasks=[(BASE, TARGET)], seed=range(2))
    results = drawn_results(store, cells, on_both_tasks, quality=lambda cell: 0.0)
    for result in results.by_key.values():
        result.record["curves"].append(("fit/score", 1, 0.5, None))
    ((_, (line,)),) = curves(results)
    (group,) = results.groups()
    start, first = line.points
    assert start[:2] == (0.0, pytest.approx(0.25))
    assert start[2] == pytest.approx(group.metric("score").half)
    assert first[:2] == (1.0, 0.5)


def test_a_plot_stands_against_no_mean_over_labels_that_rows_do_not_share(store):
    """The quality has no labels; the score is that of the target here, and of both there."""
    cells = product(
        union(Plotted.grid(), PlottedEverywhere.grid()), tasks=[(BASE, TARGET)], seed=range(2)
    )
    results = drawn_results(store, cells, on_both_tasks, quality=lambda cell: 1.0)
    ((_, lines),) = series(results)
    found = {line.name: [x for x, _, _ in line.points] for line in lines}
    assert found == {
        "plotted, task=target": [pytest.approx(0.25)],
        "plotted_everywhere, task=target": [pytest.approx(0.25)],
        "all cells, task=base": [0.9],
    }


def test_a_point_counts_each_trial_once_and_both_means_are_over_the_same_seeds(store):
    """Rates 1 and 2 are one trial. Rate 0.5 lacks seed 1, which is then in neither mean."""
    cells = product(PlottedOver.grid(level=[1.0], rate=[0.5, 1.0, 2.0]), seed=range(2))

    def is_lost(cell):
        return (cell.trial.method.rate, cell.trial.seed) == (0.5, 1)

    results = drawn_results(
        store,
        cells,
        lambda cell: 8.0 if cell.trial.method.rate == 0.5 else 2.0,
        outcome=lambda cell: "diverged" if is_lost(cell) else "done",
        quality=lambda cell: 10.0 * cell.trial.seed,
    )
    ((_, (line,)),) = series(results)
    assert line.points == [(0.0, 5.0, 0.0)]
