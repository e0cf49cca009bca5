"""Claims with a bar: no worse, a share kept, above every part, a spread along an axis."""

from __future__ import annotations

import pytest
from deciding import decided

from orchestrator import SweepError, claims

KINDS = ["floor", "middle", "ceiling"]
FLOOR, MIDDLE, CEILING = ({"kind": kind, "part": "a"} for kind in KINDS)
"""Scores on part a: floor 0, middle 0.8, ceiling 1 above what the seed draws."""


def test_no_worse_allows_a_little_and_rules_out_much(store):
    bars = [(0.25, 0.3), (0.15, 0.3), (0.1, 0.2)]
    kept, worse, barely = decided(
        store,
        *(
            claims.NoWorse(metric="score", where=MIDDLE, than=CEILING, by=by, never=never)
            for by, never in bars
        ),
        kind=KINDS,
    )
    assert (kept.verdict, kept.evidence) == ("reproduced", "difference -0.200 ±0.000")
    assert (
        kept.claim
        == "part=a: score at kind=middle is at most 0.25 below that at kind=ceiling, and "
        "surely not 0.3"
    )
    assert worse.verdict == "not reproduced"
    assert barely.verdict == "not reproduced"


def test_a_share_is_kept_or_not(store):
    """Quality is -0.5 at a rate of 1.5 and -1 at a rate of 1, whatever the seed."""
    shares = [
        claims.Keeps(metric="quality", where={"rate": "1.5"}, of={"rate": "1"}, share=share)
        for share in (0.8, 0.3)
    ]
    kept, lost = decided(store, *shares, rate=[1.0, 1.5])
    assert (kept.verdict, lost.verdict) == ("reproduced", "not reproduced")
    assert kept.evidence == "-0.500 ±0.000 of -1.000 ±0.000; beyond the bar 0.300 ±0.000"
    assert kept.claim == "rate=1.5 keeps at least 0.8 of the quality at rate=1"


def test_one_seed_shows_nothing(store):
    claim = claims.Keeps(metric="quality", where={"rate": "1.5"}, of={"rate": "1"}, share=0.8)
    assert decided(store, claim, seeds=1, rate=[1.0, 1.5])[0].verdict == "undecided"


def test_above_all_needs_every_one(store):
    highest, second = (
        claims.AboveAll(metric="score", where=one, than=others)
        for one, others in ((CEILING, (MIDDLE, FLOOR)), (MIDDLE, (CEILING, FLOOR)))
    )
    both, one = decided(store, highest, second, kind=KINDS)
    assert (both.verdict, both.evidence) == (
        "reproduced",
        "differences 0.200 ±0.000 and 1.000 ±0.000",
    )
    assert one.verdict == "not reproduced"
    assert (
        both.claim == "part=a: score at kind=ceiling is above that at kind=middle and at kind=floor"
    )


def test_a_spread_is_between_the_highest_and_the_lowest_mean(store):
    wide, narrow = decided(
        store,
        *(
            claims.Spread(metric="score", axis="kind", above=above, where={"part": "a"})
            for above in (0.9, 1.1)
        ),
        kind=KINDS,
    )
    assert wide.verdict == "reproduced"
    assert wide.evidence == (
        "ceiling less floor 1.000 ±0.000 (all pairs at once); "
        "floor 15.005, middle 15.805, ceiling 16.005"
    )
    assert narrow.verdict == "not reproduced"


def test_a_spread_with_one_value_done_of_three_says_what_is_missing(store):
    (found,) = decided(
        store, claims.Spread(metric="score", axis="kind", above=0.1), ran=4, kind=KINDS
    )
    nothing, first, second = found.evidence.split("; ")
    assert (found.verdict, found.n, nothing) == ("undecided", 0, "nothing to compare yet")
    for problem, kind in ((first, "middle"), (second, "ceiling")):
        cells = ", ".join(f"kind={kind} seed={seed} (open)" for seed in range(3))
        assert problem == f"4 of 4 cells have no score: {cells} and 1 more"


def test_an_axis_or_value_that_the_sweep_lacks_is_told(store):
    with pytest.raises(SweepError, match=r"the sweep has no axis 'knd'\. Did you mean 'kind'\?"):
        decided(store, claims.Spread(metric="score", axis="knd", above=0.1), kind=KINDS)
    with pytest.raises(SweepError, match=r"kind is never 'celing'\. Did you mean 'ceiling'\?"):
        decided(
            store,
            claims.AboveAll(metric="score", where=FLOOR, than=({"kind": "celing"},)),
            kind=KINDS,
        )
