"""Claims about which there is nothing to find get a verdict about as often as they promise: small
versions of `benchmarks/calibration.py`.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from pathlib import Path

import pytest
from scipy import stats

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))  # a method lives in `simulated`

from calibration import DESIGNS, cases, rates

from orchestrator.analysis import claims
from orchestrator.analysis.claims import Claim

CASES = {case.name: case for case in cases()}
PROMISED = 0.025  # false verdicts a side


def most(num_sweeps: int) -> int:
    """False verdicts that a test which keeps its promise exceeds once in 100,000 times."""
    return int(stats.binom.ppf(1 - 1e-5, num_sweeps, PROMISED))


def check(case, design, num_seeds, num_sweeps):
    false, power = rates(case, design, num_seeds, num_sweeps)
    for side, rate in false.items():
        assert round(rate * num_sweeps) <= most(num_sweeps), f"{side}: {rate:.3f}"
    return power


def test_every_kind_of_claim_and_every_bar_and_choice_has_a_line():
    """What a claim can be asked beyond its defaults is calibrated, too; `Unchanged` is seen, not
    tested.
    """
    tried = [case.claim for case in CASES.values()]
    kinds = [kind for kind in vars(claims).values() if inspect.isclass(kind)]
    kinds = [kind for kind in kinds if issubclass(kind, Claim) and kind is not Claim]
    assert {kind for kind in kinds if not any(type(one) is kind for one in tried)} == {
        claims.Unchanged
    }
    for kind in kinds:
        hints = typing.get_type_hints(kind)
        own = [one for one in tried if type(one) is kind]
        for field in dataclasses.fields(kind) if own else ():
            values = {getattr(one, field.name) for one in own if _is_bar(hints[field.name])}
            if typing.get_origin(hints[field.name]) is typing.Literal:
                assert values == set(typing.get_args(hints[field.name])), (kind, field.name)
            elif values:
                assert values - {field.default}, (kind, field.name)
    assert any(case.family for case in CASES.values())


def _is_bar(hint):
    return typing.get_origin(hint) is typing.Literal or hint is float or hint == float | None


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", [3, pytest.param(5, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", CASES)
def test_where_there_is_nothing_to_find_few_verdicts_fall(name, num_seeds):
    check(CASES[name], CASES[name].designs[0], num_seeds, 100 if num_seeds == 3 else 200)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "design"),
    [
        (name, design)
        for name, case in CASES.items()
        for design in DESIGNS
        if design in case.designs
    ],
)
def test_with_ten_seeds_effects_are_found_and_nothing_else(name, design):
    assert check(CASES[name], design, 10, 1000) > 0.3
