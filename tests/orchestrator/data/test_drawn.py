"""Images that the trial's seed draws: others for each seed, the same for all methods of one."""

from __future__ import annotations

import numpy as np
import pytest
from sample_methods import Looped, Seedless

from methods.compatible_features import CompatibleFeatures
from methods.fine_tune import FineTune
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import (
    DataError,
    PlanError,
    Run,
    Sweep,
    Trial,
    digits,
    make_plan,
    product,
    resolve,
)
from orchestrator.data import sources
from orchestrator.spec.task import Task

DRAWN = digits.images(limit=200).validation(0.2).drawn()
FEW = digits.classes(0, 1, 2, 3).drawn(classes=True)


def resolved(store, *tasks, seed=0, method=None):
    method = method or FineTune()
    return resolve(Trial(method=method, network=resnet8(), tasks=tasks, seed=seed), store)


def rows(task, part="train"):
    return set(sources.rows(task, part, sources.load("digits")).tolist())


def overlap(one, other):
    return len(one & other) / len(one)


def test_each_seed_draws_its_own_images_and_all_methods_of_one_seed_the_same(store):
    (zero,), (one,) = (resolved(store, DRAWN, seed=seed).tasks for seed in (0, 1))
    for part in ("train", "validation"):
        assert len(rows(zero, part)) == len(rows(one, part))
        assert overlap(rows(zero, part), rows(one, part)) < 0.5
    assert not rows(zero) & rows(zero, "validation")
    assert rows(zero, "test") == rows(one, "test") == rows(digits.resolve(record()), "test")
    (other,) = resolved(store, DRAWN, seed=0, method=Looped()).tasks
    assert other == zero
    assert len(rows(zero)) + len(rows(zero, "validation")) == 200


def record():
    return sources.load("digits").record


def test_shares_of_a_seed_are_disjoint_and_cover_the_set(store):
    for seed in (0, 1):
        shares = [digits.images(i, of=3).validation(0.2).drawn().named(f"s{i}") for i in range(3)]
        trial = resolved(store, *shares, seed=seed, method=CompatibleFeatures())
        taken = [rows(task) | rows(task, "validation") for task in trial.tasks]
        assert len(set.union(*taken)) == sum(map(len, taken)) == record().counts[0]


@pytest.mark.parametrize("whole", [digits, digits.drawn()], ids=["fixed", "drawn"])
def test_tasks_of_one_set_have_images_in_common_unless_they_are_shares_of_it(store, whole):
    large = whole.images(limit=400).named("large")
    small = whole.shifted("inverted").images(limit=100).named("small")
    first, second = (rows(task) for task in resolved(store, large, small).tasks)
    assert second < first
    large, small = large.images(0, of=2, limit=400), small.images(1, of=2, limit=100)
    first, second = (rows(task) for task in resolved(store, large, small).tasks)
    assert not first & second


def test_tasks_that_are_not_drawn_are_as_they_were(store):
    (zero,), (one,) = (resolved(store, digits.images(limit=50), seed=s).tasks for s in (0, 1))
    assert zero == one
    assert "drawn" not in zero.identity()
    assert "drawing" not in zero.to_json()
    assert zero.seed is None


def test_drawn_images_are_in_the_key(store):
    keys = {resolved(store, task).key for task in (DRAWN, digits.images(limit=200).validation(0.2))}
    assert len(keys) == 2


def test_drawn_classes_are_others_for_each_seed_and_tasks_keep_what_they_share(store):
    seen = set()
    for seed in range(6):
        a, b = (
            digits.classes(*places).images(i, of=2).drawn(classes=True).named(name)
            for i, (name, places) in enumerate({"a": (0, 1, 2), "b": (1, 2, 3, 4)}.items())
        )
        first, second = resolved(store, a, b, seed=seed, method=CompatibleFeatures()).tasks
        assert first.class_names[1:] == second.class_names[:2]
        assert len({*first.class_names, *second.class_names}) == 5
        y = sources.load("digits").train[1]
        kept = {record().classes[label] for label in y[sorted(rows(first))]}
        assert kept == set(first.class_names)
        y_test = sources.load("digits").test[1]
        test = {record().classes[label] for label in y_test[sorted(rows(first, "test"))]}
        assert test == kept
        assert len(rows(first, "test")) == sum(
            int((y_test == record().classes.index(name)).sum()) for name in kept
        )
        seen.add(first.class_names)
    assert len(seen) == 6


