"""Claims on gains, shares of a distance, relations between metrics, and constancy; metrics by
label; the best of several settings.
"""

from __future__ import annotations

import pytest
from deciding import decided
from sample_methods import Graded

from orchestrator import Results, Sweep, SweepError, claims, make_plan, product, union
from orchestrator.analysis.claims import verdicts
from orchestrator.training.execute import execute

KINDS = ("floor", "middle", "ceiling")
FLOOR, MIDDLE, CEILING = ({"kind": kind} for kind in KINDS)
A, B = {"part": "a"}, {"part": "b"}


def test_a_claim_may_speak_of_one_label_of_a_metric(store):
    on_a, on_b, both = decided(
        store,
        *(
            claims.Higher(metric="score", where=CEILING | part, than=FLOOR | part)
            for part in (A, B, {})
        ),
        kind=list(KINDS),
    )
    assert (on_a.verdict, on_a.evidence) == ("reproduced", "difference 1.000 ±0.000")
    assert on_b.evidence == "difference 0.000 ±0.000"
    assert both.evidence == "difference 0.500 ±0.000; averaged over part (2)"
    assert on_a.claim == "part=a: score is higher at kind=ceiling than at kind=floor"


def test_a_label_that_the_metric_lacks_is_no_axis(store):
    with pytest.raises(SweepError, match=r"the sweep has no axis 'prat'\. Did you mean 'part'\?"):
        decided(store, claims.Within(metric="score", where={"prat": "a"}, above=0.0))
    with pytest.raises(SweepError, match="the sweep has no axis 'part'"):
        decided(store, claims.Within(metric="quality", where=A, above=0.0))


def test_each_side_may_be_taken_at_its_best_by_another_metric(store):
    plain, chosen = decided(
        store,
        *(
            claims.Higher(metric="score", where=CEILING | A, than=FLOOR | A, **best)
            for best in ({}, {"choose": "quality", "over": ["rate"]})
        ),
        kind=["floor", "ceiling"],
        rate=[1.0, 2.0, 4.0],
    )
    assert plain.evidence == "difference 1.000 ±0.000; averaged over rate (3)"
    assert (plain.verdict, plain.n, chosen.verdict) == ("reproduced", 4, "reproduced")
    assert chosen.evidence == "difference 1.000 ±0.000 (rate=2 against rate=2)"
    assert chosen.claim.endswith("each at its best quality")
    with pytest.raises(SweepError, match="no method here has a metric 'qualty'"):
        decided(
            store, claims.Higher(metric="score", where=A, than=B, choose="qualty", over=["rate"])
        )


def test_a_negative_bar_says_how_much_lower_is_allowed(store):
    (found,) = decided(
        store,
        claims.Higher(metric="score", where=MIDDLE | A, than=CEILING | A, by=-0.3),
        kind=list(KINDS),
    )
    assert (found.verdict, found.claim) == (
        "reproduced",
        "part=a: score is higher at kind=middle than at kind=ceiling or at most 0.3 lower",
    )


def test_what_cells_are_to_lack_is_not_said(store):
    first, second = {"kind": "middle", "rate": "-"}, {"kind": "floor", "rate": "-"}
    grid = union(Graded.grid(kind=list(KINDS)), Graded.grid(kind=["floor"], rate=[2.0, 3.0]))
    cells = product(grid, seed=range(3))
    sweep = Sweep(
        question="?",
        cells=cells,
        expect=len(cells),
        claims=[claims.Higher(metric="score", where=first | A, than=second | A)],
    )
    for trial in make_plan("asked", sweep, store).todo:
        execute(trial, store)
    plan = make_plan("asked", sweep, store)
    (found,) = verdicts(plan.claims, Results(plan, store))
    assert found.claim == "part=a: score is higher at kind=middle than at kind=floor"
    assert found.evidence == "difference 0.800 ±0.000"


def test_fixed_categories_are_averaged_within_a_seed_and_n_counts_seeds(store):
    """Orders 0, 1, 2 differ by 1, 2, 3 in every seed: what they have in common is not spread over
    seeds, and three orders are no more seeds.
    """
    (found,) = decided(
        store,
        claims.Higher(metric="score", where=CEILING | A, than=FLOOR | A),
        kind=["floor", "ceiling"],
        order=[0, 1, 2],
    )
    assert (found.n, found.verdict) == (4, "reproduced")
    assert found.evidence == "difference 2.000 ±0.000; averaged over order (3)"


