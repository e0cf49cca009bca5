"""Augmentation is one axis for every method that trains on images, and reaches what it reads."""

from __future__ import annotations

import pytest

from methods.control_masks import ControlMasks
from methods.feature_extraction import FeatureExtraction
from methods.fine_tune import FineTune
from methods.network_transplanting import NetworkTransplanting
from methods.networks import resnet8
from methods.piggyback import Piggyback
from orchestrator import Data, Trial, resolve
from orchestrator.data.batches import Feed
from orchestrator.planning.preparation_notes import notes_of
from orchestrator.spec.preparation import AUGMENTATIONS
from orchestrator.spec.registry import discover
from orchestrator.spec.settings import settings_default
from orchestrator.testing import smoke_trial
from orchestrator.training.execute import execute, run_with_needs

OURS = {n: cls for n, cls in discover().items() if cls.__module__.startswith("methods.")}
WITH_AXIS = {n: cls for n, cls in OURS.items() if "augmentation" in cls().settings()}
# What trains nothing on images itself, or as another method does that is among its settings.
WITHOUT = {
    "control_masks",
    "domain_adaptation",
    "leanest",
    "recombine",
    "sequential_fine_tuning",
    "tailored_tasks",
    "transplanted_tasks",
}


def test_every_method_that_trains_has_the_same_axis():
    assert set(OURS) - set(WITH_AXIS) == WITHOUT
    for cls in WITH_AXIS.values():
        assert cls.__dataclass_fields__["augmentation"].metadata["over"] == AUGMENTATIONS
        assert settings_default(cls, "augmentation") == "none"
        assert "augmentation" not in cls().identity()["settings"]  # it changes no key of before


@pytest.mark.parametrize("name", WITH_AXIS)
def test_planning_says_where_a_method_and_a_baseline_differ_in_it(name, store):
    trial = smoke_trial(WITH_AXIS[name], network=resnet8(width=4))
    method, target = trial.method.replace(augmentation="flip"), trial.tasks[-1]
    if name == "network_transplanting":
        method = method.replace(labels="direct", samples=20)
    baseline = FeatureExtraction if name == "fine_tune" else FineTune

    def notes(how):
        tasks = (trial.tasks[0], target)
        other = Trial(method=baseline(augmentation=how), network=trial.network, tasks=tasks, seed=0)
        compared = [resolve(one, store) for one in (trial.replace(method=method), other)]
        return [note for note in notes_of(compared, lambda task: (1, 8, 8)) if "augment" in note]

    assert notes("flip") == []
    (note,) = notes("none")
    assert f"{target.name}: augmentation flip in {name}; none in {baseline.name}" in note


def read_by(trial, store, monkeypatch):
    """How the parts were augmented that the trial itself trained on, its needs apart."""
    resolved = resolve(trial, store)
    assert resolved.problems() == []
    run_with_needs(resolved, store, device="cpu")
    seen = set()
    make = Feed.__init__

    def noting(self, data, **others):
        make(self, data, **others)
        if isinstance(data, Data):
            seen.add(data.augmentation)

    monkeypatch.setattr(Feed, "__init__", noting)
    outcome = execute(resolved, store, device="cpu")
    assert outcome.is_result, outcome.traceback
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_AXIS)
def test_it_reaches_the_images_that_a_method_trains_on(name, store, monkeypatch):
    trial = smoke_trial(WITH_AXIS[name], network=resnet8(width=4))
    method = trial.method.replace(augmentation="random resized crop")
    tasks = trial.tasks
    if name == "network_transplanting":
        tasks = tuple(task.binary(0, called="category") for task in tasks)
        method = method.replace(labels="direct", samples=20)
    changed = trial.replace(method=method, tasks=tasks)
    assert read_by(changed, store, monkeypatch) == {"random resized crop"}


@pytest.mark.slow
def test_control_masks_read_images_as_the_masks_that_they_copy_did(store, monkeypatch):
    trial = smoke_trial(ControlMasks, network=resnet8(width=4))
    masks = Piggyback.smoke().replace(augmentation="flip")
    changed = trial.replace(method=trial.method.replace(of=masks))
    assert read_by(changed, store, monkeypatch) == {"flip"}


def test_without_samples_to_train_on_it_makes_no_difference_to_an_adapter():
    trial = smoke_trial(NetworkTransplanting, network=resnet8(width=4))
    flipped = trial.replace(method=trial.method.replace(augmentation="flip"))
    assert flipped.method == trial.method
