"""Short names of axes."""

from __future__ import annotations

from orchestrator.spec.labels import axes_by_name, short_names


def test_an_axis_is_shortened_where_that_leaves_no_doubt():
    axes = ["of.split", "of.lr", "lr", "of.count", "seed"]
    assert short_names(axes) == {
        "of.split": "split",
        "of.lr": "of.lr",
        "lr": "lr",
        "of.count": "of.count",  # tables have a column `count`
        "seed": "seed",
    }


def test_people_may_write_an_axis_in_short_or_in_full():
    assert axes_by_name(["of.split", "seed"]) == {
        "split": "of.split",
        "of.split": "of.split",
        "seed": "seed",
    }
