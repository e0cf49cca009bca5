"""Incremental training, one shared extractor, unlabelled tasks, and networks of their own: item 5
of section 8.4 of the specification, on digits.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from methods.compatible_features import CompatibleFeatures
from methods.networks import projected, resnet8, resnet20, small_mobilenet, small_vgg
from methods.recombine import Recombine
from orchestrator import Network, Result, Run, Store, Trial, digits, in_order, resolve
from orchestrator.planning.checks import Checks
from orchestrator.spec.classes import class_at
from orchestrator.training.execute import execute, needs_of, run_with_needs

A, B, C = (
    digits.classes(*range(8), *more).images(number, of=3).validation(0).named(name)
    for number, (name, more) in enumerate({"a": (8,), "b": (9,), "c": (8, 9)}.items())
)
FEW = tuple(
    digits.classes(0, 1, 2, 3 + i).images(i, of=3, limit=60).validation(0).named(name)
    for i, name in enumerate("abc")
)

EPOCHS = 20  # of the trainings that are held against a bar


def done(store, method, tasks, network=None, seed=0):
    trial = resolve(
        Trial(method=method, network=network or resnet8(width=4), tasks=tasks, seed=seed), store
    )
    assert trial.problems() == []
    run_with_needs(trial, store)
    outcome = execute(trial, store)
    assert outcome.kind == "done", outcome.traceback
    return Result(store, store.find(trial.key))


def blobs(result):
    return {c.record.title: c.record.blob for c in result.every_component()}


@pytest.fixture(scope="module")
def kept_in(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("incremental"))


@pytest.fixture(scope="module")
def orders(kept_in):
    """Compatibility matrices of 'common' and none at the last split, of three tasks; with 'common'
    in two orders.
    """
    found = {}
    for way, order in ((("common",), (A, B, C)), (("common",), (A, C, B)), ((), (A, B, C))):
        method = CompatibleFeatures(
            ingredients=way, split="stage3", incremental=True, epochs=EPOCHS
        )
        found[way, "".join(t.name for t in order)] = done(
            kept_in, Recombine(of=(method,), split="stage3"), order, resnet8(width=8)
        )
    return found


@pytest.mark.slow
class TestIncremental:
    def test_5_later_networks_fit_the_first_and_each_other_better_than_independent_ones(
        self, orders
    ):
        score = {way: orders[way, "abc"].metric("recombined_accuracy") for way in (("common",), ())}
        assert score[("common",)] - score[()] >= 0.2
        assert orders[("common",), "abc"].metric("own_accuracy") >= 0.93

    def test_the_matrix_grows_by_a_row_and_a_column_and_what_was_there_stays(self, kept_in, orders):
        method = CompatibleFeatures(
            ingredients=("common",), split="stage3", incremental=True, epochs=EPOCHS
        )
        small = done(
            kept_in, Recombine(of=(method,), split="stage3"), (A, B), resnet8(width=8)
        ).matrix("accuracy_by_extractor")
        large = orders[("common",), "abc"].matrix("accuracy_by_extractor")
        assert (small.rows, large.rows) == (("a", "b"), ("a", "b", "c"))
        assert np.array_equal(small.values, large.values[:2, :2])

    def test_two_orders_hold_the_same_networks(self, orders):
        first, second = (
            orders[("common",), order].matrix("accuracy_by_extractor") for order in ("abc", "acb")
        )
        moved = [0, 2, 1]
        assert np.array_equal(first.values, second.values[np.ix_(moved, moved)])


def test_features_may_be_pulled_to_the_first_networks(store):
    method = CompatibleFeatures(
        ingredients=("regression",),
        split="stage2",
        incremental=True,
        epochs=10,
        batch=20,
        lr=0.03,
    )
    pulled, free = (done(store, m, FEW[:2]) for m in (method, method.replace(ingredients=())))
    assert pulled.trial.needs["first"].key == free.trial.needs["first"].key
    first = Result(store, store.find(pulled.trial.needs["first"].key)).module("network", task="a")
    x, _ = next(in_order(pulled.tasks["b"].test, torch.device("cpu")))
    wanted = first.eval().extractor("stage2")(x)

    def apart(result):
        net = result.module("network", task="b").eval()
        return (net.extractor("stage2")(x) - wanted).square().mean()

    assert apart(pulled) < 0.7 * apart(free)
    trial = resolve(
        Trial(
            method=method.replace(incremental=False),
            network=resnet8(width=4),
            tasks=FEW[:2],
            seed=0,
        ),
        store,
    )
    assert "so it needs incremental=True" in str(trial.problems())


def test_earlier_components_keep_their_bits_and_the_result_certifies_it(store):
    method = CompatibleFeatures(
        ingredients=("rotation", "common"), split="stage2", incremental=True, epochs=1
    )
    grown = done(store, method, FEW[:2])
    first = Result(store, store.find(grown.trial.needs["first"].key))
    before, after = blobs(first), blobs(grown)
    assert set(before) == {"network-a", "auxiliary-common", "auxiliary-rotation"}
    assert before.items() < after.items()
    assert set(after) - set(before) == {"network-b"}
    assert set(grown.record["frozen"]["joint"]) == {"a", "common", "rotation"}
    assert grown.metric("accuracy", task="a") == first.metric("accuracy", task="a")


def test_orders_share_what_they_have_in_common(store):
    """All six orders of three tasks: three first networks, six later ones, and six trials that only
    gather.
    """
    method = CompatibleFeatures(ingredients=("common",), split="stage2", incremental=True, epochs=1)
    trained, gathered = set(), set()
    for order in itertools.permutations(FEW):
        trial = resolve(Trial(method=method, network=resnet8(width=4), tasks=order, seed=0), store)
        gathered.add(trial.key)
        for need in trial.needs.values():
            trained.add(need.key)
            trained |= {one.key for one in need.needs.values()}
    assert (len(gathered), len(trained)) == (6, 9)


def test_the_frozen_heads_are_in_eval_mode_and_nothing_of_them_moves(store):
    """Batch norm in a head at an early split point would drift, if it were not."""
    method = CompatibleFeatures(ingredients=("rotation",), split="stem", incremental=True, epochs=1)
    grown = done(store, method, FEW[:2])
    first = Result(store, store.find(grown.trial.needs["first"].key))
    head = first.module("auxiliary", ingredient="rotation")
    assert any(name.endswith("running_mean") for name in head.state_dict())
    assert blobs(grown)["auxiliary-rotation"] == blobs(first)["auxiliary-rotation"]


def test_a_first_network_knows_its_own_classes_unless_some_are_named(store):
    tasks = FEW[:2]
    own = done(
        store,
        CompatibleFeatures(ingredients=("common",), split="pool", incremental=True, epochs=1),
        tasks,
    )
    named = done(
        store,
        CompatibleFeatures(
            ingredients=("common",),
            split="pool",
            incremental=True,
            epochs=1,
            classes=("0", "1", "2"),
        ),
        tasks,
    )
    outputs = [r.module("auxiliary", ingredient="common").state_dict() for r in (own, named)]
    assert [next(v for v in state.values() if v.ndim == 2).shape[0] for state in outputs] == [4, 3]


def test_later_networks_may_start_from_the_first_as_trained(store):
    method = CompatibleFeatures(ingredients=("trained",), incremental=True, epochs=1)
    trial = resolve(Trial(method=method, network=resnet8(width=4), tasks=FEW[:2], seed=0), store)
    run_with_needs(trial, store)
    run = Run(trial, needs_of(trial, store))
    first, later = (
        run.need("first").module("network", task="a"),
        method.initial_network(run, run.tasks[1]),
    )
    mine, other = later.state_dict(), first.state_dict()
    assert all(torch.equal(mine[k], v) for k, v in other.items() if not k.startswith("classifier"))
    assert torch.equal(mine["classifier.weight"][:3], other["classifier.weight"][:3])
    assert not torch.equal(mine["classifier.weight"][3], other["classifier.weight"][3])


class TestShared:
    def test_one_extractor_serves_every_head_as_its_own(self, store):
        method = CompatibleFeatures(ingredients=("shared",), split="stage2", epochs=3)
        result = done(store, Recombine(of=(method,)), (FEW[0], FEW[1]))
        kept = Result(store, store.find(result.trial.needs["0/0"].key))
        one, other = (kept.module("network", task=name) for name in "ab")
        equal = {k: torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items()}
        assert all(same for k, same in equal.items() if k.startswith(("stem", "stage1", "stage2")))
        assert not equal["stage3.0.conv1.weight"]
        matrix = result.matrix("accuracy_by_head").values
        assert np.array_equal(matrix[0], matrix[1])

    @pytest.mark.parametrize("split", ["stem", "stage1.block2", "stage2", "stage3.block1", "pool"])
    def test_borrowed_layers_are_the_very_layers_up_to_the_split_point(self, split):
        spec = small_mobilenet(width=4) if "block1" in split else resnet20(width=4)
        one, other = (
            class_at(spec.path, Network)(**dict(spec.settings), channels=1, classes=3)
            for _ in range(2)
        )
        other.borrow(one, split)
        pieces, mine = one.pieces(), other.pieces()
        shared = [name for name in pieces if mine[name] is pieces[name]]
        assert shared == list(pieces)[: list(pieces).index(split) + 1]
        assert other(torch.randn(2, 1, 8, 8)).shape == (2, 3)


class TestUnlabelled:
    METHOD = CompatibleFeatures(
        ingredients=("rotation", "identical"), split="stage2", unlabelled=True, epochs=2
    )

    @pytest.mark.parametrize("incremental", [True, False])
    def test_the_targets_head_stays_as_it_was_drawn_and_is_not_scored(self, store, incremental):
        method = self.METHOD.replace(incremental=incremental)
        result = done(store, method, FEW[:2])
        assert [m["labels"] for m in result.metrics] == [{"task": "a"}]
        run = Run(
            resolve(Trial(method=method, network=resnet8(width=4), tasks=FEW[:2], seed=0), store),
            {},
        )
        drawn, kept = method.initial_network(run, run.tasks[1]), result.module("network", task="b")
        assert torch.equal(drawn.last_layer.weight, kept.last_layer.weight)
        assert not torch.equal(drawn.stem[0].weight, kept.stem[0].weight)

    def test_its_labels_are_not_in_the_loss(self, store):
        run = Run(
            resolve(
                Trial(method=self.METHOD, network=resnet8(width=4), tasks=FEW[:2], seed=0), store
            ),
            {},
        )
        nets = {name: run.network(name, run.tasks.by_name[name]) for name in "ab"} | {
            "rotation": run.network("rotation", classes=4).head("stage2")
        }
        batch = SimpleNamespace(
            x=torch.randn(4, 1, 8, 8), rotation=torch.arange(4), y=torch.arange(4)
        )
        terms = self.METHOD.loss(nets, {"a": batch, "b": batch}, labelled=frozenset({"a"}))
        assert list(terms) == ["own/a", "rotation/a", "rotation/b"]


class TestOtherNetworks:
    NETWORKS = (
        projected(small_vgg(width=4), behind="stage2", features=8, size=2),
        projected(small_mobilenet(width=4), behind="stage3", features=8, size=2),
    )
    FIRST = projected(resnet8(width=4), behind="stage3", features=8, size=2)

    @pytest.mark.parametrize("incremental", [True, False])
    def test_each_task_has_a_network_of_its_own(self, store, incremental):
        method = CompatibleFeatures(
            ingredients=("common",),
            split="common",
            other_networks=self.NETWORKS,
            epochs=1,
            incremental=incremental,
        )
        result = done(store, Recombine(of=(method,)), FEW, self.FIRST)
        kept = Result(store, store.find(result.trial.needs["0/0"].key))
        of = [
            kept.component("network", task=name).record.config["of"].rpartition(":")[2]
            for name in "abc"
        ]
        assert of == ["ResNet", "SmallVGG", "SmallMobileNet"]
        assert np.isfinite(result.matrix("accuracy_by_extractor").values).all()

    def test_features_of_different_shapes_cannot_share_an_auxiliary_head_and_it_says_so(
        self, store
    ):
        method = CompatibleFeatures(
            ingredients=("common",), split="stage2", other_networks=(resnet8(width=8),), epochs=1
        )
        trial = resolve(
            Trial(method=method, network=resnet8(width=4), tasks=FEW[:2], seed=0), store
        )
        (told,) = Checks(store).problems(trial)
        assert (
            "8x4x4 of resnet8(width=4) on a, 16x4x4 of resnet8(width=8) on b. "
            "One auxiliary head reads them all" in told
        )

    def test_without_an_auxiliary_head_they_train_and_pairs_that_do_not_join_are_shown(self, store):
        method = CompatibleFeatures(other_networks=(resnet8(width=8),), epochs=1)
        result = done(store, Recombine(of=(method,), split="stage2"), FEW[:2])
        matrix = result.matrix("accuracy_by_extractor")
        assert np.isnan(matrix.values[0, 1])
        assert "do not enter the head" in matrix.notes[0, 1]
        assert result.metric("unscored_pairs") == 2


@pytest.mark.parametrize(
    ("settings", "tasks", "reason"),
    [
        ({"incremental": True}, FEW[:1], "incremental training needs a task behind the first"),
        (
            {"ingredients": ("trained",)},
            FEW[:2],
            "'trained' starts later networks from the first one, so it needs incremental=True",
        ),
        (
            {"ingredients": ("trained", "identical"), "incremental": True},
            FEW[:2],
            "'trained' and 'identical' each say how a network starts",
        ),
        (
            {"ingredients": ("shared",), "incremental": True},
            FEW[:2],
            "it goes with neither incremental training nor other networks",
        ),
        ({"unlabelled": True}, FEW[:2], "learn by the ingredient 'rotation' only"),
        (
            {"other_networks": (resnet8(), resnet8())},
            FEW[:2],
            "other_networks names 2 networks for the 1 tasks behind the first",
        ),
        (
            {"ingredients": ("common",), "classes": ("0", "seven")},
            FEW[:2],
            "classes: no task has a class 'seven'",
        ),
        ({"ingredients": ("common",), "classes": ("0", "3")}, FEW[:2], "b has 0 of 0, 3"),
        (
            {"ingredients": ("common",), "split": "stage9"},
            FEW[:2],
            "resnet8 has no split point 'stage9'. Did you mean 'stage",
        ),
        (
            {
                "ingredients": ("common",),
                "split": "stage2",
                "other_networks": (projected(resnet8(), behind="stage1"),),
            },
            FEW[:2],
            "projected_resnet8 has no split point 'stage2'",
        ),
        (
            {"ingredients": ("common",)},
            (FEW[0], FEW[1].named("common")),
            "a task is called 'common', like an ingredient",
        ),
    ],
)
def test_what_cannot_be_meant_is_told_at_planning(store, settings, tasks, reason):
    trial = resolve(
        Trial(method=CompatibleFeatures(**settings), network=resnet8(), tasks=tasks, seed=0), store
    )
    assert any(reason in problem for problem in trial.problems()), trial.problems()


class TestWholeSweeps:
    def test_seeds_ingredients_and_orders_make_one_matrix(self, store):
        networks = CompatibleFeatures.grid(
            ingredients=[(), ("common",)], split="stage2", incremental=True, epochs=1
        )
        (point,) = Recombine.grid(
            of=networks.together(), split="stage2", other_seeds=(4,), other_orders=(("b", "a"),)
        ).points
        settings = {name: value for name, value in point.values.items() if name != "method"}
        result = done(store, Recombine(**settings), FEW[:2])
        matrix = result.matrix("accuracy_by_extractor")
        assert matrix.values.shape == (16, 16)
        assert matrix.rows[:4] == (
            "ingredients=none/seed0/a>b/a",
            "ingredients=none/seed0/a>b/b",
            "ingredients=none/seed0/b>a/b",
            "ingredients=none/seed0/b>a/a",
        )
        assert len(set(matrix.components[0])) == 16
        alone = done(
            store,
            Recombine(
                of=(
                    networks.points[0].values["method"](
                        ingredients=(), split="stage2", incremental=True, epochs=1
                    ),
                ),
                split="stage2",
            ),
            FEW[:2],
        )
        assert np.array_equal(matrix.values[:2, :2], alone.matrix("accuracy_by_extractor").values)

    @pytest.mark.parametrize(
        ("orders", "reason"),
        [
            ((("a", "c"),), "a, c is no order of the tasks a, b"),
            ((("a", "b"),), "repeats an order"),
            ((("b", "a"), ("b", "a")), "repeats an order"),
        ],
    )
    def test_orders_that_are_none_are_told(self, store, orders, reason):
        method = Recombine(of=(CompatibleFeatures(),), split="stage2", other_orders=orders)
        trial = resolve(Trial(method=method, network=resnet8(), tasks=FEW[:2], seed=0), store)
        assert reason in trial.problems()[0]


@pytest.mark.parametrize("asked", [False, True])
def test_rotated_images_enter_running_statistics_only_where_asked(store, asked):
    method = CompatibleFeatures(ingredients=("rotation",), split="stage2", rotated_statistics=asked)
    run = Run(
        resolve(Trial(method=method, network=resnet8(width=4), tasks=FEW[:1], seed=0), store), {}
    )
    net, alone = (run.network("a", start="one").train() for _ in range(2))
    nets = {"a": net, "rotation": run.network("rotation", classes=4).head("stage2")}
    x = torch.arange(4 * 64, dtype=torch.float32).view(4, 1, 8, 8) / 64
    batch = SimpleNamespace(x=x, rotation=torch.tensor([0, 1, 2, 3]), y=torch.arange(4))
    method.loss(nets, {"a": batch}, labelled=frozenset({"a"}))
    alone(x)
    same = [
        torch.equal(v, alone.state_dict()[k])
        for k, v in net.state_dict().items()
        if "running_mean" in k and k.startswith("stage2")
    ]
    assert all(same) != asked
    assert len(same) == 3
