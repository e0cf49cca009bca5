"""Diagnostics of pairs, and the three applications of Compatible Features, small and on digits."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from methods.compatible_features import CompatibleFeatures
from methods.compatible_features.cheaper_transfer import CheaperTransfer
from methods.compatible_features.domain_adaptation import DomainAdaptation
from methods.compatible_features.moved_classifier import MovedClassifier
from methods.fine_tune import FineTune
from methods.networks import projected, resnet8, small_mobilenet, small_vgg
from methods.pair_diagnostics import PairDiagnostics
from methods.pair_diagnostics.pair_diagnostics import Stitch
from methods.pair_diagnostics.similarity import features_of, linear_cka
from methods.pieces.batch_norm_statistics import re_estimated
from methods.recombine import Recombine
from orchestrator import (
    Network,
    Result,
    Results,
    Run,
    Store,
    Sweep,
    Trial,
    digits,
    in_order,
    make_plan,
    product,
    resolve,
)
from orchestrator.analysis.plots import curves
from orchestrator.training.execute import execute, needs_of, run_with_needs

CPU = torch.device("cpu")
A, B = (
    digits.classes(*range(8), 8 + i).images(i, of=3, limit=300).validation(0).named(name)
    for i, name in enumerate("ab")
)
COMMON = CompatibleFeatures(ingredients=("common",), split="stage3", epochs=20)


@pytest.fixture(scope="module")
def kept_in(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("applications"))


def done(store, method, tasks, network=None, seed=0):
    trial = resolve(
        Trial(method=method, network=network or resnet8(width=8), tasks=tasks, seed=seed), store
    )
    assert trial.problems() == []
    run_with_needs(trial, store)
    outcome = execute(trial, store)
    assert outcome.kind == "done", outcome.traceback
    return Result(store, store.find(trial.key))


class TestLinearCKA:
    def test_it_is_one_for_a_turned_and_scaled_copy_and_small_for_what_is_unrelated(self):
        torch.manual_seed(0)
        x = torch.randn(400, 12)
        turned = 3 * x @ torch.linalg.qr(torch.randn(12, 12))[0] + 5
        alike = linear_cka([x, turned, torch.randn(400, 30)])
        assert alike[0, 1] == pytest.approx(1, abs=1e-6)
        assert alike[0, 2] < 0.15
        assert torch.allclose(alike, alike.T)

    def test_it_is_the_formula_with_features_side_by_side(self):
        torch.manual_seed(1)
        x, y = torch.randn(50, 3).double(), torch.randn(50, 4).double()
        (cx, cy) = (one - one.mean(0) for one in (x, y))
        by_hand = (cx.T @ cy).norm() ** 2 / ((cx.T @ cx).norm() * (cy.T @ cy).norm())
        assert linear_cka([x, y])[0, 1] == pytest.approx(float(by_hand))


def test_a_stitch_undoes_a_permutation_of_channels():
    x = torch.randn(2, 5, 3, 3)
    order = torch.tensor([3, 0, 4, 1, 2])
    stitch = Stitch(channels=5, features=5)
    with torch.no_grad():
        assert torch.equal(stitch(x), x)
        stitch.weight.copy_(torch.eye(5)[:, order])
        assert torch.allclose(stitch(x)[:, order.argsort()].sort(1).values, x.sort(1).values)
        assert torch.allclose(Stitch(channels=5, features=3)(x[:, :, 0, 0]), x[:, :3, 0, 0])


def test_re_estimated_statistics_are_those_of_the_images_and_the_network_itself_keeps_its_own(
    store,
):
    run = Run(
        resolve(Trial(method=FineTune(), network=resnet8(width=4), tasks=(A,), seed=0), store), {}
    )
    net = run.network("network", run.tasks[0]).eval()
    before = net.stem[1].running_mean.clone()
    fresh = re_estimated(run, net, run.tasks[0].train)
    with torch.no_grad():
        batches = [net.stem[0](x) for x, _ in in_order(run.tasks[0].train, CPU)]
    wanted = torch.stack([y.mean((0, 2, 3)) for y in batches]).mean(0)
    assert torch.allclose(fresh.stem[1].running_mean, wanted, atol=1e-5)
    assert torch.equal(net.stem[1].running_mean, before)
    assert not fresh.training


@pytest.mark.slow
class TestPairDiagnostics:
    @pytest.fixture(scope="class")
    @classmethod
    def measured(cls, kept_in):
        return {
            way: done(
                kept_in,
                PairDiagnostics(
                    of=(COMMON.replace(ingredients=way),), split="stage3", samples=200, steps=150
                ),
                (A, B),
            )
            for way in ((), ("common",))
        }

    def test_networks_that_do_not_fit_are_alike_all_the_same_and_a_stitch_mends_them(
        self, measured
    ):
        apart = measured[()]
        assert apart.metric("joined_accuracy") < 0.4
        assert apart.metric("stitched_accuracy") > apart.metric("joined_accuracy") + 0.3
        assert apart.metric("fine_tuned_accuracy") > apart.metric("joined_accuracy") + 0.3

    def test_compatible_ones_need_no_help(self, measured):
        fit = measured[("common",)]
        assert fit.metric("joined_accuracy") > measured[()].metric("joined_accuracy") + 0.2
        assert fit.metric("cka") > measured[()].metric("cka")

    def test_joined_is_what_recombination_measures_by_head(self, kept_in, measured):
        matrix = (
            done(kept_in, Recombine(of=(COMMON,), split="stage3"), (A, B))
            .matrix("accuracy_by_head")
            .values
        )
        assert np.array_equal(measured[("common",)].matrix("joined").values, matrix)

    def test_on_the_diagonal_nothing_is_done(self, measured):
        for name in ("joined", "re_estimated", "stitched", "fine_tuned"):
            own = np.diag(measured[()].matrix(name).values)
            assert np.array_equal(own, np.diag(measured[()].matrix("joined").values))

    def test_cka_is_that_of_the_networks(self, kept_in, measured):
        result = measured[("common",)]
        run = Run(result.trial, needs_of(result.trial, kept_in))
        nets = [c.module() for c in run.need("0/0").components("network")]
        features = [features_of(run, n.extractor("stage3"), run.tasks[0].test, 1000) for n in nets]
        assert result.matrix("cka").values[0, 1] == pytest.approx(float(linear_cka(features)[0, 1]))

    def test_a_stitch_joins_other_widths_and_sizes_that_differ_are_shown(self, store):
        of = (COMMON.replace(ingredients=(), other_networks=(resnet8(width=4),), epochs=1),)
        matrix = done(
            store, PairDiagnostics(of=of, split="stage2", samples=20, steps=2), (A, B)
        ).matrix("stitched")
        assert np.isfinite(matrix.values).all()
        of = (COMMON.replace(ingredients=(), other_networks=(small_vgg(width=8),), epochs=1),)
        matrix = done(
            store, PairDiagnostics(of=of, split="stage2", samples=20, steps=2), (A, B)
        ).matrix("stitched")
        assert (
            matrix.notes[0, 1]
            == "features of 16x4x4 and 16x2x2 differ in size, which no 1x1 stitch mends"
        )


@pytest.mark.slow
class TestDomainAdaptation:
    TASKS = (
        A.named("plain"),
        digits.classes(*range(8), 8)
        .images(1, of=3, limit=300)
        .validation(0)
        .shifted("inverted")
        .named("inverted"),
    )
    TRAINING = CompatibleFeatures(
        ingredients=("rotation", "trained"),
        split="stage2",
        incremental=True,
        unlabelled=True,
        epochs=15,
        transforms="dihedral",
    )

    def test_the_matrix_is_what_the_networks_score_and_the_metrics_are_its_differences(
        self, kept_in
    ):
        result = done(kept_in, DomainAdaptation(training=self.TRAINING), self.TASKS)
        matrix = result.matrix("accuracy")
        assert (matrix.rows, matrix.columns) == (
            ("adapted", "adapted_re_estimated", "unadapted", "source_only", "re_estimated"),
            ("plain", "inverted"),
        )
        run = Run(result.trial, needs_of(result.trial, kept_in))
        target, source = (
            cast(Network, run.need("networks").module("network", task=name))
            for name in ("inverted", "plain")
        )
        joined = nn.Sequential(target.extractor("stage2"), source.head("stage2"))
        assert matrix.values[0, 1] == run.accuracy(joined, run.tasks[1].test)
        assert matrix.values[2, 0] == run.need("networks").metric("accuracy", task="plain")
        assert matrix.values[3, 0] == result.metric("source_accuracy") > 0.9
        assert result.metric("gain") == pytest.approx(matrix.values[0, 1] - matrix.values[3, 1])
        # The same parts, with the target's statistics in the head as well
        both = re_estimated(run, joined, run.tasks[1].train)
        assert matrix.values[1, 1] == run.accuracy(both, run.tasks[1].test)
        assert result.metric("re_estimated_gain") == pytest.approx(
            matrix.values[1, 1] - matrix.values[4, 1]
        )

    def test_the_network_that_saw_the_source_only_is_one_trial_for_all_ways(self, kept_in):
        ways = [
            self.TRAINING,
            self.TRAINING.replace(ingredients=("rotation", "shared"), incremental=False),
        ]
        trials = [
            resolve(
                Trial(
                    method=DomainAdaptation(training=way),
                    network=resnet8(width=8),
                    tasks=self.TASKS,
                    seed=0,
                ),
                kept_in,
            )
            for way in ways
        ]
        assert len({trial.needs["source_only"].key for trial in trials}) == 1
        assert len({trial.needs["networks"].key for trial in trials}) == 2

    def test_images_of_classes_that_the_source_lacks_do_not_count(self, kept_in):
        source = digits.classes(0, 1, 2).images(0, of=3, limit=60).validation(0).named("few")
        target = digits.classes(2, 1, 9).images(1, of=3, limit=60).validation(0).named("others")
        result = done(
            kept_in, DomainAdaptation(training=self.TRAINING.replace(epochs=1)), (source, target)
        )
        run = Run(result.trial, {})
        counted = sum(int(((y == 0) | (y == 1)).sum()) for _, y in in_order(run.tasks[1].test, CPU))
        assert (result.matrix("accuracy").values[0, 1] * counted) % 1 == pytest.approx(0, abs=1e-9)

    def test_what_cannot_be_meant_is_told(self, kept_in):
        def told(training, tasks):
            return resolve(
                Trial(
                    method=DomainAdaptation(training=training),
                    network=resnet8(),
                    tasks=tasks,
                    seed=0,
                ),
                kept_in,
            ).problems()

        assert "set unlabelled=True" in told(self.TRAINING.replace(unlabelled=False), self.TASKS)[0]
        other = (digits.classes(0, 1).named("low"), digits.classes(8, 9).named("high"))
        assert "low knows no class of high" in told(self.TRAINING, other)[0]


@pytest.mark.slow
class TestMovedClassifier:
    LEARNED = tuple(
        digits.classes(0, 1, 2, 3, 4, 5).images(i, of=4).validation(0).named(n)
        for i, n in enumerate(("resnet", "vgg", "mobilenet"))
    )
    NEW = digits.classes(0, 1, 2, 3, 4, 5).images(3, of=4).validation(0).named("new")
    NETWORKS = (
        projected(small_vgg(width=8), behind="stage2"),
        projected(small_mobilenet(width=8), behind="stage3"),
    )
    FIRST = projected(resnet8(width=8), behind="stage3")

    def moved(self, store, *ingredients):
        how = CompatibleFeatures(
            ingredients=ingredients,
            split="common",
            epochs=25,
            lr=0.05,
            other_networks=self.NETWORKS,
        )
        return done(
            store,
            MovedClassifier(extractors=how, split="common", epochs=15),
            (self.NEW, *self.LEARNED),
            self.FIRST,
        )

    def test_a_head_goes_over_to_other_architectures_where_they_are_compatible(self, kept_in):
        fit, apart = self.moved(kept_in, "common"), self.moved(kept_in)
        assert fit.metric("own_accuracy") > 0.9
        assert fit.metric("kept_share") > apart.metric("kept_share") + 0.4
        assert fit.metric("kept_share") > 0.6

    def test_the_heads_are_kept_with_the_network_whose_extractor_they_were_trained_on(
        self, kept_in
    ):
        result = self.moved(kept_in, "common")
        component = result.component("head", extractor="vgg")
        assert component.record.requires["component"].endswith("/network?task=vgg")
        run = Run(result.trial, {})
        assert (
            run.accuracy(component.ready(), run.tasks[0].test)
            == result.matrix("accuracy").values[1, 1]
        )

    def test_a_split_point_that_one_of_the_architectures_lacks_is_told(self, kept_in):
        how = CompatibleFeatures(other_networks=self.NETWORKS)
        trial = resolve(
            Trial(
                method=MovedClassifier(extractors=how, split="stage3"),
                network=self.FIRST,
                tasks=(self.NEW, *self.LEARNED),
                seed=0,
            ),
            kept_in,
        )
        assert any(
            "projected_small_vgg has no split point 'stage3'" in told for told in trial.problems()
        )


@pytest.mark.slow
class TestCheaperTransfer:
    RICH = digits.classes(0, 1, 2, 3, 4, 5, 6).images(0, of=3).named("rich")
    NEAR = digits.classes(3, 4, 5, 6, 7, 8).images(1, of=3, limit=200).named("near")
    TARGET = digits.classes(6, 5, 4, 9).images(2, of=3, limit=160).validation(0.5).named("target")
    PARTS = CompatibleFeatures(ingredients=("common",), split="stage3", epochs=15)

    def transfer(self, store, start, **settings):
        method = CheaperTransfer(
            parts=self.PARTS, start=start, split="stage3", epochs=6, **settings
        )
        return done(store, method, (self.RICH, self.NEAR, self.TARGET))

    def test_compatible_parts_begin_above_a_head_drawn_anew_and_all_starts_have_one_bar(
        self, kept_in
    ):
        found = {
            start: self.transfer(kept_in, start) for start in ("parts", "new_head", "near", "drawn")
        }
        assert (
            found["parts"].metric("first_val_accuracy")
            > found["new_head"].metric("first_val_accuracy") + 0.1
        )
        assert found["parts"].metric("steps_to_bar") <= found["new_head"].metric("steps_to_bar")
        usual = {
            start: r.trial.needs["usual"].key for start, r in found.items() if start != "new_head"
        }
        assert set(usual.values()) == {found["new_head"].key}

    def test_the_parts_are_the_parts(self, kept_in):
        result = self.transfer(kept_in, "parts")
        run = Run(result.trial, needs_of(result.trial, kept_in))
        net = run.network("target", run.tasks[2])
        drawn = net.last_layer.weight.detach().clone()
        result.trial.method.set_initial_weights(run, net)
        rich, near = (
            cast(Network, run.need("parts").module("network", task=name))
            for name in ("rich", "near")
        )
        for mine, theirs in ((net.extractor("stage3"), rich.extractor("stage3")),):
            assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in mine.state_dict().items())
        assert torch.equal(net.last_layer.weight[:3], near.last_layer.weight[[3, 2, 1]])
        assert torch.equal(net.last_layer.weight[3], drawn[3])  # nobody knows a nine

    @pytest.mark.parametrize("split", ["stage1", "stage2", "pool"])
    def test_the_head_of_the_near_network_comes_whole_at_every_split(self, kept_in, split):
        result = self.transfer(kept_in, "parts")
        method = CheaperTransfer(parts=self.PARTS, start="parts", split=split)
        run = Run(result.trial, needs_of(result.trial, kept_in))
        net = run.network("target", run.tasks[2])
        method.set_initial_weights(run, net)
        near = (
            cast(Network, run.need("parts").module("network", task="near")).head(split).state_dict()
        )
        mine = net.head(split).state_dict()
        assert all(torch.equal(v, near[k]) for k, v in mine.items() if "classifier" not in k)

    def test_the_bar_is_counted_in_steps_at_the_ends_of_epochs(self, kept_in):
        result = self.transfer(kept_in, "new_head")
        values = [v for name, _, v, _ in result.record["curves"] if name == "transfer/val_accuracy"]
        values = [result.metric("first_val_accuracy"), *values]
        bar = 0.95 * sum(values[-3:]) / 3
        first = next(i for i, v in enumerate(values) if v >= bar)
        assert result.metric("steps_to_bar") == first * (80 // 32)

    def test_the_report_draws_the_learning_curves_from_the_first_step(self, kept_in):
        starts = CheaperTransfer.grid(
            parts=CompatibleFeatures.grid(ingredients=("common",), split="stage3", epochs=15),
            start=["new_head", "parts"],
            split="stage3",
            epochs=6,
        )
        sweep = Sweep(
            question="?",
            cells=product(
                starts, network=resnet8(width=8), tasks=(self.RICH, self.NEAR, self.TARGET), seed=0
            ),
            expect=2,
        )
        for start in ("new_head", "parts"):
            self.transfer(kept_in, start)
        ((curve, drawn),) = curves(Results(make_plan("transfer", sweep, kept_in), kept_in))
        assert curve.name == "transfer/val_accuracy"
        assert [line.name for line in drawn] == ["start new_head", "start parts"]
        usual = self.transfer(kept_in, "new_head")
        assert [x for x, _, _ in drawn[0].points] == [0, 1, 2, 3, 4, 5, 6]
        assert drawn[0].points[0][1] == usual.metric("first_val_accuracy")
        assert sum(y for _, y, _ in drawn[0].points[-3:]) / 3 == pytest.approx(
            usual.metric("final_val_accuracy")
        )

    def test_what_cannot_be_meant_is_told(self, kept_in):
        def told(tasks, **settings):
            trial = Trial(
                method=CheaperTransfer(parts=self.PARTS, **settings),
                network=resnet8(),
                tasks=tasks,
                seed=0,
            )
            return " ".join(resolve(trial, kept_in).problems())

        assert "the head of near knows no class of far" in told(
            (self.RICH, self.NEAR, digits.classes(0, 9).named("far"))
        )
        assert "holds out no images" in told((self.RICH, self.NEAR, self.TARGET.validation(0)))
        assert "has no split point 'stage7'" in told(
            (self.RICH, self.NEAR, self.TARGET), split="stage7"
        )


def test_a_trial_that_left_no_network_keeps_its_row_in_the_diagnostics_too(store):
    of = (FineTune(epochs=1), FineTune(epochs=3, lr=1e30, base=None))
    tasks = (A.images(0, of=3, limit=60),)
    result = done(
        store,
        PairDiagnostics(of=of, split="stage2", other_seeds=(1,), samples=20, steps=2),
        tasks,
        resnet8(width=4),
    )
    matrix = result.matrix("joined")
    assert [row for row in matrix.rows if "(diverged)" in row] == [
        "epochs=3/seed0 (diverged)",
        "epochs=3/seed1 (diverged)",
    ]
    assert matrix.notes[0, 2] == "epochs=3/seed0: diverged, there is no network"
    assert np.isfinite(matrix.values[:2, :2]).all()