def test_gains_are_compared_within_seeds(store):
    more, less = (
        claims.GainHigher(
            metric="score",
            gain=CEILING | A,
            without=FLOOR | A,
            where={"order": one},
            than={"order": other},
        )
        for one, other in (("1", "0"), ("0", "1"))
    )
    first, second = decided(store, more, less, kind=["floor", "ceiling"], order=[0, 1])
    assert (first.verdict, second.verdict, first.n) == ("reproduced", "not reproduced", 4)
    assert first.evidence == "difference 1.000 ±0.000; gains 2.000 ±0.000 and 1.000 ±0.000"


def test_the_share_of_a_distance_that_is_covered(store):
    def share(above, at):
        return claims.Recovered(
            metric="score", where=MIDDLE, floor=FLOOR, ceiling=CEILING, above=above, at=at
        )

    yes, no, without = decided(store, share(0.7, A), share(0.9, A), share(0.7, B), kind=list(KINDS))
    assert (yes.verdict, no.verdict, yes.evidence) == (
        "reproduced",
        "not reproduced",
        "share 0.800 of 1.000 ±0.000; beyond the bar 0.100 ±0.000",
    )
    assert (without.verdict, "no gap" in without.evidence) == ("undecided", True)


def related(how, **more):
    """On part a the score rises with the order, on part b it falls."""
    return claims.Related(
        metric="score",
        axis="order",
        where=MIDDLE | B,
        how=how,
        other="score",
        at=MIDDLE | A,
        **more,
    )


def test_two_metrics_go_with_or_against_each_other_along_an_axis(store):
    against, together, barred = decided(
        store,
        related("against"),
        related("with", rho=0.5),
        related("against", rho=0.99),
        kind=["floor", "middle"],
        order=list(range(5)),
    )
    assert (against.verdict, against.n) == ("reproduced", 5)
    assert (together.verdict, barred.verdict) == ("not reproduced", "undecided")
    assert barred.evidence.startswith(
        "rho -1.00 over 5 values (no result on 5 values with n = 1 could show the bar)"
    )
    assert barred.claim.endswith(" by a rho of more than 0.99")
    assert against.evidence.startswith("rho -1.00 over 5 values; 0 15.005/15.805, 1 13.005")
    assert against.p == pytest.approx(1 / 120), "one of all orders of five"


def test_seeds_bring_no_new_values_of_an_axis(store):
    """Four values have 24 orders, the clearest of which is too likely by chance, with any number of
    seeds.
    """
    with pytest.raises(SweepError, match="order has 4 values here, and it takes at least 5"):
        decided(store, related("with"), kind=["floor", "middle"], order=list(range(4)))


def test_what_varies_and_what_stays_the_same_to_the_last_bit(store):
    varies, still, unchanged, changed = decided(
        store,
        claims.Varies(metric="score", axis="order", where=FLOOR | B, above=1.0),
        claims.Varies(metric="score", axis="order", where=FLOOR | A),
        claims.Unchanged(metric="score", axis="order", where=FLOOR | A),
        claims.Unchanged(metric="score", axis="order", where=FLOOR),
        kind=["floor", "middle"],
        order=[0, 1, 2],
    )
    assert varies.verdict == "reproduced"
    assert varies.evidence == "standard deviation 2.000; 0 15.005, 1 13.005, 2 11.005"
    assert (still.verdict, still.evidence) == (
        "not reproduced",
        "all 3 values of every seed are equal",
    )
    assert (unchanged.verdict, unchanged.evidence) == ("reproduced", "0 of 4 differ")
    assert (changed.verdict, changed.evidence) == ("not reproduced", "4 of 8 differ")


def test_a_claim_about_all_cells_names_none(store):
    everywhere, whatever = decided(
        store,
        claims.Within(metric="quality", where={}, above=-5.0),
        claims.Unchanged(metric="quality", axis="order"),
        order=[0, 1],
    )
    assert (everywhere.claim, whatever.claim) == (
        "quality is more than -5",
        "quality is the same whatever order is",
    )


def test_with_nothing_along_the_axis_nothing_is_decided(store):
    for claim in (
        claims.Varies(metric="score", axis="order", where=A),
        claims.Unchanged(metric="score", axis="order", where=A),
    ):
        (found,) = decided(store, claim, order=[0, 1], ran=1)
        assert found.verdict == "undecided"
