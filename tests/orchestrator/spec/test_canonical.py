"""Values in canonical form."""

from __future__ import annotations

import json
from typing import Literal

import numpy as np
import pytest

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8, small_vgg
from orchestrator import InputError, derive
from orchestrator.spec.canonical import canonical_json, coerce, digest, show
from orchestrator.spec.trial import method_from_json


def test_an_int_and_a_float_are_one_value_where_a_float_is_declared():
    assert canonical_json(coerce(1, float)) == canonical_json(coerce(1.0, float)) == "1.0"


def test_minus_zero_is_zero():
    assert canonical_json(coerce(-0.0, float)) == "0.0"


def test_numpy_numbers_become_plain_ones():
    assert type(coerce(np.int64(3), int)) is int
    assert type(coerce(np.float32(0.5), float)) is float


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_float_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="finite"):
        coerce(value, float)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, int),
        (True, float),
        (1, bool),
        (1.5, int),
        ("1", int),
        (None, str),
        ("ab", frozenset[str]),
        ("x", Literal["y", "z"]),
        ((1, 2), tuple[int]),
    ],
)
def test_a_value_of_another_type_is_refused(value, kind):
    with pytest.raises(ValueError, match="expected"):
        coerce(value, kind)


def test_a_set_has_one_form_whatever_its_order():
    one, other = (coerce(v, frozenset[str]) for v in (["b", "a"], ("a", "b", "a")))
    assert one == other
    assert show(one) == "a+b"


def test_a_union_takes_the_exact_type_first():
    assert coerce(1, float | int) == 1
    assert type(coerce(1, float | int)) is int
    assert coerce(None, str | None) is None


def test_dict_order_does_not_change_a_digest():
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})


def test_derived_seeds_are_named_by_all_their_parts():
    seeds = {
        derive(0, "joint", 1),
        derive(0, "joint", 2),
        derive(1, "joint", 1),
        derive(0, "joint"),
        derive("0", "joint", 1),
    }
    assert len(seeds) == 5
    assert derive(0, "joint", 1) == derive(0, "joint", 1) < 2**63


def test_a_derived_seed_is_the_same_for_ever():
    assert derive(0, "init", "a") == 8878919505939303050


class TestNetworksAsSettings:
    def test_a_network_is_a_value_and_comes_back_from_json(self):
        method = CompatibleFeatures(other_networks=(resnet8(width=8), small_vgg()))
        again = method_from_json(json.loads(json.dumps(method.to_json())))
        assert again == method
        assert again.other_networks[0].label == "resnet8(width=8)"

    def test_its_settings_are_in_the_key_and_those_at_their_defaults_are_not(self):
        one, other, plain = (
            CompatibleFeatures(other_networks=(spec,)).identity()
            for spec in (resnet8(width=8), resnet8(width=4), resnet8())
        )
        assert len({canonical_json(i) for i in (one, other, plain)}) == 3
        assert plain["settings"]["other_networks"][0]["settings"] == {}

    def test_anything_else_is_refused(self):
        with pytest.raises(InputError, match="NetworkSpec"):
            CompatibleFeatures(other_networks=("resnet8",))
