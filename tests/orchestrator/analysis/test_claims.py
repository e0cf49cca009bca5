"""Claims are decided by paired intervals, and say when they cannot be."""

from __future__ import annotations

import json

import pytest
from sample_methods import Noisy

from orchestrator import Results, Sweep, SweepError, claims, make_plan, product
from orchestrator.analysis.claims import verdicts
from orchestrator.training.execute import execute

LOW, HIGH = {"level": "0"}, {"level": "1"}


def decided(store, *claims, seeds=4, levels=(0.0, 0.05, 1.0), ran=None):
    cells = product(Noisy.grid(level=list(levels)), seed=range(seeds))
    sweep = Sweep(question="?", cells=cells, expect=len(cells), claims=claims)
    for trial in make_plan("asked", sweep, store).todo[:ran]:
        assert execute(trial, store).kind == "done"
    plan = make_plan("asked", sweep, store)
    return list(verdicts(plan.claims, Results(plan, store)))


def test_a_clear_difference_is_decided_either_way(store):
    first, second = decided(
        store,
        claims.Higher(metric="score", where=HIGH, than=LOW, paper="C1"),
        claims.Higher(metric="score", where=LOW, than=HIGH),
    )
    assert (first.paper, first.verdict, first.n) == ("C1", "reproduced", 4)
    assert second.verdict == "not reproduced"
    assert first.claim == "score is higher at level=1 than at level=0"
    assert first.evidence.startswith("difference 1.0")


def test_a_difference_is_paired_by_seed(store):
    """The seeds differ by far more than the levels do; unpaired, nothing could be seen."""
    (found,) = decided(store, claims.Higher(metric="score", where={"level": "0.05"}, than=LOW))
    assert found.verdict == "reproduced"


def test_a_bar_that_the_interval_straddles_is_undecided(store):
    (found,) = decided(store, claims.Higher(metric="score", where=HIGH, than=LOW, by=1.0))
    assert found.verdict == "undecided"


def test_what_both_sides_share_is_said_once(store):
    (found,) = decided(
        store,
        claims.Higher(
            metric="score", where={"level": "1", "seed": "0"}, than={"level": "0", "seed": "0"}
        ),
    )
    assert found.claim == "seed=0: score is higher at level=1 than at level=0"


def test_equality_is_a_claim_of_its_own(store):
    close, far = decided(
        store,
        claims.Equal(metric="score", where={"level": "0.05"}, than=LOW, within=0.2),
        claims.Equal(metric="score", where=HIGH, than=LOW, within=0.2),
    )
    assert (close.verdict, far.verdict) == ("reproduced", "not reproduced")


def test_a_level_is_held_against_bars(store):
    within, outside, straddled = decided(
        store,
        claims.Within(metric="score", where=HIGH, above=-1000, below=1000),
        claims.Within(metric="score", where=HIGH, above=1000, paper="N2"),
        claims.Within(metric="score", where=HIGH, below=15),
    )
    assert (within.verdict, within.n, outside.verdict, straddled.verdict) == (
        "reproduced",
        4,
        "not reproduced",
        "undecided",
    )
    assert (outside.paper, outside.claim) == ("N2", "score is more than 1000 at level=1")


def test_a_ranking_is_taken_within_each_seed(store):
    rises, falls = decided(
        store,
        claims.Ranked(axis="level", metric="score", how="rises"),
        claims.Ranked(axis="level", metric="score", how="falls"),
    )
    assert (rises.verdict, rises.n, falls.verdict) == ("reproduced", 4, "not reproduced")
    assert rises.claim == "score rises with level"
    assert falls.claim == "score falls with level"
    assert rises.p == pytest.approx(6.0**-4)  # one order of six in each of four seeds


def test_a_bar_on_a_ranking_takes_seeds_and_says_when_there_are_too_few(store):
    """An order that is perfect in every seed has no variance, which proves nothing by itself."""
    claim = claims.Ranked(axis="level", metric="score", how="rises", rho=0.8)
    (few,) = decided(store, claim, seeds=4)
    assert few.verdict == "undecided"
    assert few.evidence.startswith(
        "rho 1.000 ±0.000 (no result on 3 values with n = 4 could show the bar)"
    )
    (many,) = decided(store, claim, seeds=9)
    assert many.verdict == "reproduced"
    assert many.claim == "score rises with level by a rho of more than 0.8"


def test_dependence_on_an_axis_is_found_and_its_absence_is_not_claimed(store):
    (found,) = decided(store, claims.DependsOn(axis="level", metric="score"))
    assert (found.verdict, found.n) == ("reproduced", 4)


def test_with_one_seed_or_nothing_done_nothing_is_decided(store):
    (found,) = decided(store, claims.Higher(metric="score", where=HIGH, than=LOW), seeds=1)
    assert (found.verdict, found.n) == ("undecided", 1)


def test_nothing_finished_decides_nothing(store):
    (found,) = decided(store, claims.Higher(metric="score", where=HIGH, than=LOW), ran=0)
    assert (found.verdict, found.n) == ("undecided", 0)


def test_names_and_values_of_claims_are_checked_with_the_sweep(store):
    wrong = (claims.Higher(metric="scor", where={"levle": "1"}, than={"level": "2"}, paper="C9"),)
    with pytest.raises(SweepError) as caught:
        decided(store, *wrong)
    text = str(caught.value)
    line = decided.__globals__["test_names_and_values_of_claims_are_checked_with_the_sweep"]
    title = f"claim C9 (Higher, line {line.__code__.co_firstlineno + 1}): "
    assert f"{title}no method here has a metric 'scor'. Did you mean 'score'?" in text
    assert f"{title}the sweep has no axis 'levle'. Did you mean 'level'?" in text
    assert f"{title}level is never '2'" in text


@pytest.mark.mlflow
def test_verdicts_are_printed_and_in_the_json(spolia, sweep_file):
    file = sweep_file(
        "product(Noisy.grid(level=[0.0, 1.0]), seed=range(3)), "
        "claims=[claims.Higher(metric='score', where={'level': '1'}, than={'level': '0'}, "
        "paper='C1')]",
        6,
        before="from orchestrator import claims",
    )
    code, out, err = spolia("run", file, "--executor", "inline", "--tracking", "none")
    assert code == 0, err
    assert "C1 score is higher at level=1 than at" in " ".join(out.split())
    assert "reproduced" in out
    assert max(map(len, out.splitlines())) <= 80
    (claim,) = json.loads(spolia("results", file, "--json")[1])["claims"]
    assert (claim["verdict"], claim["after_holm"], claim["num_tested"], claim["n"]) == (
        "reproduced",
        "reproduced",
        1,
        3,
    )
    assert claim["p"] < 0.025
    assert "1 of 1 claims were tested" in " ".join(out.split())
