"""By which statistics a trial's tasks are normalised: their own, those of the base, ImageNet's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from methods.compatible_features import CompatibleFeatures
from methods.feature_extraction import FeatureExtraction
from methods.fine_tune import FineTune
from methods.network_transplanting import NetworkTransplanting
from methods.networks import projected, resnet8, torchvision_network
from methods.packnet import PackNet
from methods.piggyback import Piggyback
from methods.recombine import Recombine
from methods.sequential_fine_tuning import SequentialFineTuning
from orchestrator import InputError, Trial, digits, pasted, resolve
from orchestrator.data.batches import Feed, normaliser
from orchestrator.spec.preparation import IMAGENET, Statistics
from orchestrator.spec.registry import discover
from orchestrator.spec.task import Task
from orchestrator.testing import smoke_trial

CPU = torch.device("cpu")
base = digits.images(limit=60).named("base")
other = pasted(digits).resized(8).images(limit=60).named("other")  # has other statistics


def trial(store, method, *tasks, network=None):
    return resolve(
        Trial(method=method, network=network or resnet8(width=4), tasks=tasks, seed=0), store
    )


@pytest.mark.parametrize("method", [FineTune(), FeatureExtraction(), Piggyback(), PackNet()])
def test_what_starts_from_a_base_is_normalised_like_it(store, method):
    source, target = trial(store, method, base, other).tasks
    assert source.normalised_by == source.statistics
    assert target.normalised_by == source.statistics != target.statistics


def test_its_own_statistics_are_what_it_had_before_and_keep_the_key(store):
    as_asked = trial(store, Piggyback(), base, other.normalised("own"))
    by_default = trial(store, Piggyback(), base, other)
    assert as_asked.key != by_default.key
    assert "normalised" not in as_asked.identity["tasks"][1]
    assert by_default.identity["tasks"][1]["normalised"] == by_default.tasks[0].statistics.to_json()
    # The key of a target that says nothing on data of the base itself is what it always was.
    same = digits.images(limit=30).shifted("inverted").named("same")
    assert (
        trial(store, Piggyback(), base, same).key
        == trial(store, Piggyback(), base, same.normalised("own")).key
    )


def test_without_a_base_a_task_is_normalised_by_its_own_statistics(store):
    for method in (CompatibleFeatures(), Recombine(of=(FineTune(),), split="stage1")):
        for task in trial(store, method, base, other).tasks:
            assert task.normalised_by == task.statistics
    (alone,) = trial(store, FineTune(), other).tasks
    assert alone.normalised_by == alone.statistics


def test_what_is_trained_together_and_from_scratch_has_no_base(store):
    """Its networks are those of the method that trains them, wherever that was asked for."""
    together = CompatibleFeatures(ingredients=("rotation",))
    host, guest = (
        other.binary(c, called="it").images(i, of=2).named(f"of{c}") for i, c in enumerate((0, 1))
    )
    one = trial(store, NetworkTransplanting(jointly=together), base, host, guest)
    assert [task.normalised_by for task in one.tasks] == [task.statistics for task in one.tasks]
    assert one.needs["host"].key == trial(store, together, host, guest).key
    apart = trial(store, NetworkTransplanting(), base, host, guest)
    assert apart.tasks[1].normalised_by == apart.tasks[0].statistics != apart.tasks[1].statistics


def test_the_base_s_statistics_travel_through_a_chain_of_needs(store):
    last = digits.classes(1, 2).shifted("noisy").images(limit=30).named("last")
    chain = trial(store, SequentialFineTuning(), base, other, last)
    by = chain.tasks[0].statistics
    waiting, seen = [chain], 0
    while waiting:
        current = waiting.pop()
        waiting += current.needs.values()
        for task in current.tasks:
            assert task.normalised_by == by
            seen += 1
    assert seen > 6
    # A measurement of networks leaves the decision to the methods that trained them.
    measured = trial(store, Recombine(of=(FineTune(),), split="stage1"), base, other)
    (need,) = measured.needs.values()
    assert need.key == trial(store, FineTune(), base, other).key


def test_a_base_with_other_statistics_hands_them_on(store):
    coloured = base.rgb().normalised("imagenet")
    source, target = trial(store, Piggyback(), coloured, other.rgb()).tasks
    assert source.normalised_by == target.normalised_by == IMAGENET
    assert normaliser(target, CPU).shift.flatten().tolist() == pytest.approx(
        [255 * mean for mean in IMAGENET.mean]
    )


def test_three_channels_of_a_grey_base_have_its_statistics_three_times(store):
    source, target = trial(store, Piggyback(), base.rgb(), other.rgb()).tasks
    assert target.normalised_by == source.statistics
    assert len(source.statistics.mean) == 3
    assert len(set(source.statistics.mean)) == 1


def test_pretrained_weights_decide_for_tasks_that_say_nothing(store):
    pretrained = torchvision_network("resnet18", weights="resnet18-f37072fd.pth")
    tasks = (base.rgb(), other.rgb())
    for method in (FineTune(), CompatibleFeatures()):
        for task in trial(store, method, *tasks, network=pretrained).tasks:
            assert task.normalised_by == IMAGENET
        drawn = trial(store, method, *tasks, network=torchvision_network("resnet18"))
        assert drawn.tasks[0].normalised_by == drawn.tasks[0].statistics
    projection = projected(pretrained, behind="stage2")
    assert (
        trial(store, FineTune(), base.rgb(), network=projection).tasks[0].normalised_by == IMAGENET
    )
    own = base.rgb().normalised("own")
    source, target = trial(store, FineTune(), own, other.rgb(), network=pretrained).tasks
    assert source.normalised_by == target.normalised_by == source.statistics


def test_batches_have_the_statistics_that_the_task_names(store):
    _, target = trial(store, Piggyback(), base, other).tasks
    own = replace(target, normalisation="own")
    images = [
        torch.cat(
            [b.x for b in Feed(t.train, name="d", seed=0, stage="s", device=CPU).epoch(0, 3, 16)]
        )
        for t in (target, own)
    ]
    by, mine = target.base_statistics, target.statistics
    expected = (images[1] * mine.std[0] + mine.mean[0] - by.mean[0]) / by.std[0]
    assert torch.allclose(images[0], expected, atol=1e-4)
    assert abs(images[1].mean()) < 0.1 < abs(images[0].mean())


def test_a_task_survives_the_way_to_a_worker_with_its_statistics(store):
    made = trial(store, Piggyback(), base, other)
    again = Trial.from_json(made.to_json())
    assert again == made
    assert again.key == made.key
    old = made.tasks[1].to_json()
    for name in ("normalisation", "statistics", "base_statistics"):
        del old[name]  # as records were written before tasks had them
    assert Task.from_json(old).normalised_by is None
    assert Trial.from_json({**made.to_json(), "tasks": [old]}).tasks[0].normalisation == ""


@pytest.mark.parametrize(
    ("method", "tasks", "message"),
    [
        (
            CompatibleFeatures(),
            (base, other.normalised("base")),
            "starts from no base; write 'own'",
        ),
        (Piggyback(), (base.normalised("base"), other), "the task of the base itself"),
        (FineTune(), (base.normalised("imagenet"),), "has 1 channel, and ImageNet's statistics"),
    ],
)
def test_a_normalisation_that_cannot_be_meant_is_told(store, method, tasks, message):
    assert any(message in problem for problem in trial(store, method, *tasks).problems())


def test_an_unknown_normalisation_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"no normalisation 'imagnet'\. Did you mean 'imagenet'"):
        digits.normalised("imagnet")


def test_statistics_fit_their_channels_or_are_refused():
    grey = Statistics((0.5,), (0.2,))
    assert grey.over(3) == Statistics((0.5,) * 3, (0.2,) * 3)
    assert IMAGENET.over(3) is IMAGENET
    assert IMAGENET.over(1) is None


def test_every_method_that_needs_a_base_says_which_task_is_the_base_s():
    """What is trained on one of its tasks first, and starts later ones from that, has a base."""
    without = {"compatible_features", "domain_adaptation", "moved_classifier"}  # train side by side
    measuring = {"recombine", "pair_diagnostics"}
    for name, method in discover().items():
        if method.__module__.startswith("methods.") and name not in without | measuring:
            assert method.base_role, name


WITH_BASE = {name: cls for name, cls in discover().items() if cls.base_role}


@pytest.mark.parametrize("name", WITH_BASE)
def test_other_statistics_by_default_are_another_key_so_no_result_of_before_stands_for_them(
    store, name
):
    """Hence no method that takes its base's statistics had to raise its revision for that."""
    asked = smoke_trial(WITH_BASE[name], network=resnet8(width=4))
    *first, last = asked.tasks
    foreign = pasted(digits).resized(8).images(limit=60).named(last.name)
    by_default, by_own = (
        resolve(asked.replace(tasks=(*first, task)), store)
        for task in (foreign, foreign.normalised("own"))
    )
    assert by_default.key != by_own.key
    # Where base and target share a data set, their statistics are equal, and so are the keys.
    same = resolve(asked, store)
    owned = resolve(asked.replace(tasks=(*first, last.normalised("own"))), store)
    assert same.key == owned.key


def test_a_setting_that_a_method_has_no_longer_is_read_from_old_results(store):
    made = trial(store, FineTune(), base)
    old = made.to_json()
    del old["method"]["settings"]["augmentation"]
    old["method"]["settings"]["augment"] = False
    assert Trial.from_json(old).key == made.key
    old["method"]["settings"]["augment"] = True
    with pytest.raises(Exception, match="no setting 'augment' any more, and it was in use"):
        Trial.from_json(old)
