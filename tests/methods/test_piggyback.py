"""Piggyback against its specification: masks, packing, the exact claims P1 to P3, torchvision's
sizes, and the method on digits.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

from methods.batch_norm_only import BatchNormOnly
from methods.control_masks import ControlMasks
from methods.feature_extraction import FeatureExtraction
from methods.fine_tune import FineTune
from methods.networks import resnet8, small_vgg, torchvision_network
from methods.networks.resnet import ResNet
from methods.packnet import PackNet
from methods.pieces.building import recipe_of
from methods.pieces.maskable_weights import maskable_weights
from methods.piggyback import Piggyback
from methods.piggyback.packed_masks import PackedMasks
from methods.piggyback.piggyback import Masks, binarised, straight_through
from methods.sequential_fine_tuning import SequentialFineTuning
from orchestrator import (
    CorruptError,
    Network,
    Parameters,
    Result,
    Results,
    Run,
    Store,
    StoreError,
    Sweep,
    Trial,
    digits,
    make_plan,
    product,
    resolve,
    union,
)
from orchestrator.parts.component import state_bytes, state_digest
from orchestrator.spec.classes import class_at
from orchestrator.store.store import record_digest
from orchestrator.training.execute import execute, run_with_needs

SHORT = FineTune(epochs=1)
QUICK = Piggyback(epochs=2, lr=1e-2, base=SHORT)
BASE = digits.classes(0, 1, 2, 3, 4).images(limit=200).named("base")
TARGETS = tuple(
    digits.classes(*classes).images(limit=120).named(name)
    for name, classes in (("a", (5, 6)), ("b", (7, 8, 9)), ("c", (0, 9)))
)


ROTATIONS = [TARGETS[i:] + TARGETS[:i] for i in range(3)]  # each task once at each place


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for all tests that leave it as it is: what one has trained, the next finds."""
    made = Store(tmp_path_factory.mktemp("piggyback") / "store")
    made.prepare()
    return made


def a_base(classes=5):
    torch.manual_seed(0)
    net = ResNet(blocks=1, width=4, channels=1, classes=classes)
    for _ in range(3):
        net(torch.randn(16, 1, 8, 8))
    return net.eval().requires_grad_(False)


def masks_over(base, classes=3, **settings):
    made = Masks(
        network=recipe_of(base),
        classes=classes,
        masked=maskable_weights(base),
        **settings,
    )
    made.begin(base, "constant", 1e-2)
    return made


def scattered(masks):
    with torch.no_grad():
        for score in masks.scores.values():
            score.normal_()
    return masks.eval()


def result_of(method, store, tasks, network=None, seed=0):
    trial = resolve(
        Trial(method=method, network=network or resnet8(width=4), tasks=tasks, seed=seed), store
    )
    assert trial.problems() == []
    run_with_needs(trial, store)
    outcome = execute(trial, store)
    assert outcome.is_result, outcome.traceback
    return Result(store, store.find(trial.key))


