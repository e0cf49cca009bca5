"""What planning tells of images: what does not fit a network, with the verb that mends it, and how
bases and neighbours prepare them.
"""

from __future__ import annotations

import pytest
from torch import nn

from methods.compatible_features import CompatibleFeatures
from methods.feature_extraction import FeatureExtraction
from methods.fine_tune import FineTune
from methods.nettailor import NetTailor
from methods.networks import resnet8, torchvision_network
from methods.piggyback import Piggyback
from orchestrator import (
    Network,
    NetworkSpec,
    PlanError,
    Sweep,
    digits,
    make_plan,
    parquet,
    pasted,
    product,
    union,
)
from orchestrator.spec.registry import discover
from orchestrator.spec.task import DataRecord
from orchestrator.testing import smoke_trial

base = digits.images(limit=60).named("base")
other = pasted(digits).images(limit=60).named("other")  # 12 x 12, and other statistics
like_base = other.resized(8)
more = digits.images(limit=30).named("more")


class OnlyEight(Network):
    """Its classifier reads the features of 8 x 8 pixels, whatever comes."""

    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.set_stages(
            {
                "stem": nn.Sequential(nn.Conv2d(channels, 4, 3, stride=2, padding=1), nn.ReLU()),
                "pool": nn.Flatten(),
                "classifier": nn.Linear(64, classes),
            }
        )


ONLY_EIGHT = NetworkSpec(name="only_eight", path=f"{__name__}:OnlyEight", splits=("stem", "pool"))


def planned(store, methods, tasks, network=None):
    cells = product(methods, network=network or resnet8(width=4), tasks=tasks, seed=0)
    return make_plan("asked", Sweep(question="?", cells=cells, expect=len(cells)), store)


def problem(store, methods, tasks, network=None):
    with pytest.raises(PlanError) as caught:
        planned(store, methods, tasks, network)
    return str(caught.value)


def test_a_size_that_a_network_cannot_take_is_told_with_the_verb_that_mends_it(store):
    planned(store, Piggyback.grid(), (base, like_base), ONLY_EIGHT)
    told = problem(store, Piggyback.grid(), (base, other), ONLY_EIGHT)
    assert "only_eight takes the images of base, 8x8, but not those of other, 12x12" in told
    assert "write .resized(8) behind other" in told


def test_a_first_task_of_the_wrong_size_is_told_the_size_that_fits(store):
    told = problem(store, FineTune.grid(), (other,), ONLY_EIGHT)
    assert "only_eight takes images of 8x8: write .resized(8) behind other" in told


def test_a_network_that_fails_at_every_size_is_told_no_size(store):
    three = NetworkSpec(name="broken", path=f"{__name__}:Broken", splits=("stem", "pool"))
    told = problem(store, FineTune.grid(), (base,), three)
    assert "cannot be built" in told
    assert ".resized" not in told


class Broken(OnlyEight):
    def __init__(self, *, channels: int = 1, classes: int = 2) -> None:
        raise ZeroDivisionError


def test_another_size_that_works_by_design_is_noted_in_one_line(store):
    plan = planned(store, union(Piggyback.grid(), FeatureExtraction.grid()), (base, other))
    (note,) = [note for note in plan.notes if "12x12" in note]
    assert "other: images of 12x12 on a base of 8x8 (base)" in note
    assert ".resized(8) makes them equal" in note
    same = planned(store, Piggyback.grid(), (base, like_base))
    assert not [note for note in same.notes if "12x12" in note]


def test_sizes_are_told_as_in_the_records_of_data_sets_height_first(store):
    about = {"classes": ("a", "b"), "counts": (20, 20), "mean": (0.5,), "std": (0.2,)}
    shape = (1, 8, 16)
    store.put_data(DataRecord(name="parquet/wide", digest="1" * 64, shape=shape, **about))
    wide = parquet("wide").named("wide")
    (note,) = [n for n in planned(store, Piggyback.grid(), (base, wide)).notes if "images of" in n]
    assert note.startswith("wide: images of 8x16 on a base of 8x8 (base)")
    told = problem(store, Piggyback.grid(), (base, wide), ONLY_EIGHT)
    assert "takes the images of base, 8x8, but not those of wide, 8x16" in told


def test_grey_images_before_pretrained_weights_are_told(store):
    network = torchvision_network("resnet18", weights="resnet18-f37072fd.pth")
    told = problem(store, FineTune.grid(), (base,), network)
    assert "weights that were trained on three channels, and images of base are grey" in told
    assert "write .rgb() behind them" in told


def test_other_numbers_of_channels_are_told(store):
    record = {"classes": ("a", "b"), "counts": (20, 20)}
    for channels in (2, 3):
        store.put_data(
            DataRecord(
                name=f"parquet/{channels}",
                digest=f"{channels}" * 64,
                shape=(channels, 8, 8),
                mean=(0.5,) * channels,
                std=(0.2,) * channels,
                **record,
            )
        )
    tasks = [digits.named("x").__class__(data=f"parquet/{n}").named(f"with{n}") for n in (2, 3)]
    told = problem(store, FineTune.grid(), tuple(tasks))
    assert "they differ in channels: with2 2, with3 3. Only grey ones can be given more" in told


