"""Smoke runs are small, and leave alone what the sweep is about."""

from __future__ import annotations

import pytest
from sample_methods import Count

from methods.fine_tune import FineTune
from methods.networks import resnet8
from methods.piggyback import Piggyback
from methods.recombine import Recombine
from orchestrator import Method, Sweep, axis, digits, product, union
from orchestrator.planning.choose import smoke


class Chooser(Method):
    """Has another method among its settings."""

    name = "chooser"
    uses = frozenset({"tasks", "seed"})

    inner: FineTune | None = axis(None)
    steps: int = axis(100, smoke=10)

    def train(self, run):
        raise AssertionError


class Taught(Chooser):
    """Has another method as the default of a setting."""

    name = "taught"

    inner: FineTune = axis(FineTune(), smoke=FineTune(epochs=1))


def smoke_of(*cells):
    grid = union(*cells)
    return smoke(Sweep(question="?", cells=grid, expect=len(grid)))


def small(*cells):
    made = smoke_of(*cells).sweep
    return [(cell.trial.method, dict(cell.labels)) for cell in made.trials()]


def one(*cells):
    ((method, labels),) = small(*cells)
    return method, labels


def test_a_number_of_no_consequence_takes_its_smoke_value_and_so_does_its_label():
    method, labels = one(product(Chooser.grid(steps=500), seed=range(3)))
    assert (method.steps, labels["steps"]) == (10, 10)
    method, _ = one(product(Chooser.grid(), seed=0))
    assert method.steps == 10


def test_a_number_below_its_smoke_value_is_not_made_larger():
    assert one(product(Chooser.grid(steps=3), seed=0))[0].steps == 3
    method, _ = one(product(Chooser.grid(inner=FineTune(epochs=0)), seed=0))
    assert method.inner.epochs == 0


def test_a_method_that_is_a_default_is_made_small_and_told():
    made = smoke_of(product(Taught.grid(), seed=0))
    (cell,) = made.sweep.trials()
    assert cell.trial.method.inner.epochs == 2
    assert "fine_tune.epochs 30 -> 2" in made.smaller
    assert "inner" not in cell.labels


def test_but_not_where_the_sweep_varies_it():
    two = [product(grid, seed=0) for grid in (Taught.grid(), Taught.grid(inner=FineTune(epochs=0)))]
    assert [method.inner.epochs for method, _ in small(*two)] == [30, 0]


def test_a_number_that_the_sweep_varies_stays():
    found = small(product(Chooser.grid(steps=[50, 500]), seed=0))
    assert [(method.steps, labels["steps"]) for method, labels in found] == [(50, 50), (500, 500)]


def test_a_number_that_is_varied_among_the_settings_stays_everywhere():
    cells = product(Chooser.grid(inner=FineTune.grid(epochs=[0, 7])), seed=0)
    assert [m.inner.epochs for m, _ in small(cells)] == [0, 7]
    # 30, the default, against 7: varied between two parts of a sweep
    parts = small(
        product(FineTune.grid(epochs=7), network=resnet8(), tasks=digits, seed=0),
        product(Chooser.grid(inner=FineTune()), seed=0),
    )
    assert parts[0][0].epochs == 7
    assert parts[1][0].inner.epochs == 30


def test_a_number_that_differs_between_parts_is_made_small_where_it_still_differs_then():
    """A base that is not trained at all, as trained weights are, beside trainings in full."""
    parts = small(
        product(FineTune.grid(epochs=30), network=resnet8(), tasks=digits, seed=0),
        product(Chooser.grid(inner=FineTune(epochs=0)), seed=0),
    )
    assert parts[0][0].epochs == FineTune.smoke().epochs == 2
    assert parts[1][0].inner.epochs == 0


def test_a_number_that_differs_from_task_to_task_alone_is_made_small():
    def cells(steps, tasks):
        method = Chooser.grid(steps=steps, inner=FineTune(epochs=steps))
        return product(method, tasks=tasks, seed=0)

    two = digits.named("one"), digits.named("other")
    found = small(*(cells(steps, task) for steps, task in zip((50, 20), two, strict=True)))
    assert [(method.steps, method.inner.epochs) for method, _ in found] == [(10, 2), (10, 2)]
    found = small(*(cells(steps, two[0]) for steps in (50, 20)))
    assert [(method.steps, method.inner.epochs) for method, _ in found] == [(50, 50), (20, 20)]


def test_the_values_of_an_axis_stay_apart():
    cells = product(Chooser.grid(inner=[None, FineTune(epochs=0)]), seed=0)
    found = small(cells)
    assert [method.inner for method, _ in found] == [None, FineTune(epochs=0)]
    assert [labels["inner"] for _, labels in found] == [None, FineTune(epochs=0)]
    cells = product(Chooser.grid(inner=[None, FineTune(epochs=9)]), seed=0)
    assert [method.inner for method, _ in small(cells)] == [None, FineTune(epochs=9)]


def test_a_label_of_a_setting_within_a_setting_shows_what_runs():
    cells = product(
        Recombine.grid(of=FineTune.grid(epochs=50, lr=[0.1, 0.01])),
        network=resnet8(),
        tasks=(digits.named("a"), digits.named("b")),
        seed=0,
    )
    for method, labels in small(cells):
        (inner,) = method.of
        assert inner.epochs == labels["of.epochs"] == 2
        assert inner.lr == labels["of.lr"]


@pytest.mark.parametrize("trained", [FineTune(epochs=15, lr=0.03)])
def test_no_label_says_what_did_not_run(trained):
    cells = product(
        Piggyback.grid(epochs=15, base=trained), network=resnet8(), tasks=(digits, digits), seed=0
    )
    method, labels = one(cells)
    assert labels["base"] == method.base
    assert labels["epochs"] == method.epochs == Piggyback.smoke().epochs
    assert one(product(Count.grid(number=5), seed=0))[1]["number"] == 5


def test_what_a_sweep_names_once_and_large_is_made_small_and_told():
    """A sweep that names 500 epochs would take hours; what it says is told beside what runs."""
    cells = product(Chooser.grid(steps=500, inner=FineTune(epochs=0, lr=0.5)), seed=range(3))
    assert smoke_of(cells).smaller == ("chooser.steps 500 -> 10",)
    cells = product(Chooser.grid(inner=FineTune(epochs=500)), seed=0)
    epochs = FineTune.smoke().epochs
    assert smoke_of(cells).smaller == (
        f"fine_tune.epochs 500 -> {epochs}",
        "chooser.steps 100 -> 10",
    )


def test_nothing_is_told_of_what_stays_as_written():
    varied = product(Chooser.grid(steps=[50, 500], inner=FineTune(epochs=0)), seed=0)
    assert smoke_of(varied).smaller == ()
    assert smoke_of(product(Chooser.grid(steps=10), seed=0)).smaller == ()


def test_a_label_of_several_methods_shows_those_that_run():
    cells = product(
        Recombine.grid(of=(FineTune(epochs=500),)),
        network=resnet8(),
        tasks=(digits.named("a"), digits.named("b")),
        seed=0,
    )
    method, labels = one(cells)
    assert method.of == labels["of"] == (FineTune(epochs=FineTune.smoke().epochs),)
