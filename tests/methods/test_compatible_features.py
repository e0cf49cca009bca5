"""Acceptance tests of Compatible Features on real digits.

Items 1 to 4 of section 8.4 of its specification (item 6 is in test_recombination). Two tasks of
nine digits, eight common, 600 disjoint images each, batch 64. `make test` trains seed 0 for 16
epochs (144 steps), for item 4 at the first split point, where it is hardest; `make test-all` seeds
0 and 1 for the 33 of the specification's pilot, at all four.
"""

from __future__ import annotations

import numpy as np
import pytest

from methods.compatible_features import CompatibleFeatures
from methods.compatible_features.transforms import dihedral, rotate
from methods.networks import resnet8
from methods.pieces.batch_norm_statistics import held_statistics
from methods.pieces.losses import masked_cross_entropy
from methods.recombine import Recombine
from orchestrator import Result, Store, Trial, digits, resolve
from orchestrator.training.execute import execute, run_with_needs

torch = pytest.importorskip("torch")

SPLITS = ("stem", "stage1", "stage2", "stage3")
SEEDS = {16: (0,), 33: (0, 1)}  # by epochs
TASKS = (
    digits.classes(*range(9)).images(0, of=2).validation(0).named("a"),
    digits.classes(*range(8), 9).images(1, of=2).validation(0).named("b"),
)
NONE, ROTATION, COMMON, BOTH = (), ("rotation",), ("common",), ("rotation", "common")
EPOCHS = [16, pytest.param(33, marks=pytest.mark.long)]
PLACES = [("stem", 16)]  # where it is hardest
PLACES += [pytest.param("stage3", 16, marks=pytest.mark.long)]
PLACES += [pytest.param(split, 33, marks=pytest.mark.long) for split in SPLITS]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """`measured(ingredients, split, epochs)`: for each seed the matrix of accuracies by extractor,
    [2, 2], and the mean of the networks' own. Trains what no test before it has trained.
    """
    store = Store(tmp_path_factory.mktemp("acceptance"))

    def entries(ingredients, split, epochs):
        method = CompatibleFeatures(
            ingredients=ingredients,
            split=split,
            transforms="dihedral",
            rotated_statistics=True,
            epochs=epochs,
        )
        found = []
        for seed in SEEDS[epochs]:
            asked = Trial(
                method=Recombine(of=(method,), split=split),
                network=resnet8(),
                tasks=TASKS,
                seed=seed,
            )
            result = _result(resolve(asked, store), store)
            matrix = result.matrix("accuracy_by_extractor").values
            found.append((matrix, result.metric("own_accuracy")))
        return found

    return entries


def _result(trial, store):
    """The result of a trial, which is run where the store has none."""
    if store.find(trial.key) is None:
        run_with_needs(trial, store)
        assert execute(trial, store).kind == "done"
    return Result(store, store.find(trial.key))


def off_diagonal(entries):
    return [float(matrix[i, 1 - i]) for matrix, _ in entries for i in (0, 1)]


def mean(entries):
    return float(np.mean(off_diagonal(entries)))


# In comments: what 16 and 33 epochs gave, seeds 0 and 1 (x86, one thread). At 16 epochs each of
# seeds 0 to 3 holds items 1, 3 and 4 by itself.


@pytest.mark.slow
@pytest.mark.parametrize("epochs", EPOCHS)
@pytest.mark.parametrize("split", SPLITS)
def test_1_independent_networks_recombine_near_chance(measured, split, epochs):
    entries = measured(NONE, split, epochs)
    assert mean(entries) <= 0.25  # 0.09 to 0.13; 0.10 to 0.13
    assert max(off_diagonal(entries)) <= 0.5  # 0.27; 0.26
    assert min(own for _, own in entries) >= 0.95  # 0.987; 0.987


@pytest.mark.slow
@pytest.mark.parametrize("epochs", EPOCHS)
def test_3_common_classes_make_networks_compatible_at_the_last_split(measured, epochs):
    last, first = (mean(measured(COMMON, split, epochs)) for split in ("stage3", "stem"))
    assert last >= 0.6  # 0.87; 0.94
    assert last - first >= 0.3  # 0.72; 0.79