def test_features_that_one_head_reads_must_have_one_shape(store):
    methods = CompatibleFeatures.grid(ingredients=[("rotation",)])
    told = problem(store, methods, (base, other))
    assert (
        "features at 'stage1' differ in shape: 4x8x8 of resnet8(width=4) on base, "
        "4x12x12 of resnet8(width=4) on other. One auxiliary head reads them all; .resized(...)"
    ) in told
    planned(store, methods, (base, like_base))
    planned(store, CompatibleFeatures.grid(), (base, other))  # without such a head


def test_features_of_different_networks_must_have_one_shape(store):
    wider = {"ingredients": [("rotation",)], "other_networks": [(resnet8(width=8),)]}
    told = problem(store, CompatibleFeatures.grid(**wider), (base, like_base))
    assert "4x8x8 of resnet8(width=4) on base, 8x8x8 of resnet8(width=8) on other" in told


@pytest.mark.parametrize("name", ["moved_classifier", "domain_adaptation", "cheaper_transfer"])
def test_what_is_needed_must_have_features_of_one_shape_too(store, name):
    """Before the first training, and not when the trial that needs it has had to wait for it."""
    trial = smoke_trial(discover()[name], network=resnet8(width=4))
    first, second, *rest = trial.tasks
    mixed = (first, second.resized(12), *rest)
    cells = product(trial.method.grid(**trial.method.changed_settings()), tasks=[mixed], seed=0)
    sweep = Sweep(question="?", cells=product(cells, network=resnet8(width=4)), expect=1)
    with pytest.raises(PlanError, match="differ in shape"):
        make_plan("asked", sweep, store)


def test_augmented_masks_are_told(store):
    segmented = pasted(digits).images(limit=60).foreground().named("segmented")
    told = problem(store, FineTune.grid(augmentation="flip"), (segmented,))
    assert "augmentation='flip', but the labels of segmented are masks" in told


def test_a_plan_says_whose_statistics_are_used(store):
    methods = union(Piggyback.grid(), FeatureExtraction.grid())
    plan = planned(store, methods, (base, like_base))
    (note,) = plan.notes
    assert note.startswith("other: normalised by the statistics of their base base")
    assert "(piggyback, feature_extraction)" in note
    assert planned(store, methods, (base, like_base.normalised("own"))).notes == ()
    assert planned(store, methods, (base, more)).notes == ()
    pretrained = torchvision_network("resnet18", weights="resnet18-f37072fd.pth")
    (note,) = planned(store, FineTune.grid(), (base.rgb(),), pretrained).notes
    assert "base: normalised by ImageNet's statistics, as the weights of resnet18" in note


def test_a_plan_says_where_a_method_and_its_baseline_differ(store):
    def notes(methods):
        return planned(store, methods, (base, more)).notes

    flipped, plain = Piggyback.grid(augmentation="flip"), FineTune.grid()
    (note,) = notes(union(flipped, plain))
    assert note == (
        "more: augmentation flip in piggyback; none in fine_tune: "
        "a comparison of these methods compares that, too"
    )
    assert notes(union(flipped, FineTune.grid(augmentation="flip"))) == ()
    both = ["none", "flip"]
    assert notes(union(Piggyback.grid(augmentation=both), FineTune.grid(augmentation=both))) == ()
    # A need counts, too: the student sees flipped images, its teacher never did.
    (note,) = notes(NetTailor.grid(augmentation="flip"))
    assert "augmentation flip in nettailor; none in fine_tune" in note


def test_a_plan_says_where_methods_normalise_a_task_differently(store):
    cells = union(
        product(Piggyback.grid(), tasks=(base, like_base)),
        product(CompatibleFeatures.grid(), tasks=(like_base,)),
    )
    cells = product(cells, network=resnet8(width=4), seed=0)
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=2), store)
    assert (
        "other: normalised by own in compatible_features; those of base in piggyback: "
        "a comparison of these methods compares that, too"
    ) in plan.notes


def test_the_command_line_prints_the_notes(spolia, tmp_path):
    (tmp_path / "asked.py").write_text(
        """
from methods.networks import resnet8
from methods.piggyback import Piggyback
from orchestrator import Sweep, digits, pasted, product

base = digits.images(limit=60).named("base")
other = pasted(digits).images(limit=60).named("other")
cells = product(Piggyback.grid(), network=resnet8(width=4), tasks=(base, other), seed=0)
sweep = Sweep(question="?", cells=cells, expect=1)
"""
    )
    code, out, _ = spolia("plan", "asked.py")
    assert code == 0
    words = " ".join(out.split())
    assert "note: other: normalised by the statistics of their base base" in words
    assert "note: other: images of 12x12 on a base of 8x8" in words