def test_which_class_is_positive_is_drawn_too(store):
    task = digits.classes(0, 1, 2).binary(1).drawn(classes=True)
    for seed in (0, 1, 2):
        (drawn,) = resolved(store, task, seed=seed).tasks
        positive = drawn.kept_classes[1]
        assert drawn.class_names == ("rest", positive)
        images = sources.load("digits")
        y = images.train[1][sorted(rows(drawn))]
        own = record().classes.index(positive)
        assert np.array_equal(sources.labels(drawn, images, y) == 1, y == own)


def test_a_need_with_another_seed_draws_its_own(store):
    """Whoever measures on a seed outside really gets other images."""
    tasks = (FEW.named("a"), DRAWN.named("b"))
    method = Recombine(of=(CompatibleFeatures(),), other_seeds=(7,), split="pool")
    trial = resolved(store, *tasks, method=method)
    inner, outer = trial.needs.values()
    assert [need.seed for need in (inner, outer)] == [0, 7]
    assert inner.tasks == trial.tasks
    for own, other in zip(trial.tasks, outer.tasks, strict=True):
        assert overlap(rows(own), rows(other)) < 0.5
    assert outer.tasks == resolved(store, *tasks, seed=7, method=CompatibleFeatures()).tasks
    again = outer.replace(seed=0)
    assert again.tasks == trial.tasks
    assert Trial.from_json(outer.to_json()) == outer
    assert Trial.from_json(outer.to_json()).key == outer.key


def test_a_method_without_a_seed_has_the_images_of_its_cells_seed(store):
    zero, one = (resolved(store, DRAWN, seed=seed, method=Seedless()) for seed in (0, 1))
    assert zero.seed is one.seed is None
    assert zero.key != one.key
    assert rows(zero.tasks[0]) != rows(one.tasks[0])
    same = [resolved(store, digits, seed=seed, method=Seedless()).key for seed in (0, 1)]
    assert same[0] == same[1]


def test_a_fit_reads_the_drawn_images(store):
    (x0, x1) = (
        Run(resolved(store, DRAWN, seed=seed), {}).count(
            resolved(store, DRAWN, seed=seed).tasks[0].train
        )
        for seed in (0, 1)
    )
    assert x0 == x1 == 160


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (digits.drawn(classes=True), "keeps all classes: say how many"),
        (digits.classes("0", 1).drawn(classes=True), "'0' is named, so no seed can draw it"),
        (digits.classes(0, 1).binary("1").drawn(classes=True), "'1' is named, so no seed can draw"),
        (digits.classes(0, 12).drawn(classes=True), "digits has no class 12"),
    ],
)
def test_what_cannot_be_drawn_is_told(task, reason):
    with pytest.raises(DataError, match=reason):
        task.resolve(record())


def test_a_drawn_task_without_a_seed_is_told_at_planning(store):
    cells = product(Seedless.grid(), network=resnet8(), tasks=DRAWN)
    with pytest.raises(PlanError, match=r"drawn is drawn by the seed: write seed=range\(3\)"):
        make_plan("asked", Sweep(question="?", cells=cells, expect=1), store)


def test_cells_of_one_drawn_task_are_called_alike_whatever_their_seed(store):
    cells = product(FineTune.grid(), network=resnet8(), tasks=FEW, seed=range(3))
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=3), store)
    assert {task.name for cell in plan.cells for task in cell.trial.tasks} == {
        "digits-0.1.2.3-drawn.classes"
    }
    assert len({cell.trial.tasks[0].class_names for cell in plan.cells}) == 3


def test_tasks_with_the_same_test_images_are_one_as_tested(store):
    halves = [digits.images(i, of=2).named(f"h{i}") for i in range(2)]
    first, second = resolved(store, *halves, method=CompatibleFeatures()).tasks
    assert first.as_tested == second.as_tested
    changed = [Task.rgb, lambda t: t.resized(4), lambda t: t.shifted("inverted")]
    assert all(change(first).as_tested != first.as_tested for change in changed)
    one, other = (
        digits.classes(*kept).binary(0, called="it").resolve(record()) for kept in ((0, 1), (0, 2))
    )
    assert one.class_names == other.class_names
    assert one.as_tested != other.as_tested
