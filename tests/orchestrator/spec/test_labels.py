"""Short names of axes, and their values told apart."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator import InputError, digits
from orchestrator.analysis.selection import keys_of, select
from orchestrator.session.cells import cells_like
from orchestrator.spec.labels import ABSENT, COLUMNS, Axes, axes_by_name, short_names
from orchestrator.spec.trial import Cell


def cells(*values):
    """Cells that have nothing but one value each."""
    return [Cell(number, {"x": value}, None) for number, value in enumerate(values)]


def test_an_axis_is_shortened_where_that_leaves_no_doubt():
    axes = ["of.split", "of.lr", "lr", "of.count", "seed"]
    assert short_names(axes) == {
        "of.split": "split",
        "of.lr": "of.lr",
        "lr": "lr",
        "of.count": "of.count",  # tables have a column `count`
        "seed": "seed",
    }


@pytest.mark.parametrize("column", ["key", "outcome", "value", "state", "why", "count"])
def test_no_axis_is_called_like_what_stands_beside_the_axes(column):
    """In Parquet and in JSON it would take the place of the cell's own."""
    axes = [column, "seed", f"setting.{column}"]
    names = short_names(axes)
    assert not {*names.values()} & COLUMNS
    assert len({*names.values()}) == 3
    assert axes_by_name(axes)[column] == column


def test_people_may_write_an_axis_in_short_or_in_full():
    assert axes_by_name(["of.split", "seed"]) == {
        "split": "of.split",
        "of.split": "of.split",
        "seed": "seed",
    }


def test_text_is_itself_first_and_only_then_what_another_value_is_called():
    axes = Axes(cells("1", 1, ()), ["x"])
    assert [value.value for value in axes.values("x")] == ["1", 1, ()]
    assert axes.find("x", "1").value == "1"
    assert (axes.find("x", 1).value, type(axes.find("x", 1).value)) == (1, int)
    assert axes.find("x", "none").value == ()


@pytest.mark.parametrize("wanted", [np.int64(1), np.int32(1), np.float64(1.0), 1])
@pytest.mark.parametrize("value", [1, 1.0])
def test_a_number_is_found_whatever_its_type(wanted, value):
    assert Axes(cells(value, 2), ["x"]).find("x", wanted).value == value


@pytest.mark.parametrize(
    ("wanted", "value"), [("2.0", 2.0), ("2", 2.0), ("2.0", 2), ("1e-3", 0.001), ("1", 1)]
)
def test_a_number_is_found_as_somebody_may_write_it(wanted, value):
    axes = Axes(cells(7, value, True), ["x"])
    assert axes.find("x", wanted).value is value


@pytest.mark.parametrize("wanted", ["two", "nan", "3.0", ""])
def test_a_text_that_is_no_number_of_the_axis_is_not_there(wanted):
    with pytest.raises(LookupError, match="x is never"):
        Axes(cells(7, 2.0, True), ["x"]).find("x", wanted)


def test_a_number_beyond_all_floats_is_never_there():
    with pytest.raises(LookupError, match="x is never 1000"):
        Axes(cells(1.5, 2.5), ["x"]).find("x", 10**400)


def test_a_dash_that_an_axis_has_is_not_called_like_the_lack_of_the_axis():
    axes = Axes([*cells("-", "+"), Cell(2, {}, None)], ["x"])
    assert [value.text for value in axes.values("x")] == ["'-'", "+"]
    assert axes.find("x", "'-'").value == axes.find("x", "-").value == "-"
    assert axes.text(Cell(2, {}, None), "x") == ABSENT


def test_what_no_axis_could_have_is_never_there():
    with pytest.raises(LookupError, match="x is never <object object at"):
        Axes(cells(1, 2), ["x"]).find("x", object())


def test_a_value_is_not_taken_for_one_that_was_where_it_is_now():
    """Python gives an object the identity of one that is gone."""
    axes = Axes(cells(1.5, 2.5), ["x"])

    def found(text):
        (cell,) = cells(float(text))
        return axes.of(cell, "x").value

    assert [found(text) for text in ("1.5", "2.5") * 3] == [1.5, 2.5] * 3


def test_tasks_that_differ_in_their_normalisation_are_told_apart_by_it():
    plain = digits.named("numbers")
    axes = Axes(cells((plain,), (plain.normalised("own"),), (plain.images(limit=9),)), ["x"])
    texts = [value.text for value in axes.values("x")]
    assert texts == ["numbers=digits", "numbers (own)", "numbers=digits-9"]
    assert axes.find("x", (plain.normalised("own"),)).text == "numbers (own)"


def test_an_axis_is_called_as_whoever_asked_called_it():
    axes = Axes([Cell(0, {"of.split": "pool"}, None)], ["of.split"])
    for name in ("split", "of.split"):
        with pytest.raises(LookupError, match=rf"^{name} is never 'Pol'\. Did you mean 'pool'"):
            keys_of(axes, name, "Pol")


def test_an_axis_that_is_named_twice_is_told():
    """One of the two values would win in silence."""
    cells = [Cell(i, {"of.split": split}, None) for i, split in enumerate(("stem", "pool"))]
    twice = {"split": "pool", "of.split": "stem"}
    axes = Axes(cells, ["of.split"])
    for ask in (lambda: cells_like(cells, axes, twice), lambda: select(axes, [], twice)):
        with pytest.raises(InputError, match=r"'split' and 'of\.split' are one axis: name it once"):
            ask()


@pytest.mark.parametrize("wanted", [float("nan"), np.arange(2)])
def test_what_has_no_key_is_never_there(wanted):
    axes = Axes([Cell(i, {"seed": i}, None) for i in range(2)], ["seed"])
    with pytest.raises(LookupError, match="seed is never"):
        axes.find("seed", wanted)
