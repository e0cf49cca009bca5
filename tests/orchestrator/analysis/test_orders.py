"""The law of orders: at the bar 0 all orders are equally likely, at another bar the expected
correlation is the bar.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from orchestrator.analysis.claims.deciding import ranks
from orchestrator.analysis.claims.orders import (
    MOST_VALUES,
    _counts,
    _law,
    can_show,
    fisher_test,
    order_test,
)

STEPS = (-3, -1, 1, 3)  # four ranks, as twice their distance from the middle


def axis(num_series, num_values):
    return np.tile(np.arange(1.0, num_values + 1), (num_series, 1))


@pytest.mark.parametrize("values", [[[3.0, 1, 2, 4], [1, 2, 4, 3]], [[1.0, 1, 2, 2], [2, 2, 2, 5]]])
def test_at_the_bar_0_it_is_the_share_of_all_orders_of_every_series(values):
    first = ranks(np.array(values))  # [series, values], with ties in the second case
    second = axis(*first.shape)
    centred = second[0] - second[0].mean()
    sums = [[np.dot(order, centred) for order in itertools.permutations(one)] for one in first]
    every = np.add.outer(*sums).ravel()
    found = float((first * centred).sum())
    decision = order_test(first, second, 0.0)
    assert decision.p_holds == pytest.approx(np.mean(every >= found - 1e-9))
    assert decision.p_fails == pytest.approx(np.mean(every <= found + 1e-9))


@pytest.mark.parametrize("bar", [0.3, 0.8, 0.99])
def test_the_expected_correlation_is_the_bar(bar):
    likely, lowest = _law(((STEPS, STEPS),) * 2, bar)
    sums = lowest + np.arange(len(likely))
    assert np.dot(likely, sums) / 40 == pytest.approx(bar), "40 is two correlations of 1"
    assert likely.sum() == pytest.approx(1.0)


def test_all_orders_of_the_longest_series_are_counted():
    steps = tuple(range(1 - MOST_VALUES, MOST_VALUES, 2))
    counts, _ = _counts(steps, steps)
    assert counts.sum() == 479_001_600, "12!"
    assert counts[0] == counts[-1] == 1


def test_a_perfect_order_in_every_seed_proves_no_more_than_the_orders_can():
    """At a bar of 0.8 an order of four is perfect with probability 0.37."""
    three, four = (order_test(axis(n, 4), axis(n, 4), 0.8).p_holds for n in (3, 4))
    assert three == pytest.approx(0.37**3, rel=0.02)
    assert four < 0.025 < three
    assert (can_show(3, 4, 0.8), can_show(4, 4, 0.8)) == (False, True)


def test_a_bar_that_ties_put_out_of_reach_is_not_tested():
    tied = np.array([[1.5, 1.5, 3.5, 3.5]])
    assert not order_test(tied, axis(1, 4), 0.95).is_tested
    assert order_test(tied, axis(1, 4), 0.5).is_tested


def test_longer_series_are_shuffled_and_tested_at_0_only():
    length = MOST_VALUES + 1
    decision = order_test(axis(2, length), axis(2, length), 0.0)
    assert (decision.verdict, decision.p_holds) == ("reproduced", 1 / 10_000)
    assert not order_test(axis(2, length), axis(2, length), 0.5).is_tested


def test_fishers_z_leaves_a_perfect_order_to_the_orders():
    assert (fisher_test(1.0, 5, 0.5).p_holds, fisher_test(-1.0, 5, 0.5).p_fails) == (0.0, 0.0)
    assert fisher_test(0.5, 8, 0.5).p_holds == pytest.approx(0.5)