class TestMasks:
    def test_with_all_ones_the_network_is_the_base_bit_for_bit(self):
        base = a_base()
        masks = masks_over(base, classes=5).eval()
        masks.head.load_state_dict(base.classifier.state_dict())
        x = torch.randn(7, 1, 8, 8)
        assert torch.equal(masks(x, base), base(x))

    @pytest.mark.parametrize("kind", ["binary", "ternary"])
    def test_the_threshold_is_exact_and_the_gradient_passes_straight_through(self, kind):
        scores = torch.tensor([-1.0, -1e-9, 0.0, 4.9e-3, 5e-3, 5.1e-3, 1.0], requires_grad=True)
        weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
        mask = straight_through(scores, 5e-3, kind)
        assert mask.tolist() == (
            [0, 0, 0, 0, 0, 1, 1] if kind == "binary" else [-1, -1, 0, 0, 0, 1, 1]
        )
        (weights * mask * 2.0).sum().backward()
        assert torch.equal(
            scores.grad, 2 * weights
        )  # the gradient of the effective weight, times the weight

    @pytest.mark.parametrize(
        ("scaling", "divisor"), [("none", None), ("layer", "mean"), ("weight", "each")]
    )
    def test_gradients_of_scores_may_be_divided_by_the_size_of_weights(self, scaling, divisor):
        base = a_base()
        masks, plain = masks_over(base, scaling=scaling), masks_over(base)
        plain.load_state_dict(masks.state_dict())
        x = torch.randn(7, 1, 8, 8)
        for one in (masks, plain):
            one.eval()(x, base).square().sum().backward()
        name = "stage1.0.conv1.weight"
        size = {
            "mean": base.state_dict()[name].abs().mean(),
            "each": base.state_dict()[name].abs(),
            None: 1.0,
        }[divisor]
        torch.testing.assert_close(masks.score(name).grad, plain.score(name).grad / size)

    def test_what_is_masked(self):
        vgg = class_at(small_vgg().path, Network)(width=4, channels=1, classes=3)
        assert maskable_weights(vgg) == [n for n, p in vgg.named_parameters() if p.ndim == 4]
        net = a_base()
        assert maskable_weights(net, "all", "stage2") == [
            n for n, p in net.named_parameters() if p.ndim == 4 and n.startswith("stage3")
        ]
        assert not [n for n in maskable_weights(net) if "bn" in n or "classifier" in n]

    @pytest.mark.parametrize("norm", ["frozen", "affine", "full"])
    def test_batch_norm_is_the_bases_or_the_tasks(self, norm):
        base = a_base()
        before = state_digest(base)
        masks = masks_over(base, norm=norm).train()
        optimizer = torch.optim.SGD(masks.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            masks(torch.randn(16, 1, 8, 8) * 2 + 1, base).square().sum().backward()
            optimizer.step()
        assert state_digest(base) == before
        own = {n: v for n, v in (masks.norm.tensors() if masks.norm else {}).items()}
        moved = {
            n.rpartition(".")[2] for n, v in own.items() if not torch.equal(v, base.state_dict()[n])
        }
        assert (
            moved
            == {
                "frozen": set(),
                "affine": {"weight", "bias"},
                "full": {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"},
            }[norm]
        )

    def test_dropout_of_the_base_is_a_switch(self):
        class Net(ResNet):
            pass

        base = a_base()
        base.pool.append(nn.Dropout(0.5))
        x = torch.randn(4, 1, 8, 8)
        for dropout in (True, False):
            masks = masks_over(a_base(), dropout=dropout).train()
            assert torch.equal(masks(x, base), masks(x, base)) != dropout

    def test_flips_are_counted_from_one_asking_to_the_next(self):
        base = a_base()
        masks = masks_over(base)
        assert masks.flips_and_zeros() == {"flipped": 0.0, "zeroed": 0.0}
        with torch.no_grad():
            masks.score("stem.0.weight").zero_()
        share = masks.score("stem.0.weight").numel() / sum(s.numel() for s in masks.scores.values())
        assert masks.flips_and_zeros() == pytest.approx({"flipped": share, "zeroed": share})
        assert masks.flips_and_zeros() == pytest.approx({"flipped": 0.0, "zeroed": share})


class TestPacking:
    @pytest.mark.parametrize("kind", ["binary", "ternary"])
    def test_p3_a_bit_a_weight(self, kind):
        masks = scattered(masks_over(a_base(), kind=kind))
        packed = masks.pack()
        planes = 2 if kind == "ternary" else 1
        sizes = {n: masks.score(n).numel() for n in masks.masked}
        for name, size in sizes.items():
            found = [
                b.numel()
                for n, b in packed.named_buffers()
                if n.endswith("-" + name.replace(".", "-"))
            ]
            assert found == [-(-size // 8)] * planes
            assert torch.equal(packed.mask(name), binarised(masks.score(name), 5e-3, kind))
        assert packed.payload == planes * sum(-(-size // 8) for size in sizes.values())

    @pytest.mark.parametrize("kind", ["binary", "ternary"])
    @pytest.mark.parametrize("norm", ["frozen", "full"])
    def test_packed_unpacked_and_ready_compute_the_same(self, kind, norm):
        base = a_base()
        masks = masks_over(base, kind=kind, norm=norm)
        if norm == "full":
            masks.train()(torch.randn(16, 1, 8, 8), base)
        scattered(masks)
        packed = masks.pack().eval()
        ready = packed.joined(base)
        x = torch.randn(9, 1, 8, 8)
        with torch.no_grad():
            assert torch.equal(packed(x, base), masks(x, base))
            assert torch.equal(ready(x), masks(x, base))
        base.stem[0].weight.data.zero_()
        assert ready.stem[0].weight.abs().sum() > 0  # it shares nothing with the base

    def test_bits_survive_the_store(self, tmp_path):
        packed = scattered(masks_over(a_base())).pack()
        from orchestrator.parts.component import rebuild

        again = rebuild(packed.path, packed.config, state_bytes(packed))
        assert isinstance(again, PackedMasks)
        assert all(torch.equal(again.mask(n), packed.mask(n)) for n in packed.masked)


@pytest.mark.parametrize(
    ("name", "weights", "megabytes"),
    [
        ("vgg16", 134_248_128, 16.78),
        ("resnet50", 23_454_912, 2.93),
        ("densenet121", 6_870_208, 0.86),
    ],
)
def test_sizes_of_torchvisions_networks(name, weights, megabytes):
    spec = torchvision_network(name)
    with torch.device("meta"):
        net = class_at(spec.path, Network)(**dict(spec.settings), channels=3, classes=10)
    shapes = dict(net.named_parameters())
    masked = maskable_weights(net)
    assert sum(shapes[n].numel() for n in masked) == weights
    assert sum(-(-shapes[n].numel() // 8) for n in masked) / 1e6 == pytest.approx(
        megabytes, abs=0.005
    )


class TestMethod:
    def test_p1_the_base_and_its_logits_are_bit_identical_after_any_number_of_tasks(self, store):
        result = result_of(QUICK, store, (BASE, *TARGETS))
        base = Result(store, store.find(result.record["needs"]["base"]["key"])).module(
            "network", task="base"
        )
        x = torch.randn(8, 1, 8, 8)
        logits, digest = base(x), state_digest(base)
        for target in TARGETS:
            learned = Result(store, store.find(result.record["needs"][target.name]["key"]))
            assert learned.record["frozen"]["masks"]["base"] == digest
            result.component("mask", task=target.name).ready()
        assert state_digest(base) == digest
        assert torch.equal(base(x), logits)

    @pytest.mark.parametrize(
        "orders",
        [ROTATIONS, pytest.param([*permutations(TARGETS)], marks=pytest.mark.long)],
        ids=["three", "all"],
    )
    def test_p2_masks_are_bit_identical_in_every_order(self, tmp_path, orders):
        found = {}
        for number, order in enumerate(orders):
            result = result_of(
                QUICK, Store(tmp_path / str(number)), (BASE, *order)
            )  # a store each: nothing is shared
            for component in result.components("mask"):
                found.setdefault(component.record.labels["task"], set()).add(component.record.blob)
        assert {name: len(blobs) for name, blobs in found.items()} == {"a": 1, "b": 1, "c": 1}

    def test_all_orders_share_their_masks(self, store):
        trials = [
            resolve(
                Trial(method=QUICK, network=resnet8(width=4), tasks=(BASE, *order), seed=0), store
            )
            for order in permutations(TARGETS)
        ]
        assert len({t.key for t in trials}) == 6
        assert len({need.key for t in trials for need in t.needs.values()}) == 4

    def test_matrices_of_a_sequence(self, store):
        result = result_of(QUICK, store, (BASE, *TARGETS))
        accuracy = result.matrix("accuracy")
        assert accuracy.rows == accuracy.columns == ("base", "a", "b", "c")
        for i, j in np.ndindex(4, 4):
            assert np.isnan(accuracy.values[i, j]) == (j > i)
        assert accuracy.values[3, 2] == accuracy.values[2, 2] == result.metric("accuracy", task="b")
        kept, overlap = result.matrix("kept"), result.matrix("overlap")
        masks = {
            t: torch.cat([(m.mask(n) != 0).flatten() for n in m.masked])
            for t in "abc"
            for m in [result.module("mask", task=t)]
        }
        assert kept.columns == ("a", "b", "c")
        assert overlap.values[0, 1] == pytest.approx(
            float((masks["a"] & masks["b"]).sum() / (masks["a"] | masks["b"]).sum())
        )
        assert [overlap.values[i, i] for i in range(3)] == [1, 1, 1]
        assert (
            0
            < result.metric("zeroed", task="a")
            == pytest.approx(float((~masks["a"]).float().mean()))
        )

    def test_two_lines_give_a_ready_network(self, store):
        result = result_of(QUICK, store, (BASE, TARGETS[0]))
        network = result.component("mask", task="a").ready()
        assert network(torch.randn(3, 1, 8, 8)).shape == (3, 2)

    def test_a_mask_loads_on_its_very_base_and_on_no_other(self, tmp_path):
        store = Store(tmp_path)  # of its own, since it is spoilt
        result = result_of(QUICK, store, (BASE, TARGETS[0]))
        mask = result.component("mask", task="a")
        images = torch.randn(3, 1, 8, 8)
        before = mask.ready()(images)
        base = store.find(result.record["needs"]["base"]["key"])
        other = {**base["components"][0], "blob": store.put_blob(b"other weights")}
        replaced = {**base, "components": [other]}
        assert store.commit(replaced, replaces=record_digest(base))
        assert torch.equal(mask.ready()(images), before)
        blob = base["components"][0]["blob"]
        assert store.discard(f"blobs/{blob[:2]}/{blob}")
        with pytest.raises(CorruptError, match="belongs to"):
            result.module("mask", task="a")

    def test_bytes_are_mask_classifier_and_batch_norm(self, store):
        plain = result_of(QUICK, store, (BASE, TARGETS[0]))
        normed = result_of(QUICK.replace(norm="full"), store, (BASE, TARGETS[0]))
        module = plain.module("mask", task="a")
        assert plain.metric("mask_bytes", task="a") == module.payload
        assert plain.metric("task_bytes", task="a") == module.payload + 4 * (16 * 2 + 2)
        channels = sum(m.num_features for m in a_base().modules() if isinstance(m, nn.BatchNorm2d))
        count = sum(1 for m in a_base().modules() if isinstance(m, nn.BatchNorm2d))
        assert (
            normed.metric("task_bytes", task="a") - plain.metric("task_bytes", task="a")
            == 4 * 4 * channels + 8 * count
        )

    def test_two_lines_of_a_notebook_give_the_network_of_a_task(self, store):
        result = result_of(QUICK, store, (BASE, *TARGETS))
        net = Result.open(result.key[:8], store.address).component("mask", task="b").ready()
        x = torch.randn(6, 1, 8, 8)
        packed = result.module("mask", task="b")
        base = Result(store, store.find(result.record["needs"]["base"]["key"])).module(
            "network", task="base"
        )
        assert torch.equal(net(x), packed(x, base))
        with pytest.raises(StoreError, match="no finished, failed or running trial"):
            Result.open("zz", store)

    def test_what_is_stored_is_held_against_separate_networks(self, store):
        result = result_of(QUICK, store, (BASE, *TARGETS))
        base = a_base()
        body = sum(
            4 * t.numel() if t.is_floating_point() else 8
            for n, t in base.state_dict().items()
            if not n.startswith("classifier")
        )
        heads = [4 * 17 * classes for classes in (5, 2, 3, 2)]
        masks = 3 * sum(-(-base.get_parameter(n).numel() // 8) for n in maskable_weights(base))
        assert result.metric("storage_share") == pytest.approx(
            (body + sum(heads) + masks) / (4 * body + sum(heads))
        )
        assert result.metric("bytes_share", task="a") == pytest.approx(
            (masks / 3 + heads[1]) / body
        )

    def test_late_layers_are_held_against_the_first(self, store):
        result = result_of(QUICK, store, (BASE, TARGETS[0]))
        first, *later = result.matrix("kept").values[:, 0]
        assert result.metric("late_bias", task="a") == pytest.approx(first - np.mean(later))

    def test_accuracy_is_logged_by_place_too(self, store):
        result = result_of(QUICK, store, (BASE, *TARGETS))
        assert [result.metric("accuracy_at", place=str(p)) for p in (1, 2, 3)] == [
            result.metric("accuracy", task=t.name) for t in TARGETS
        ]

    def test_masks_and_classifier_have_optimisers_of_their_own(self):
        masks = Masks(
            network=recipe_of(a_base()),
            classes=3,
            masked=["stem.0.weight"],
            norm="affine",
        )
        parameters = Parameters({f"masks.{n}": p for n, p in masks.named_parameters()})
        for optimizer, kind in (("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)):
            scores, head = QUICK.replace(optimizer=optimizer).optimizers(parameters)
            assert (type(scores), type(head)) == (kind, torch.optim.Adam)
            assert {id(p) for p in head.param_groups[0]["params"]} == {
                id(p) for p in masks.head.parameters()
            }
            assert (
                scores.param_groups[0]["lr"],
                head.param_groups[0]["lr"],
                scores.param_groups[0]["weight_decay"],
            ) == (1e-2, 1e-3, 0)

    def test_batch_norm_may_have_a_rate_of_its_own(self):
        masks = Masks(network=recipe_of(a_base()), classes=3, masked=["stem.0.weight"], norm="full")
        parameters = Parameters({f"masks.{n}": p for n, p in masks.named_parameters()})
        own = QUICK.replace(norm="full", norm_lr=1e-3).optimizers(parameters)[0]
        assert [group["lr"] for group in own.param_groups] == [1e-2, 1e-3]
        assert {id(p) for p in own.param_groups[1]["params"]} == {
            id(p) for p in masks.norm.parameters()
        }
        assert QUICK.replace(norm_lr=1e-3).canonical() == QUICK

    def test_a_base_may_be_as_it_was_drawn(self, store):
        result = result_of(QUICK.replace(base=FineTune(epochs=0)), store, (BASE, TARGETS[0]))
        need = Result(store, store.find(result.record["needs"]["base"]["key"]))
        trial = resolve(
            Trial(method=FineTune(epochs=0), network=resnet8(width=4), tasks=(BASE,), seed=0), store
        )
        assert need.key == trial.key
        assert state_digest(need.module("network", task="base")) == state_digest(
            Run(trial, {}).network("network", trial.tasks[0])
        )

    def test_too_few_steps_for_any_score_are_told(self, store):
        with pytest.warns(
            UserWarning,
            match=r"a: 12 steps are few, half of the scores of \S+ need 50 or more to cross",
        ):
            result_of(QUICK.replace(lr=1e-4, epochs=4), store, (BASE, TARGETS[0]))

    def test_how_many_steps_a_score_needs_is_told_from_where_it_starts(self, store):
        """With `weights` that is the mean |W| of its layer."""
        method = QUICK.replace(start="weights", lr=1e-4, epochs=4, base=FineTune(epochs=0))
        with pytest.warns(UserWarning, match="12 steps are few") as told:
            result = result_of(method, store, (BASE, TARGETS[0]))
        base = Result(store, store.find(result.record["needs"]["base"]["key"]))
        network = base.network(task="base")
        weights = network.state_dict()
        starts = [weights[name].abs().mean().item() for name in maskable_weights(network)]
        # Of the layer that is farthest: others may cross at once.
        needed = max(abs(start - method.threshold) for start in starts) / method.lr
        assert needed > 100
        assert any(f"need {needed:.0f} or more" in str(one.message) for one in told)

    @pytest.mark.parametrize(
        "changes",
        [
            {"kind": "ternary"},
            {"start": "uniform"},
            {"optimizer": "sgd", "lr": 0.1},
            {"layers": "convolutions"},
            {"after": "stage1"},
        ],
    )
    def test_every_form_trains(self, store, changes):
        assert result_of(QUICK.replace(**changes), store, (BASE, TARGETS[0])).outcome == "done"

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"after": "stage9"}, "has no split point 'stage9'"),
            ({"size": 1e-3}, "size=0.001 is not above threshold=0.005"),
        ],
    )
    def test_what_cannot_run_is_told_at_planning(self, store, changes, message):
        trial = resolve(
            Trial(
                method=QUICK.replace(**changes),
                network=resnet8(width=4),
                tasks=(BASE, TARGETS[0]),
                seed=0,
            ),
            store,
        )
        assert message in str(trial.problems())

    def test_batch_norm_that_is_not_there_is_told_at_planning(self, store):
        trial = resolve(
            Trial(
                method=QUICK.replace(norm="full"),
                network=small_vgg(),
                tasks=(BASE, TARGETS[0]),
                seed=0,
            ),
            store,
        )
        assert "norm=full, but small_vgg has no batch norm to train" in str(trial.problems())


class TestBaselines:
    @pytest.mark.parametrize(
        "method",
        [
            FeatureExtraction(epochs=1, base=SHORT),
            BatchNormOnly(epochs=1, base=SHORT),
            ControlMasks(of=QUICK),
        ],
    )
    def test_orders_share_their_trainings_and_the_base_keeps_its_bits(self, store, method):
        trials = [
            resolve(
                Trial(method=method, network=resnet8(width=4), tasks=(BASE, *order), seed=0), store
            )
            for order in permutations(TARGETS[:2])
        ]
        assert len({t.key for t in trials}) == 2
        assert len({need.key for t in trials for need in t.needs.values()}) == 3
        result = result_of(method, store, (BASE, *TARGETS[:2]))
        base = Result(store, store.find(result.record["needs"]["base"]["key"])).module(
            "network", task="base"
        )
        alone = Result(store, store.find(result.record["needs"]["a"]["key"]))
        assert {d for stage in alone.record["frozen"].values() for d in stage.values()} == {
            state_digest(base)
        }
        ready = result.every_component()[0].ready()
        assert ready(torch.randn(2, 1, 8, 8)).shape == (2, 2)

    def test_feature_extraction_changes_the_classifier_only_and_batch_norm_only_batch_norm_too(
        self, store
    ):
        for method, moved in (
            (FeatureExtraction(epochs=1, base=SHORT), {"classifier"}),
            (BatchNormOnly(epochs=1, base=SHORT), {"classifier", "norm"}),
        ):
            result = result_of(method, store, (BASE, TARGETS[0]))
            base = (
                Result(store, store.find(result.record["needs"]["base"]["key"]))
                .module("network", task="base")
                .state_dict()
            )
            ready = result.component("part", task="a").ready().state_dict()
            changed = {
                n
                for n in base
                if base[n].shape != ready[n].shape or not torch.equal(base[n], ready[n])
            }
            norms = {n for n in base if base[n].ndim < 2 and not n.startswith("classifier")}
            assert changed == {"classifier.weight", "classifier.bias"} | (
                norms if "norm" in moved else set()
            )

    def test_batch_norm_only_says_that_a_network_has_none(self, store):
        trial = resolve(
            Trial(method=BatchNormOnly(), network=small_vgg(), tasks=(BASE, TARGETS[0]), seed=0),
            store,
        )
        assert "small_vgg has no batch norm to train; use feature_extraction" in str(
            trial.problems()
        )

    @pytest.mark.parametrize("by", ["random", "magnitude"])
    def test_control_masks_are_as_dense_as_the_learned_ones_in_every_layer(self, store, by):
        learned = result_of(QUICK, store, (BASE, TARGETS[0]))
        control = result_of(ControlMasks(of=QUICK, by=by), store, (BASE, TARGETS[0]))
        one, other = learned.module("mask", task="a"), control.module("mask", task="a")
        assert [int(one.mask(n).sum()) for n in one.masked] == [
            int(other.mask(n).sum()) for n in other.masked
        ]
        assert any(not torch.equal(one.mask(n), other.mask(n)) for n in one.masked)
        base = (
            Result(store, store.find(learned.record["needs"]["base"]["key"]))
            .module("network", task="base")
            .state_dict()
        )
        if by == "magnitude":
            for n in other.masked:
                kept, gone = base[n].abs()[other.mask(n) == 1], base[n].abs()[other.mask(n) == 0]
                assert not len(gone) or kept.min() >= gone.max()

    def test_sequential_fine_tuning_measures_old_heads_on_the_moved_body(self, store):
        result = result_of(SequentialFineTuning(training=SHORT), store, (BASE, *TARGETS[:2]))
        matrix = result.matrix("accuracy")
        assert matrix.rows == ("base", "a", "b")
        for number, name in enumerate(matrix.rows):
            need = Result(store, store.find(result.record["needs"][name]["key"]))
            assert matrix.values[number, number] == need.metric("accuracy", task=name)
            assert result.metric("forgetting", task=name) == pytest.approx(
                matrix.values[number, number] - matrix.values[2, number]
            )
        assert result.metric("forgetting", task="b") == 0

    def test_sequential_orders_share_their_prefixes(self, store):
        method = SequentialFineTuning(training=SHORT)
        trials = [
            resolve(
                Trial(method=method, network=resnet8(width=4), tasks=(BASE, *order), seed=0), store
            )
            for order in permutations(TARGETS)
        ]
        assert len({need.key for t in trials for need in t.needs.values()}) == 1 + 3 + 6 + 6


class TestPackNet:
    method = PackNet(epochs=2, retrain_epochs=1, base=SHORT)

    def test_what_earlier_tasks_own_never_changes(self, store):
        two, three = (result_of(self.method, store, (BASE, *TARGETS[:n])) for n in (1, 2))
        before = Result(store, store.find(three.record["needs"]["before"]["key"])).module("packed")
        after = three.module("packed")
        x = torch.randn(9, 1, 8, 8)
        for task in (1, 2):
            assert torch.equal(before.eval()(x, task), after.eval()(x, task))
        assert (
            two.key != three.record["needs"]["before"]["key"]
        )  # as the last task it keeps all, as the second it frees most
        assert three.matrix("accuracy").values[2, 0] == three.matrix("accuracy").values[0, 0]

    def test_places_and_validation_are_logged(self, store):
        tasks = (BASE.validation(0.2), *(t.validation(0.2) for t in TARGETS[:2]))
        result = result_of(self.method, store, tasks)
        assert [result.metric("accuracy_at", place=p) for p in "12"] == [
            result.metric("accuracy", task=t) for t in "ab"
        ]
        assert {result.metric("val_accuracy", task=t.name) for t in tasks} <= {
            n / 40 for n in range(41)
        } | {n / 24 for n in range(25)}

    def test_shares_of_weights(self, store):
        result = result_of(self.method, store, (BASE, *TARGETS[:2]))
        assert [result.metric("owned", task=t) for t in ("base", "a", "b")] == pytest.approx(
            [0.5, 0.125, 0.375], abs=0.01
        )
        assert result.metric("free") == pytest.approx(0, abs=1e-6)

    def test_freed_weights_are_zero_and_take_no_part(self, store):
        result = result_of(self.method, store, (BASE,))
        packed = result.module("packed")
        for name in packed.packed:
            assert (packed.body.get_parameter(name)[packed.owner(name) == 0] == 0).all()
        x = torch.randn(4, 1, 8, 8)
        before = packed(x)
        with torch.no_grad():
            for name in packed.packed:
                packed.body.get_parameter(name)[packed.owner(name) == 0] = 7.0
        assert torch.equal(packed(x), before)

    def test_the_order_is_part_of_the_key_and_prefixes_are_shared(self, store):
        trials = [
            resolve(
                Trial(method=self.method, network=resnet8(width=4), tasks=(BASE, *order), seed=0),
                store,
            )
            for order in permutations(TARGETS)
        ]
        assert len({t.key for t in trials}) == 6
        found = {}
        for trial in trials:
            before = trial.needs.get("before")
            while before:
                found[before.key] = before
                before = before.needs.get("before")
        assert len(found) == 6 + 3 + 1

    def test_shares_that_cannot_be_are_told(self, store):
        trial = resolve(
            Trial(
                method=self.method.replace(freed=1.0),
                network=resnet8(width=4),
                tasks=(BASE,),
                seed=0,
            ),
            store,
        )
        assert "freed=1 is not a share between 0 and 1" in str(trial.problems())

    def test_in_tables_its_accuracy_is_the_targets_own_as_in_those_of_others(self, store):
        cells = product(
            union(
                PackNet.grid(epochs=2, retrain_epochs=1, base=SHORT),
                SequentialFineTuning.grid(training=SHORT),
                FineTune.grid(epochs=1),
            ),
            network=resnet8(width=4),
            tasks=[(BASE, TARGETS[0])],
            seed=0,
        )
        sweep = Sweep(question="?", cells=cells, expect=3)
        for trial in make_plan("asked", sweep, store).todo:
            execute(trial, store)
        found = Results(make_plan("asked", sweep, store), store)
        assert [column.title for column in found.columns("accuracy")] == ["accuracy"]
        for group in found.groups():
            (result,) = group.results
            assert group.metric("accuracy").mean == result.metric("accuracy", task="a")
