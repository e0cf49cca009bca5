"""The handle: in a notebook, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from sample_methods import Attached, Between, Dropping, Stitched

from methods.compatible_features import CompatibleFeatures
from methods.fine_tune import FineTune
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import (
    CorruptError,
    Method,
    MethodError,
    Part,
    Result,
    Store,
    Sweep,
    Trial,
    axis,
    digits,
    images,
    in_order,
    local_run,
    make_plan,
    product,
    resolve,
    union,
)
from orchestrator.parts.export import export
from orchestrator.training.execute import execute, run_with_needs
from orchestrator.training.run import pinned

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


@pytest.mark.process
def test_a_local_run_leaves_no_folder_behind_its_process(tmp_path):
    script = """
import os
import sys
import tempfile
from pathlib import Path
from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Trial, digits, local_run

task = digits.classes(0, 1).images(limit=20)
run = local_run(Trial(method=FineTune(epochs=1), network=resnet8(width=4), tasks=(task,), seed=0))
if not (child := os.fork()):
    sys.exit()
os.waitpid(child, 0)
print(len(list(Path(tempfile.gettempdir()).glob("spolia-local-*"))))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1"]
    assert not list(tmp_path.glob("spolia-local-*"))


def test_a_network_goes_on_from_the_task_before(tmp_path):
    method = FineTune(epochs=0, base=FineTune(epochs=1))  # what is not trained stays as it began
    trial = Trial(method=method, network=resnet8(width=4), tasks=TASKS, seed=0)
    store = Store(tmp_path)
    trial = resolve(trial, store)
    run_with_needs(trial, store)
    assert execute(trial, store).kind == "done"
    before = Result(store, store.find(trial.needs["before"].key)).module("network", task="a")
    after = Result(store, store.find(trial.key)).module("network", task="b")
    assert torch.equal(after.stem[0].weight, before.stem[0].weight)
    assert not torch.equal(after.classifier.weight, before.classifier.weight)


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
    ((x, labels),) = in_order(task.test, torch.device("cpu"))
    with torch.no_grad():
        outputs = net.eval()(x)
    assert everything == pytest.approx((outputs.argmax(1) == labels).float().mean().item())
    # Of the images of other classes none can be right.
    assert two == pytest.approx((outputs[:, :2].argmax(1) == labels).float().mean().item())


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


# ---------------------------------------------------------------------- several required


@pytest.fixture
def stitch(store):
    trial = resolve(
        Trial(method=Stitched(), network=resnet8(width=4), tasks=TASKS[:1], seed=0), store
    )
    run_with_needs(trial, store)
    assert execute(trial, store).kind == "done"
    return Result(store, store.find(trial.key)).component("stitch", task="a")


def test_a_component_that_requires_several_is_ready_with_all_of_them(stitch):
    required = stitch.requirements()
    assert sorted(required) == ["back", "front"]
    x, _ = images(TASKS[0].test)
    front, back = (required[name].module() for name in ("front", "back"))
    with torch.no_grad():
        assert torch.equal(stitch.ready()(x), back.head("stem")(front.extractor("stem")(x)))
    with pytest.raises(MethodError, match=r"back, front: ask for requirements\(\)"):
        stitch.required()
    assert "needs" in repr(stitch)
    assert " and " in repr(stitch)


def test_it_can_be_exported(stitch):
    assert export(stitch, stitch.result.store)


def test_it_loads_only_beside_all_of_them(stitch):
    back = stitch.requirements()["back"].result
    store = stitch.result.store
    Path(store.address, f"results/{back.key[:2]}/{back.key}/result.json").unlink()
    with pytest.raises(CorruptError, match="which the store does not hold"):
        stitch.module()


def test_names_that_a_part_is_not_joined_by_are_refused(run):
    component = run.need("before").component("network", task="a")
    with pytest.raises(MethodError, match=r"Between is kept .* Define joined\(self, front, head\)"):
        pinned(Between(split="stem"), {"front": component, "head": component})
    with pytest.raises(MethodError, match=r"define joined\(self, front, back\)"):
        pinned(Dropping(), {"front": component, "back": component})


