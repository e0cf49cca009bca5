"""Network Transplanting against section 8.4 of its specification, exact parts first, then the
method on digits.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

from methods.compatible_features import CompatibleFeatures
from methods.fine_tune import FineTune
from methods.network_transplanting import NetworkTransplanting
from methods.network_transplanting import network_transplanting as module
from methods.network_transplanting.margins import (
    auc,
    balanced_error,
    best_threshold,
    line_through,
)
from methods.network_transplanting.network_transplanting import (
    Adapter,
    Transplanted,
    TransplantNetwork,
    directions,
    feature_gradient,
    surrogate_gradient,
)
from methods.network_transplanting.surrogate_layers import gate_shapes, named_layers
from methods.networks import resnet8, small_fcn, small_vgg
from methods.networks.fcn import PerPixel
from methods.networks.vgg import SmallVGG
from orchestrator import Batch, Result, Store, Trial, digits, pasted, resolve
from orchestrator.parts.recombination import recombine
from orchestrator.training.execute import execute, run_with_needs

BACKGROUND = (5, 6, 7, 8, 9)
PRETRAIN = digits.classes(*BACKGROUND).named("pretrain")
SPECIFIC = FineTune(epochs=15, lr=0.03, batch=32)
QUICK = NetworkTransplanting(specific=FineTune(epochs=1), steps=5)


def category(number):
    return (
        digits.classes(number, *BACKGROUND)
        .binary(number, called="category")
        .named(f"digit{number}")
    )


def smooth_module(seed):
    """A task module with average pooling, where the surrogate is exact if its gates are."""
    torch.manual_seed(seed)
    layers = [
        nn.Conv2d(4, 6, 3, 1, 1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 8, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8, 2),
    ]
    return nn.Sequential(*layers).double().eval()


def new_adapter(depth, how="he", channels=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Adapter(channels=channels, depth=depth).initialise(how, generator)


class TestGradients:
    def test_1_equal_modules_and_the_identity_agree_exactly(self):
        module, adapter = smooth_module(0), new_adapter(3, "dirac").double()
        x = torch.rand(5, 4, 8, 8, dtype=torch.double)
        along = directions(torch.randn(5, 2, dtype=torch.double))
        assert torch.equal(module(adapter(x)), module(x))
        d_teacher = feature_gradient(module, x, along)
        d_student = feature_gradient(nn.Sequential(adapter, module), x, along)
        assert torch.equal(d_teacher, d_student)

    def test_2_the_surrogate_with_true_gates_is_the_gradient_where_pooling_is_an_average(self):
        module, x = smooth_module(0), torch.randn(3, 4, 8, 8, dtype=torch.double)
        along = directions(torch.randn(3, 2, dtype=torch.double))
        gates, y = {}, x
        for name, layer in named_layers(module):
            if isinstance(layer, nn.ReLU):
                gates[name] = (y > 0).double()
            y = layer(y)
        torch.testing.assert_close(
            surrogate_gradient(module, (4, 8, 8), along, gates),
            feature_gradient(module, x, along),
            rtol=1e-12,
            atol=1e-12,
        )

    def test_2_with_max_pooling_it_is_another(self):
        module = nn.Sequential(
            nn.Conv2d(4, 6, 3, 1, 1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 2)
        ).double()
        x = torch.randn(3, 4, 8, 8, dtype=torch.double)
        along = directions(torch.randn(3, 2, dtype=torch.double))
        true = feature_gradient(module, x, along)
        assert (surrogate_gradient(module, (4, 8, 8), along, {}) - true).norm() / true.norm() > 0.3

    def test_3_finite_differences_confirm_the_gradient(self):
        module, x = smooth_module(0), torch.randn(2, 4, 8, 8, dtype=torch.double)
        along = directions(torch.randn(2, 2, dtype=torch.double))
        gradient = feature_gradient(module, x, along).detach()
        for _ in range(5):
            step = torch.randn_like(x)
            rise = ((module(x + 1e-6 * step) - module(x - 1e-6 * step)) * along).sum() / 2e-6
            assert float(rise.detach()) == pytest.approx(float((gradient * step).sum()), rel=1e-5)

    def test_directions_have_no_part_that_the_softmax_cannot_see(self):
        # In double precision: of two numbers that are almost equal little is left to normalise.
        two, many = (directions(torch.randn(50, n, dtype=torch.double)) for n in (2, 7))
        ones = torch.ones(50, dtype=torch.double)
        torch.testing.assert_close(two.abs(), torch.ones_like(two))
        for drawn in (two, many):
            torch.testing.assert_close(drawn.sum(1), 0 * ones, atol=1e-12, rtol=0)
            torch.testing.assert_close(drawn.norm(dim=1), 2**0.5 * ones)

    def test_drawn_gates_of_the_adapter_leave_the_mean_gradient_as_it_is(self):
        module, adapter = smooth_module(0).float(), new_adapter(2)
        teacher = smooth_module(1).float()
        method = NetworkTransplanting(gradients="dummy", gates=0.25, depth=2)
        nets = {"adapter": adapter, "task": module, "teacher": teacher}
        data = method.data_to_compare_on(None, module, (4, 8, 8))["noise"]
        drawn = dict(data.draws)
        assert {name for name in drawn if name.startswith("own gate")} == {
            "own gate 1",
            "own gate 3",
        }
        torch.manual_seed(0)
        count = 4000
        along = torch.randn(1, 2).expand(count, 2)
        batch = {name: torch.full((count, *d.shape), 9.0) for name, d in drawn.items()}
        batch["x"], batch["direction"] = torch.zeros(count, 4, 8, 8), along
        for name, draw in drawn.items():
            if name.startswith("own gate"):
                batch[name] = torch.randn(count, *draw.shape)
        found, _ = method.both_gradients(nets, None, {"noise": Batch(batch)}, None)
        all_open = surrogate_gradient(
            nn.Sequential(*adapter.layers, *module), (4, 8, 8), directions(along[:1]), {}
        )
        error = (found.mean(0) - all_open[0]).norm() / all_open[0].norm()
        assert error < 0.15
        assert (found[0] - all_open[0]).norm() / all_open[0].norm() > 0.5

    def test_gates_are_as_large_as_the_features_at_their_relu(self):
        assert set(gate_shapes(smooth_module(0), (4, 8, 8)).values()) == {(6, 8, 8), (8, 2, 2)}

    def test_layers_that_a_gradient_without_images_cannot_pass_are_named(self):
        with pytest.raises(ValueError, match="is a BatchNorm2d; gradients without images pass"):
            named_layers(nn.Sequential(nn.BatchNorm2d(3)))


class TestMeasures:
    def test_auc_and_errors_of_known_margins(self):
        margin, labels = np.array([-2.0, -1.0, 0.5, 3.0, 1.0]), np.array([0, 0, 0, 1, 1])
        assert auc(margin, labels) == 1.0
        assert auc(-margin, labels) == 0.0
        assert auc(np.zeros(5), labels) == 0.5
        tied = np.array([1.0, 2.0, 2.0, 2.0, 3.0])
        pairs = [(p > n) + 0.5 * (p == n) for p in tied[labels == 1] for n in tied[labels == 0]]
        assert auc(tied, labels) == np.mean(pairs)
        assert balanced_error(margin, labels) == pytest.approx((1 / 3 + 0) / 2)
        assert 0.5 < best_threshold(margin, labels) < 1.0
        assert balanced_error(margin, labels, best_threshold(margin, labels)) == 0

    def test_the_line_through_two_networks_margins(self):
        own = np.array([-9.0, -8.0, 2.0, 5.0])
        assert line_through(0.25 * own - 1, own) == pytest.approx((0.25, -1.0))
        assert np.isnan(line_through(own, np.ones(4))).all()

    def test_decisions_calibrate_margins_that_are_smaller_than_the_teachers(self, monkeypatch):
        """Most images are background, so the teacher's mean margin is far below 0; to give small
        margins the same mean takes them all there.
        """
        own = np.array([-10.0, -9.0, -8.0, -7.0, 3.0, 4.0])
        found = {"path": 0.2 * own + 2, "teacher": own, "one side": own - 9}
        monkeypatch.setattr(module, "margins", lambda run, net, data: (found[net], own > 0))

        def offset(how, teacher="teacher"):
            method = QUICK.replace(samples=6, calibrate=how)
            return method.missing_offset(None, "path", teacher, None)

        assert ((found["path"] + offset("decisions") > 0) == (own > 0)).all()
        assert not (found["path"] + offset("teacher") > 0).any()
        assert offset("decisions", teacher="one side") == 0


class TestParts:
    def test_a_transplant_network_grows_and_keeps_the_bits_of_what_is_there(self):
        torch.manual_seed(0)
        nets = [SmallVGG(width=4, channels=1, classes=2).eval() for _ in range(3)]
        x = torch.randn(6, 1, 8, 8)
        host, split = nets[0], "stage2"
        net = TransplantNetwork().with_category("host", host.extractor(split))
        net = net.with_task("which", host.head(split))
        net = net.with_adapter("host", "which", Adapter(channels=1, depth=0))
        assert torch.equal(net(x, "host", "which"), host(x))
        for name, own in zip("ab", nets[1:], strict=True):
            before = {c: net(x, c, "which") for c in net.categories}
            adapter = new_adapter(2, channels=8)
            adapter.set_offset(0.25)
            net = net.with_category(name, own.extractor(split))
            net = net.with_adapter(name, "which", adapter)
            assert all(torch.equal(net(x, c, "which"), y) for c, y in before.items())
            assert torch.equal(
                net(x, name, "which"),
                Transplanted.of(own.extractor(split), adapter, host.head(split))(x),
            )
        assert list(net.categories) == ["host", "a", "b"]

    def test_it_grows_by_tasks_and_categories_in_any_order(self):
        torch.manual_seed(0)
        nets = {name: SmallVGG(width=4, channels=1, classes=2).eval() for name in "ab"}
        tasks = {name: SmallVGG(width=4, channels=1, classes=2).eval() for name in "st"}
        adapters = {
            c: {t: new_adapter(1, channels=8, seed=ord(c) * ord(t)) for t in "st"} for c in "ab"
        }
        x = torch.randn(3, 1, 8, 8)

        def grown(steps):
            net, seen = TransplantNetwork(), {}
            for step in steps:
                if step in nets:
                    net = net.with_category(step, nets[step].extractor("stage2"))
                elif step in tasks:
                    net = net.with_task(step, tasks[step].head("stage2"))
                else:
                    net = net.with_adapter(*step, adapters[step[0]][step[1]])
                    seen[step] = net(x, *step)
                for pair, before in seen.items():
                    assert torch.equal(net(x, *pair), before)
            return seen

        by_category = grown(["a", "s", "as", "t", "at", "b", "bs", "bt"])
        by_task = grown(["s", "b", "a", "bs", "as", "t", "bt", "at"])
        assert by_category.keys() == by_task.keys()
        assert all(torch.equal(by_category[p], by_task[p]) for p in by_task)

    def test_the_offset_moves_the_last_logit_only(self):
        net = SmallVGG(width=4, channels=1, classes=2).eval()
        adapter = new_adapter(1, channels=8)
        joined = Transplanted.of(net.extractor("stage2"), adapter, net.head("stage2"))
        x = torch.randn(3, 1, 8, 8)
        before = joined(x)
        joined.adapter.set_offset(-1.5)
        torch.testing.assert_close(joined(x) - before, torch.tensor([[0.0, -1.5]] * 3))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("transplants"))


class TestBaselines:
    """What the baselines compare is alike where the two task modules are one and h is the identity,
    and only there.
    """

    def terms(self, task, **settings):
        torch.manual_seed(0)
        own, other = (SmallVGG(width=4, channels=1, classes=2).eval() for _ in range(2))
        nets = {
            "category": own.extractor("stage2"),
            "adapter": new_adapter(3, "dirac", channels=8),
            "task": {"own": own, "other": other}[task].head("stage2"),
            "teacher": own.head("stage2"),
        }
        few = {"x": torch.rand(6, 1, 12, 12), "direction": torch.randn(6, 2)}
        batch = {"few": Batch({**few, "y": torch.zeros(6, dtype=torch.long)})}
        terms = NetworkTransplanting(samples=10, **settings).loss(nets, batch)
        return {name: value.item() for name, value in terms.items()}

    @pytest.mark.parametrize(
        ("term", "settings"),
        [
            ("hint", {"gradients": "none", "labels": "hint"}),
            ("back", {"gradients": "input"}),
            ("outputs", {"gradients": "none", "labels": "distill"}),
        ],
    )
    def test_a_module_that_is_the_teachers_own_leaves_nothing_to_learn(self, term, settings):
        (name, alike), *others = self.terms("own", **settings).items()
        assert (name, others) == (term, [])
        assert alike == pytest.approx(0.0, abs=1e-10)
        assert self.terms("other", **settings)[term] > 1e-3

    def test_a_hint_is_what_comes_right_behind_the_cut(self):
        head = SmallVGG(width=4, channels=1, classes=2).head("stage2")
        assert module.first_stage(head)(torch.rand(3, 8, 3, 3)).shape[1] == 16  # stage3's channels

    def test_a_new_task_module_is_learned_and_nothing_old_changes(self, store):
        settings = {"gradients": "none", "labels": "direct", "samples": 20}
        result = result_of(store, QUICK.replace(steps=100, new_task_module=True, **settings))
        assert result.metric("balanced_error", category="digit1") < 0.3
        assert result.metric("retention", category="digit0") == 0.0
        path = result.component("transplanted", category="digit1").module()
        host = Result(store, store.find(result.record["needs"]["host"]["key"]))
        theirs = host.module("network", task="digit0").head("stage2").state_dict()
        own = path.task.state_dict()
        assert own.keys() == theirs.keys()
        assert not any(torch.equal(own[name], theirs[name]) for name in own)


def result_of(store, method, guests=(1,), seed=0, network=None):
    tasks = (PRETRAIN, category(0), *(category(g) for g in guests))
    trial = resolve(
        Trial(method=method, network=network or small_vgg(), tasks=tasks, seed=seed), store
    )
    assert trial.problems() == []
    run_with_needs(trial, store)
    outcome = execute(trial, store)
    assert outcome.is_result, outcome.traceback
    return Result(store, store.find(trial.key))


def good(**settings):
    return NetworkTransplanting(specific=SPECIFIC, steps=200, **settings)


class TestMethod:
    @pytest.mark.slow
    @pytest.mark.long
    def test_4_gradients_without_gates_agree_while_the_transplant_is_poor(self, store):
        """Of seed 1, whose specific networks the next test has, too."""
        results = {
            guest: result_of(store, good(gradients="lin"), (guest,), seed=1) for guest in (1, 3)
        }
        assert (
            max(r.metric("gradient_loss", category=f"digit{g}") for g, r in results.items()) < 1e-6
        )
        assert (
            np.mean([r.metric("balanced_error", category=f"digit{g}") for g, r in results.items()])
            > 0.1
        )

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("seeds", "guests"),
        [((1,), (3,)), pytest.param((0, 1), (1, 2, 3), marks=pytest.mark.long)],
    )
    def test_5_6_and_7_gradients_at_noise_transplant_without_samples_and_help_with_few(
        self, store, seeds, guests
    ):
        """The bars of the specification, which asks for two seeds; of its own pilot 0.011, 0.198,
        0.095 and 0.012. Here each of seeds 0 and 1 holds every bar by itself: errors of 0.011 and
        0.007 without samples, 0.019 and 0.147 by outputs, 0.011 and 0.007 with ten samples, 0.064
        and 0.110 with these alone, 0.48 and 0.25 without an adapter. So does guest 3 of seed 1:
        0.017, 0.042, 0.000, 0.149 and 0.487.
        """

        def mean(metric, **settings):
            return np.mean(
                [
                    result_of(store, good(**settings), (g,), seed).metric(
                        metric, category=f"digit{g}"
                    )
                    for seed in seeds
                    for g in guests
                ]
            )

        zero = mean("balanced_error")
        assert zero <= 0.05
        assert mean("auc") >= 0.97
        assert zero < mean(
            "balanced_error", gradients="none", labels="synthetic"
        )  # gradients beat outputs at the same synthetic features
        few = {"labels": "direct", "samples": 10}
        assert mean("balanced_error", **few) < mean("balanced_error", gradients="none", **few)
        assert mean("bare_error", depth=0) > 10 * zero

    def test_6_nothing_but_the_adapter_changes(self, store):
        result = result_of(store, QUICK)
        assert result.metric("retention", category="digit0") == 0.0
        (certificates,) = result.record["frozen"].values()
        assert set(certificates) == {"category", "task", "teacher"}
        joined = result.module("transplanted", category="digit1")
        needs = {
            n: Result(store, store.find(entry["key"]))
            for n, entry in result.record["needs"].items()
        }
        own, host = (
            needs["guest"].module("network", task="digit1"),
            needs["host"].module("network", task="digit0"),
        )
        for mine, theirs in (
            (joined.category, own.extractor("stage2")),
            (joined.task, host.head("stage2")),
        ):
            assert all(
                torch.equal(a, b)
                for a, b in zip(
                    mine.state_dict().values(), theirs.state_dict().values(), strict=True
                )
            )

    def test_fine_tuning_everything_breaks_the_rule_and_says_so(self, store):
        result = result_of(
            store, QUICK.replace(gradients="none", labels="direct", samples=10, everything=True)
        )
        assert result.metric("retention", category="digit0") > 0

    def test_guests_are_joined_in_turn_and_what_is_there_keeps_its_bits(self, store):
        result = result_of(store, QUICK, (1, 2, 3))
        assert [result.metric("retention", category=f"digit{c}") for c in range(4)] == [0, 0, 0, 0]
        network = result.module("network")
        assert list(network.categories) == ["digit0", "digit1", "digit2", "digit3"]
        after, before = result.matrix("after"), result.matrix("before")
        assert (after.rows, after.columns) == (("digit1", "digit2", "digit3"), ("digit0",))
        alone = result_of(store, QUICK, (2,))
        assert after.values[1, 0] == alone.metric("balanced_error", category="digit2")
        assert before.values[1, 0] == alone.metric("bare_error", category="digit2")

    def test_orders_share_every_adapter(self, store):
        trials = [
            resolve(
                Trial(
                    method=QUICK, network=small_vgg(), tasks=(PRETRAIN, category(0), *order), seed=0
                ),
                store,
            )
            for order in permutations([category(1), category(2), category(3)])
        ]
        assert len({t.key for t in trials}) == 6
        assert (
            len({need.key for t in trials for need in t.needs.values()}) == 4
        )  # three guests and the host

    def test_methods_of_comparison_share_the_specific_networks(self, store):
        trials = [
            resolve(
                Trial(
                    method=m,
                    network=small_vgg(),
                    tasks=(PRETRAIN, category(0), category(1)),
                    seed=0,
                ),
                store,
            )
            for m in (
                QUICK,
                QUICK.replace(gradients="none", labels="direct", samples=10),
                QUICK.replace(depth=0),
            )
        ]
        assert len({need.key for t in trials for need in t.needs.values()}) == 2

    def test_without_an_adapter_the_error_is_recombines_own_entry(self, store):
        result = result_of(store, QUICK.replace(depth=0))
        tasks = (PRETRAIN, category(0), category(1))
        needed = [store.find(result.record["needs"][n]["key"]) for n in ("host", "guest")]
        networks = [
            Result(store, record).module("network", task=f"digit{i}")
            for i, record in enumerate(needed)
        ]
        resolved = resolve(
            Trial(method=QUICK, network=small_vgg(), tasks=tasks, seed=0), store
        ).tasks
        scores = recombine(
            [n.extractor("stage2") for n in networks],
            [n.head("stage2") for n in networks],
            resolved[1:],
            torch.device("cpu"),
        )
        assert 1 - scores.by_extractor.accuracy[1, 0] == pytest.approx(
            result.metric("error", category="digit1"), abs=1e-12
        )
        assert result.metric("balanced_error", category="digit1") == result.metric(
            "bare_error", category="digit1"
        )

    @pytest.mark.parametrize(
        "changes",
        [
            {"gradients": "dummy"},
            {"gradients": "real", "samples": 10},
            {"start": "dirac"},
            {"scale": "fitted"},
            {"depth": 1, "spread": 2.0},
            {"gradients": "none", "labels": "both", "samples": 20},
            {"labels": "synthetic"},
            {"labels": "direct", "samples": 10, "calibrate": "labels"},
            {"gradients": "none", "labels": "distill", "samples": 10, "calibrate": "teacher"},
            {"samples": 10, "calibrate": "decisions"},
            {"gradients": "none", "labels": "hint", "samples": 10},
            {"gradients": "input", "samples": 10},
            {"gradients": "none", "labels": "direct", "samples": 10, "new_task_module": True},
        ],
    )
    def test_every_form_trains(self, store, changes):
        assert result_of(store, QUICK.replace(**changes)).outcome == "done"

    def test_calibration_from_labels_helps_where_only_an_offset_is_missing(self, store):
        plain = result_of(store, QUICK.replace(depth=0))
        moved = result_of(store, QUICK.replace(depth=0, samples=100, calibrate="labels"))
        assert moved.metric("auc", category="digit1") == plain.metric("auc", category="digit1")
        assert moved.metric("balanced_error", category="digit1") < plain.metric(
            "balanced_error", category="digit1"
        )

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"split": "stage9"}, "no split point 'stage9'"),
            ({"gradients": "real"}, "need images, and samples is 0"),
            ({"samples": 10}, "nothing here looks at them"),
        ],
    )
    def test_what_cannot_run_is_told_at_planning(self, store, changes, message):
        trial = resolve(
            Trial(
                method=QUICK.replace(**changes),
                network=small_vgg(),
                tasks=(PRETRAIN, category(0), category(1)),
                seed=0,
            ),
            store,
        )
        assert message in str(trial.problems())

    def test_tasks_that_have_no_category_in_common_are_told(self, store):
        plain = digits.classes(1, *BACKGROUND).binary(1)
        told = resolve(
            Trial(method=QUICK, network=small_vgg(), tasks=(PRETRAIN, category(0), plain), seed=0),
            store,
        ).problems()
        assert "give both .binary(..., called='category')" in str(told)
        ten = digits.named("ten")
        told = resolve(
            Trial(method=QUICK, network=small_vgg(), tasks=(PRETRAIN, ten, category(1)), seed=0),
            store,
        ).problems()
        assert "has 10 classes; a category against its background has two" in str(told)

    def test_networks_that_gradients_without_images_cannot_pass_are_told(self, store):
        tasks = (PRETRAIN, category(0), category(1))
        for mode in ("lin", "dummy"):
            told = resolve(
                Trial(
                    method=QUICK.replace(gradients=mode),
                    network=resnet8(width=4),
                    tasks=tasks,
                    seed=0,
                ),
                store,
            ).problems()
            assert "is a BatchNorm2d; gradients without images pass convolutions" in str(told)
        assert result_of(store, QUICK, network=resnet8(width=4)).outcome == "done"

    def test_behind_the_pooling_there_is_nothing_to_convolve(self, store):
        tasks = (PRETRAIN, category(0), category(1))
        trial = resolve(
            Trial(method=QUICK.replace(split="pool"), network=small_vgg(), tasks=tasks, seed=0),
            store,
        )
        run_with_needs(trial, store)
        assert "have no height and width for a convolution" in execute(trial, store).traceback
        assert result_of(store, QUICK.replace(split="pool", depth=0)).outcome == "done"

    def test_host_and_guest_may_be_trained_together(self, store):
        together = CompatibleFeatures(ingredients=("common",), epochs=1)
        result = result_of(store, QUICK.replace(jointly=together, depth=0))
        needs = result.record["needs"]
        assert needs["host"]["key"] == needs["guest"]["key"]
        assert result.metric("balanced_error", category="digit1") == result.metric(
            "bare_error", category="digit1"
        )
        tasks = (PRETRAIN, category(0), category(1), category(2))
        told = resolve(
            Trial(method=QUICK.replace(jointly=together), network=small_vgg(), tasks=tasks, seed=0),
            store,
        ).problems()
        assert "several guests have no host in common" in str(told)

    def test_pixels_of_pasted_objects_are_told_through_an_adapter(self, store):
        images = pasted(digits)
        tasks = (
            images.classes(*BACKGROUND).foreground().images(limit=100).named("pretrain"),
            *(images.classes(c).foreground().images(limit=60).named(f"digit{c}") for c in (0, 1)),
        )
        for gradients in ("noise", "dummy"):
            trial = resolve(
                Trial(
                    method=QUICK.replace(gradients=gradients),
                    network=small_fcn(width=4),
                    tasks=tasks,
                    seed=0,
                ),
                store,
            )
            assert trial.problems() == []
            run_with_needs(trial, store)
            assert execute(trial, store).kind == "done"
            result = Result(store, store.find(trial.key))
            assert 0 <= result.metric("iou", category="digit1") <= 1
            assert result.metric("retention", category="digit0") == 0
            assert result.component("transplanted", category="digit1").ready()(
                torch.randn(2, 1, 12, 12)
            ).shape == (2, 2, 12, 12)

    def test_the_surrogate_passes_layers_of_pixels(self):
        module = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Conv2d(3, 4, 3, 1, 1), PerPixel(4, 2)
        ).double()
        x = torch.randn(2, 3, 6, 6, dtype=torch.double)
        along = directions(torch.randn(2, 2, 12, 12, dtype=torch.double))
        torch.testing.assert_close(
            surrogate_gradient(module, (3, 6, 6), along, {}), feature_gradient(module, x, along)
        )
