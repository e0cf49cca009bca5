"""A method's class is checked when it is defined."""

from __future__ import annotations

import pytest

from methods.compatible_features import CompatibleFeatures
from orchestrator import InputError, Kept, Method, MethodError, Metric, axis, roles


def define(**members):
    body = {
        "name": "made",
        "train": lambda self, run: None,
        "__annotations__": {},
        "__module__": __name__,
        **members,
    }
    return type("Made", (Method,), body)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"name": "Not A Name"}, "not a lower-case identifier"),
        ({"revision": 0}, "count from 1"),
        ({"tasks": ("a",)}, "tasks is not roles"),
        ({"uses": frozenset({"sead"})}, "uses names .'sead'."),
        ({"metrics": (Kept("m"),)}, "metrics is not a tuple of Metric"),
        ({"metrics": (Metric("m"), Metric("m"))}, "declares a name twice"),
        ({"train": Method.train}, "train is missing"),
        (
            {"__annotations__": {"x": "dict"}, "x": axis({})},
            "default must be a number, a string or a tuple",
        ),
        ({"__annotations__": {"x": "list[int]"}, "x": axis(())}, "setting 'x'.*tuple"),
        ({"__annotations__": {"seed": "int"}, "seed": axis(1)}, "the name is taken"),
        (
            {"__annotations__": {"x": "int"}, "x": axis("one")},
            "setting 'x', default: expected int, got 'one'",
        ),
        (
            {"__annotations__": {"x": "int"}, "x": axis(1, over=(2, 2.5))},
            "setting 'x', over: expected int, got 2.5",
        ),
        ({"__annotations__": {"x": "int"}, "x": axis(1, smoke="s")}, "setting 'x', smoke"),
        ({"__annotations__": {"x": "Nowhere"}, "x": axis(1)}, "annotation cannot be resolved"),
        ({"__annotations__": {"x": "int"}}, "has no default"),
    ],
)
def test_a_class_that_breaks_the_contract_is_refused(members, message):
    with pytest.raises(MethodError, match=message):
        define(**members)


def test_all_problems_of_a_class_are_told_at_once():
    with pytest.raises(MethodError) as caught:
        define(revision=-1, metrics="accuracy")
    assert len(str(caught.value).splitlines()) == 3


def test_settings_are_frozen_and_checked():
    method = CompatibleFeatures(ingredients=["common", "rotation"], lr=1)
    assert method.lr == 1.0
    with pytest.raises(AttributeError):
        method.lr = 2.0
    with pytest.raises(InputError, match=r"compatible_features.split: expected str, got 3"):
        CompatibleFeatures(split=3)


def test_replace_and_reset_name_what_is_unknown():
    with pytest.raises(InputError, match=r"no setting 'epoch'. Did you mean 'epochs'\?"):
        CompatibleFeatures().replace(epoch=3)
    assert CompatibleFeatures(epochs=3).reset("epochs") == CompatibleFeatures()


def test_roles_count_tasks():
    assert roles("source", "target").problem(2) is None
    assert roles("source", "target").problem(3) == "takes 2 tasks (source, target), got 3"
    assert roles("tasks", at_least=1).problem(5) is None
    assert roles("tasks", at_least=1).problem(0) == "takes at least 1 tasks (tasks), got 0"


def test_smoke_settings_are_taken_where_they_are_given():
    assert (CompatibleFeatures.smoke().epochs, CompatibleFeatures.smoke().batch) == (2, 64)