@pytest.mark.slow
@pytest.mark.parametrize(("split", "epochs"), PLACES)
@pytest.mark.long
def test_4_rotation_with_common_classes_is_no_worse_than_rotation(measured, split, epochs):
    both, rotation = (mean(measured(asked, split, epochs)) for asked in (BOTH, ROTATION))
    assert both >= rotation - 0.05  # higher by 0.17 (stem) and 0.73; by 0.03 (stem) to 0.79


@pytest.mark.slow
@pytest.mark.parametrize(("split", "epochs"), PLACES)
def test_no_ingredient_hurts_the_networks_own_accuracy(measured, split, epochs):
    ways = (NONE, COMMON, BOTH)  # the last one holds rotation, too
    for ingredients in ways if epochs == 16 else (*ways, ROTATION):
        for _, own in measured(ingredients, split, epochs):
            assert own >= 0.94  # 0.969; 0.971


def record_of(method, tasks, tmp_path, network=None, split="stage2"):
    store = Store(tmp_path)
    trial = resolve(
        Trial(
            method=Recombine(of=(method,), split=split),
            network=network or resnet8(width=4),
            tasks=tasks,
            seed=0,
        ),
        store,
    )
    return _result(trial, store), trial, store


def test_2_identical_weights_order_and_data_give_bit_equal_networks(tmp_path):
    one = digits.classes(0, 1, 2, 3, 4).images(limit=100)
    method = CompatibleFeatures(ingredients=("identical",), same_order=True, epochs=3)
    result, trial, store = record_of(method, (one.named("a"), one.named("b")), tmp_path)
    blobs = {c["blob"] for c in store.find(trial.needs["0/0"].key)["components"]}
    assert len(blobs) == 1
    values = result.matrix("accuracy_by_extractor").values
    assert (values == values[0, 0]).all()
    assert values[0, 0] == pytest.approx(result.metric("own_accuracy"))


def test_identical_weights_alone_leave_each_network_its_own_order(tmp_path):
    one = digits.classes(0, 1, 2, 3, 4).images(limit=100)
    _, trial, store = record_of(
        CompatibleFeatures(ingredients=("identical",), epochs=1),
        (one.named("a"), one.named("b")),
        tmp_path,
    )
    assert len({c["blob"] for c in store.find(trial.needs["0/0"].key)["components"]}) == 2


def start(tmp_path, **settings):
    from orchestrator import Run

    method = CompatibleFeatures(**settings)
    run = Run(
        resolve(
            Trial(method=method, network=resnet8(width=4), tasks=TASKS, seed=0), Store(tmp_path)
        ),
        {},
    )
    return [run.trial.method.initial_network(run, t) for t in run.tasks]


