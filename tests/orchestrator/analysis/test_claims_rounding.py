"""Values that are at a bar on paper are at it: no verdict rests on how 0.6 - 0.5 is rounded, nor on
what two seeds have in common by chance.
"""

from __future__ import annotations

import numpy as np
import pytest
from drawn import Drawn, given

from orchestrator import claims, product
from orchestrator.analysis.claims.deciding import ranks
from orchestrator.analysis.estimates import Estimate, estimate

SCORE = {"metric": "score"}
FIRST, SECOND, THIRD = ({"level": level} for level in (0.0, 1.0, 2.0))
UP = {**SCORE, "where": SECOND, "than": FIRST}
DOWN = {**SCORE, "where": FIRST, "than": SECOND}


def decided(store, claim, values, shift=0.0, num_seeds=3):
    """The verdict where each level has the value given for it, shifted from seed to seed."""
    cells = product(Drawn.grid(level=[float(level) for level in range(3)]), seed=range(num_seeds))
    (found,) = given(
        store, cells, [claim], lambda c: values[int(c.trial.method.level)] + shift * c.trial.seed
    )
    return found


@pytest.mark.parametrize("values", [(0.5, 0.6, 0.8), (0.6, 0.7, 0.9), (0.1, 0.2, 0.4)])
@pytest.mark.parametrize("shift", [0.0, 0.1])
@pytest.mark.parametrize(
    "claim",
    [
        claims.Higher(**UP, by=0.1),
        claims.Higher(**DOWN, by=-0.1),
        claims.Equal(**UP, within=0.1),
        claims.Spread(**SCORE, axis="level", above=0.3),
        claims.Varies(**SCORE, axis="level", above=np.std([0, 1, 3], ddof=1) / 10),
        claims.Recovered(**SCORE, where=SECOND, floor=FIRST, ceiling=THIRD, above=1 / 3),
    ],
    ids=lambda claim: type(claim).__name__,
)
def test_a_value_at_its_bar_is_on_neither_side(store, claim, values, shift):
    found = decided(store, claim, values, shift)
    assert found.verdict == "undecided", found.evidence


def test_a_bar_far_below_the_digits_of_other_values_is_one(store):
    for value, verdict in ((0.0, "reproduced"), (2e-12, "not reproduced")):
        claim = claims.Within(**SCORE, where=FIRST, below=1e-12)
        assert decided(store, claim, (value, 5e6, 0.0)).verdict == verdict


def test_whole_numbers_of_any_size_that_differ_by_one_differ(store):
    claim = claims.Higher(**UP, by=0.5)
    assert decided(store, claim, (12_345_678.0, 12_345_679.0, 0.0)).verdict == "reproduced"


@pytest.mark.parametrize("claim", [claims.Higher(**UP), claims.Equal(**UP, within=1.0)])
def test_two_seeds_that_agree_show_nothing_and_three_do(store, claim):
    """An accuracy over 20 images is the same in two seeds by chance in one sweep of ten."""
    two = decided(store, claim, (0.5, 0.6, 0.0), shift=0.1, num_seeds=2)
    assert two.verdict == "undecided"
    assert two.evidence == "difference 0.100 ±0.000; two seeds that agree show nothing"
    assert decided(store, claim, (0.5, 0.6, 0.0), shift=0.1).verdict == "reproduced"


def test_neighbours_that_only_rounding_tells_apart_are_tied():
    values = np.array([[0.3, 0.1 + 0.2, 0.1, 0.4]])
    assert ranks(values).tolist() == [[2.0, 3.0, 1.0, 4.0]]
    assert ranks(values, 1e-15).tolist() == [[2.5, 2.5, 1.0, 4.0]]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (estimate([2e-5, 3e-5, 4e-5]), "3e-05 ±2.5e-05"),
        (estimate([0.5, 0.50001]), "0.500 ±0.000"),
        (estimate([0.0, 0.0]), "0.000 ±0.000"),
        (estimate([1e-4]), "0.0001"),
        (estimate([-0.25, 0.25, -1e-17]), "0.000 ±0.621"),  # zero has no sign
        (Estimate(1e-17, 1e-17, 3, rounding=1e-15), "0.000 ±0.000"),
        (estimate([]), "–"),
    ],
)
def test_evidence_shows_figures_of_small_numbers_too(found, words):
    assert str(found) == words


def test_a_claim_with_problems_everywhere_tells_the_first_few(store):
    levels = [float(level) for level in range(12)]
    claim = claims.Ranked(**SCORE, axis="level", how="rises")
    cells = product(Drawn.grid(level=levels), seed=range(2))
    (found,) = given(store, cells, [claim], lambda cell: None if cell.trial.seed else 1.0)
    assert found.evidence.count("cells have no score") == 6
    assert found.evidence.endswith("; and 6 more like these")