# ---------------------------------------------------------------------- draws and images


def test_a_draw_depends_on_seed_and_name_only(run):
    def drawn(of, name):
        return float(torch.rand(1, generator=of.draw(name)))

    other = local_run(
        Trial(method=FineTune(epochs=0), network=resnet8(width=4), tasks=TASKS[:1], seed=1)
    )
    assert drawn(run, "anchors") == drawn(run, "anchors")
    assert len({drawn(run, "anchors"), drawn(run, "others"), drawn(other, "anchors")}) == 3


def test_a_drawn_module_moves_nobodys_random_numbers(run):
    before = torch.get_rng_state()
    one, again = run.draw("layer", torch.nn.Linear, 3, 2), run.draw("layer", torch.nn.Linear, 3, 2)
    other = run.draw("another", torch.nn.Linear, in_features=3, out_features=2)
    assert torch.equal(one.weight, again.weight)
    assert not torch.equal(one.weight, other.weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_images_are_had_outside_a_fit_as_networks_take_them(run):
    task = run.tasks[1]
    x, y = run.images(task.train.few(6, seed=0))
    assert (x.shape, y.shape) == ((6, 1, 8, 8), (6,))
    assert torch.equal(x, images(task.train.few(6, seed=0)).x)
    net = run.network("n", task).eval()
    x, y = run.images(task.test)
    with torch.no_grad():
        correct = (net(x).argmax(1) == y).double()
    assert float(correct.mean()) == run.accuracy(net, task.test)


def test_the_test_part_is_not_seen_during_a_fit(run):
    for _ in run.epochs("loop", 1):
        with pytest.raises(MethodError, match="not measured during a fit"):
            run.images(run.tasks[1].test)


# ---------------------------------------------------------------------- independent or not


def network_of(trial, folder):
    """The network of a trial of no epochs: as it was drawn."""
    run = local_run(trial, store=folder)
    trial.method.train(run)
    ((_, weights),) = run.kept.values()
    return safetensors.torch.load(weights)


def test_two_networks_of_one_seed_start_equal_whatever_their_tasks_and_copies_do_not(tmp_path):
    drawn = Trial(method=FineTune(epochs=0), network=resnet8(width=4), tasks=TASKS[:1], seed=0)
    one = network_of(drawn, tmp_path)
    other = network_of(drawn.replace(tasks=TASKS[1:]), tmp_path)
    own_rows = {"classifier.weight", "classifier.bias"}
    for name in one.keys() - own_rows:
        assert torch.equal(one[name], other[name]), name
    for name in own_rows:  # classes 0 and 1 are in both tasks, 2 and 3 in one
        assert torch.equal(one[name][:2], other[name][:2])
        assert not torch.equal(one[name][2], other[name][2])
    _, copy = drawn.copies(2)
    independent = network_of(copy, tmp_path)
    drawn_at_random = [name for name, weight in one.items() if len(weight.unique()) > 1]
    assert len(drawn_at_random) >= 9  # convolutions and classifier
    for name in drawn_at_random:
        assert not torch.equal(one[name], independent[name]), name


class NeedsCopies(Method):
    """Needs several independent networks."""

    name = "needs_copies"
    several: int = axis(2)

    def needs(self, trial):
        copies = trial.replace(method=FineTune()).copies(self.several)
        return {f"network {i}": copy for i, copy in enumerate(copies)}

    def train(self, run):
        raise AssertionError


def test_methods_that_need_copies_share_their_trainings(store):
    cells = product(
        union(NeedsCopies.grid(several=[2, 3]), FineTune.grid()),
        network=resnet8(width=4),
        tasks=TASKS[:1],
        seed=[0, 1],
    )
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=6), store)
    trained = [trial for trial in plan.trials.values() if trial.method.name == "fine_tune"]
    assert len(trained) == 2 * 3  # three copies for each seed; the first is the cell's own
    assert len({trial.seed for trial in trained}) == 6
