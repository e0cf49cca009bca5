"""The handle: in a notebook, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sample_methods import Attached

from methods.compatible_features import CompatibleFeatures
from methods.fine_tune import FineTune
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import CorruptError, MethodError, Part, Result, Trial, digits, local_run, resolve
from orchestrator.training.execute import execute, run_with_needs

TASKS = (
    digits.classes(0, 1, 2).images(limit=60).named("a"),
    digits.classes(0, 1, 3).images(limit=60).named("b"),
)


@pytest.fixture
def run(tmp_path):
    trial = Trial(method=FineTune(epochs=1), network=resnet8(width=4), tasks=TASKS, seed=0)
    return local_run(trial, store=tmp_path)


def test_a_local_run_executes_needs_and_then_the_method_by_hand(tmp_path):
    method = Recombine(of=(CompatibleFeatures(epochs=1),), split="pool")
    run = local_run(
        Trial(method=method, network=resnet8(width=4), tasks=TASKS, seed=0), store=tmp_path
    )
    run.trial.method.train(run)
    assert set(run.matrices) == {m.name for m in method.matrices}
    assert run.missing() == []


def test_a_network_goes_on_from_the_task_before(run):
    before = run.need("before").module("network", task="a")
    run.trial.method.train(run)
    assert run.metrics["accuracy", (("task", "b"),)] >= 0
    assert before.stem[0].weight.shape == (4, 1, 3, 3)


def test_what_a_need_does_not_have_is_named(run):
    with pytest.raises(
        MethodError, match=r"fine_tune has no need 'befor'. Did you mean 'before'\?"
    ):
        run.need("befor")
    with pytest.raises(
        MethodError, match=r"kept no 'network' with labels \{'task': 'x'\}; it kept: network-a"
    ):
        run.need("before").module("network", task="x")
    with pytest.raises(MethodError, match="no metric 'accurac'"):
        run.need("before").metric("accurac")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda run: run.log(acc=1.0), "declares no metric 'acc'"),
        (lambda run: run.log(accuracy=1.0), "declared by task, got no labels"),
        (
            lambda run: run.keep("net", run.network("n")),
            "declares no component 'net'. Did you mean 'network'",
        ),
        (
            lambda run: run.keep("network", torch.nn.Linear(1, 1), by={"task": "a"}),
            "Linear is not a Part",
        ),
        (lambda run: run.matrix("m", rows=[], columns=[], values=[]), "declares no matrix 'm'"),
    ],
)
def test_what_is_not_declared_is_refused(run, act, message):
    with pytest.raises(MethodError, match=message):
        act(run)


def test_a_part_that_no_other_process_could_import_is_refused(run):
    class Local(Part):
        def __init__(self) -> None:
            super().__init__()

    with pytest.raises(Exception, match="cannot be imported"):
        run.keep("network", Local(), by={"task": "a"})


def test_logging_again_replaces(run):
    run.log(accuracy=0.1, by={"task": "b"})
    run.log(accuracy=0.2, by={"task": "b"})
    assert list(run.metrics.values()) == [0.2]


def test_accuracy_among_fewer_outputs_leaves_the_mode_alone(run):
    task = run.tasks[1]
    net = run.network("n", task).train()
    everything, two = run.accuracy(net, task.test), run.accuracy(net, task.test, among=[0, 1])
    assert net.training
    assert 0 <= everything <= 1
    assert 0 <= two <= 1


def test_a_component_loads_only_beside_the_bits_it_was_made_for(store):
    trial = resolve(
        Trial(method=Attached(), network=resnet8(width=4), tasks=TASKS[:1], seed=0), store
    )
    run_with_needs(trial, store)
    assert execute(trial, store).kind == "done"
    mask = Result(store, store.find(trial.key)).component("mask")
    assert mask.module().config == {"channels": 1, "classes": 5}
    base = (
        Path(store.address)
        / f"results/{trial.needs['base'].key[:2]}/{trial.needs['base'].key}/result.json"
    )
    base.unlink()
    with pytest.raises(CorruptError, match="which the store does not hold"):
        mask.module()
    # The same key with other weights: a result written on another machine, say.
    other = trial.needs["base"].replace(seed=1)
    assert execute(other, store).kind == "done"
    record = store.find(other.key)
    assert store.commit({**record, "key": trial.needs["base"].key})
    assert mask.module().config == {"channels": 1, "classes": 5}
    blob = mask.record.requires["blob"]
    assert mask.required().record.blob == blob  # the weights it was made for are still there
    assert store.discard(f"blobs/{blob[:2]}/{blob}")
    with pytest.raises(CorruptError, match="which the store does not hold"):
        mask.module()
