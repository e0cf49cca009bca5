"""Our few distributions are those of `scipy.stats`."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from orchestrator.analysis.claims.deciding import ranks
from orchestrator.analysis.distributions import (
    normal_below,
    range_above,
    range_quantile,
    student_below,
    student_quantile,
)


def test_students_t_and_the_normal_are_the_same_to_the_bit():
    for freedom in (1, 2, 5, 30, 400):
        assert student_quantile(freedom) == stats.t.ppf(0.975, freedom)
        for value in np.linspace(-30, 30, 13):
            assert student_below(value, freedom) == stats.t.cdf(value, freedom)
            assert normal_below(-value) == stats.norm.sf(value)


# Values of the axis and seeds: freedom is the product of both less one.
@pytest.mark.parametrize(("num_values", "num_seeds"), [(2, 2), (2, 30), (4, 2), (5, 4), (20, 3)])
def test_the_studentised_range_is_the_same_to_nine_digits(num_values, num_seeds):
    freedom = (num_values - 1) * (num_seeds - 1)
    quantile = range_quantile(num_values, freedom)
    law = stats.studentized_range(num_values, freedom)
    assert law.sf(quantile) == pytest.approx(0.025, abs=1e-9)
    for value in (0.5, 3.0, quantile, 3 * quantile):
        assert range_above(value, num_values, freedom) == pytest.approx(law.sf(value), abs=1e-9)
    assert range_above(0.0, num_values, freedom) == 1.0
    assert range_above(1e6, num_values, freedom) == pytest.approx(0.0, abs=1e-5)


def test_ranks_share_ties():
    values = np.array([[3.0, 1.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0], [-1.0, 5.0, 5.0, 9.0]])
    np.testing.assert_array_equal(ranks(values), stats.rankdata(values, axis=1))