def equal(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_identical_starts_are_identical_where_they_should_be(tmp_path):
    whole = start(tmp_path, ingredients=("identical",))
    assert equal(whole[0].extractor("pool"), whole[1].extractor("pool"))
    assert torch.equal(
        whole[0].last_layer.weight[:8], whole[1].last_layer.weight[:8]
    )  # the common classes
    assert not torch.equal(whole[0].last_layer.weight[8], whole[1].last_layer.weight[8])
    part = start(tmp_path, ingredients=("identical",), identical_part="extractor", split="stage2")
    assert equal(part[0].extractor("stage2"), part[1].extractor("stage2"))
    assert not equal(part[0].stage3, part[1].stage3)
    assert not equal(start(tmp_path)[0].stem, start(tmp_path)[1].stem)


@pytest.mark.parametrize("auxiliary", ["same_as_head", "linear", "mlp"])
@pytest.mark.parametrize("split", ["stem", "pool"])
def test_every_auxiliary_head_trains_at_every_kind_of_split(tmp_path, auxiliary, split):
    tasks = tuple(t.images(i, of=2, limit=60) for i, t in enumerate(TASKS))
    method = CompatibleFeatures(
        ingredients=("rotation", "common", "identical"), auxiliary=auxiliary, split=split, epochs=1
    )
    _, trial, store = record_of(method, tasks, tmp_path, split=split)
    kept = [(c["name"], c["labels"]) for c in store.find(trial.needs["0/0"].key)["components"]]
    assert kept == [
        ("network", {"task": "a"}),
        ("network", {"task": "b"}),
        ("auxiliary", {"ingredient": "common"}),
        ("auxiliary", {"ingredient": "rotation"}),
    ]


def test_networks_of_several_trials_make_one_matrix(tmp_path):
    tasks = tuple(t.images(i, of=2, limit=60) for i, t in enumerate(TASKS))
    store = Store(tmp_path)
    of = (CompatibleFeatures(epochs=1), CompatibleFeatures(epochs=1, ingredients=("identical",)))
    trial = resolve(
        Trial(
            method=Recombine(of=of, split="stage1", other_seeds=(3,)),
            network=resnet8(width=4),
            tasks=tasks,
            seed=0,
        ),
        store,
    )
    matrix = _result(trial, store).matrix("accuracy_by_head")
    assert len(matrix.rows) == 8
    assert matrix.rows[0] == "ingredients=none/seed0/a"
    assert matrix.components[0][0].endswith("/network?task=a")


def test_rotations_are_rotations():
    x = torch.arange(32.0).view(2, 1, 4, 4)
    for k in range(4):
        assert torch.equal(
            rotate(x, torch.tensor([k, 0])), torch.stack([x[0].rot90(k, (1, 2)), x[1]])
        )
    variants = [x[0], x[0].transpose(1, 2), x[0].flip(1), x[0].rot90(3, (1, 2))]
    assert all(
        torch.equal(dihedral(x[:1], torch.tensor([k]))[0], v) for k, v in enumerate(variants)
    )


def test_a_batch_without_a_common_class_has_loss_zero():
    logits = torch.randn(3, 4, requires_grad=True)
    loss = masked_cross_entropy(logits, torch.full((3,), -100))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
    some = masked_cross_entropy(logits, torch.tensor([1, -100, 2]))
    assert torch.allclose(
        some, torch.nn.functional.cross_entropy(logits[[0, 2]], torch.tensor([1, 2]))
    )


def test_held_statistics_normalise_by_the_batch_and_leave_no_trace():
    norm = torch.nn.BatchNorm2d(2).train()
    x = torch.randn(8, 2, 3, 3) * 4
    with held_statistics(norm):
        held = norm(x)
    assert (norm.running_mean.abs().sum(), int(norm.num_batches_tracked)) == (0, 0)
    assert torch.equal(held, norm(x))
    assert int(norm.num_batches_tracked) == 1


def test_three_networks_are_trained_at_once(tmp_path):
    tasks = tuple(
        digits.classes(0, 1, 2, 3 + i).images(i, of=3, limit=60).named("abc"[i]) for i in range(3)
    )
    result, _, _ = record_of(
        CompatibleFeatures(ingredients=("rotation", "common"), epochs=1), tasks, tmp_path
    )
    matrix = result.matrix("accuracy_by_extractor")
    assert matrix.rows == matrix.columns == ("a", "b", "c")
    assert np.isfinite(matrix.values).all()


def test_a_network_that_diverged_keeps_its_row_without_scores(tmp_path):
    store = Store(tmp_path)
    of = (CompatibleFeatures(epochs=1), CompatibleFeatures(epochs=3, lr=1e30))
    tasks = tuple(t.images(i, of=2, limit=60) for i, t in enumerate(TASKS))
    trial = resolve(
        Trial(
            method=Recombine(of=of, split="stage1"), network=resnet8(width=4), tasks=tasks, seed=0
        ),
        store,
    )
    run_with_needs(trial, store)
    assert [store.find(n.key)["outcome"] for n in trial.needs.values()] == ["done", "diverged"]
    matrix = _result(trial, store).matrix("accuracy_by_extractor")
    assert matrix.rows[2].endswith("(diverged)")
    assert matrix.notes[0, 2].endswith("diverged, there is no network")
    assert np.isnan(matrix.values[2]).all()
    assert np.isnan(matrix.values[:, 2]).all()
    assert np.isfinite(matrix.values[:2, :2]).all()
