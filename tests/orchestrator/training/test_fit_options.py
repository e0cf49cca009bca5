"""Steps, choosing and stopping, noise, arithmetic, own loops: each resumes to the same bits."""

from __future__ import annotations

import copy

import pytest
import torch
from sample_methods import Diverging, Looped
from torch import nn
from torch.nn import functional as F

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import (
    Best,
    MethodError,
    Plateau,
    Reached,
    Run,
    Trial,
    digits,
    noise,
    normal,
    resolve,
    sgd,
)
from orchestrator.data.batches import Feed
from orchestrator.errors import Diverged
from orchestrator.testing import MethodContract, smoke_trial
from orchestrator.training.checkpoints import Checkpoints
from orchestrator.training.execute import execute

TASK = digits.classes(0, 1, 2).images(limit=90)


def make_run(store, checkpoints=None, **changes):
    trial = Trial(
        method=FineTune(epochs=1), network=resnet8(width=4), tasks=(TASK.named("t"),), seed=0
    )
    return Run(resolve(trial.replace(**changes), store), {}, checkpoints=checkpoints)


def loss(nets, batch):
    return F.cross_entropy(nets["net"](batch.x), batch.y)


def train(run, net=None, stage="s", **options):
    net = net or run.network("n")
    fitted = run.fit(
        stage, {"net": net}, loss, run.tasks[0].train, optimizer=sgd(0.05), batch=16, **options
    )
    return fitted, net


def weights(net):
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()])


def test_who_follows_a_fit_hears_the_sum_of_the_terms_of_its_loss(store):
    def two_terms(nets, batch):
        own = loss(nets, batch)
        return {"own": own, "half": own / 2}

    run, heard = make_run(store), []
    run._on_epoch = heard.append
    net = run.network("n")
    run.fit("s", {"net": net}, two_terms, run.tasks[0].train, optimizer=sgd(0.05), epochs=2)
    by_epoch = {step: [p.value for p in run.curves if p.step == step] for step in (1, 2)}
    assert [moment.loss for moment in heard] == [sum(by_epoch[1]), sum(by_epoch[2])]


# ---------------------------------------------------------------------- steps


def test_steps_are_counted_over_epochs_and_the_last_is_cut_short(store):
    run = make_run(store)
    fitted, _ = train(run, steps=7)
    assert (fitted.steps, fitted.epochs, fitted.images) == (
        7,
        2,
        112,
    )  # 81 images are 5 steps an epoch


def test_whole_epochs_by_steps_are_the_same_training(store):
    _, by_epochs = train(make_run(store), epochs=2)
    _, by_steps = train(make_run(store), steps=10)
    assert torch.equal(weights(by_epochs), weights(by_steps))


@pytest.mark.parametrize("of_noise", [False, True])
def test_a_last_batch_may_be_kept_though_it_is_not_full(store, of_noise):
    run, seen = make_run(store), []
    data = noise(1, 8, 8, images=81) if of_noise else run.tasks[0].train.drawing(j=normal(2))
    fitted = run.fit(
        "s",
        {"net": run.network("n")},
        lambda n, b: seen.append(b) or n["net"](b.x).square().mean(),
        data,
        optimizer=sgd(0.01),
        epochs=2,
        batch=16,
        last_batch="keep",
    )
    assert [len(batch) for batch in seen] == [16, 16, 16, 16, 16, 1] * 2
    assert (fitted.steps, fitted.images) == (12, 162)
    if not of_noise:
        assert [len(batch.j) for batch in seen] == [len(batch) for batch in seen]
        # Each image once an epoch
        labels = torch.cat([batch.y for batch in seen[:6]]).bincount()
        assert labels.tolist() == [27, 27, 27]


def test_features_are_read_as_the_images_would_be(store):
    run = make_run(store)
    images, net = run.tasks[0].train, run.network("n")
    front, head = net.extractor("pool"), net.head("pool")
    features = run.features(front, images)
    assert features.x.shape == (81, 16)

    def read(data):
        feed = Feed(data, name="data", seed=0, stage="s", device=torch.device("cpu"))
        return [batch for epoch in (0, 1) for batch in feed.epoch(epoch, 5, 16)]

    for image, feature in zip(read(images), read(features), strict=True):
        assert torch.equal(image.y, feature.y)
        torch.testing.assert_close(front.eval()(image.x), feature.x)
    fitted = run.fit(
        "s",
        {"head": head},
        lambda n, b: F.cross_entropy(n["head"](b.x), b.y),
        features,
        optimizer=sgd(0.1),
        epochs=2,
        batch=16,
    )
    assert fitted.steps == 10


def test_features_of_images_that_change_are_refused(store):
    run = make_run(store)
    with pytest.raises(MethodError, match="so nothing can be computed once"):
        run.features(nn.Identity(), run.tasks[0].train.augmented("flip"))


def test_features_beside_their_images_are_read_in_one_order_or_not_at_all(store):
    run = make_run(store)
    images, net = run.tasks[0].train, run.network("n")
    seen = []

    def loss(nets, batch):
        seen.append((batch["images"], batch["answers"]))
        return F.cross_entropy(nets["net"](batch["images"].x), batch["images"].y)

    def fit(stage, images, answers):
        data = {"images": images, "answers": answers}
        run.fit(stage, {"net": net}, loss, data, optimizer=sgd(0.1), epochs=1, batch=16)

    named = images.ordered("a")
    for one, other in ((images, images), (images, named), (named, images)):
        with pytest.raises(
            MethodError, match=r"'answers' are features of the images that 'images'"
        ):
            fit("apart", one, run.features(net, other))
    before = copy.deepcopy(net)
    fit("together", named, run.features(net, named))
    # What the net said before it was trained, of these very images
    for image, answer in seen:
        torch.testing.assert_close(before.eval()(image.x), answer.x)


def test_accuracy_among_several_guesses_takes_one_pass(store):
    run = make_run(store)
    task = resolve(
        Trial(method=FineTune(), network=resnet8(width=4), tasks=(digits,), seed=0), store
    ).tasks[0]
    net, calls = run.network("n", task).eval(), []
    net.register_forward_hook(lambda *_: calls.append(1))
    one, five, ten = run.accuracies(net, task.test, top=(1, 5, 10))
    assert len(calls) == 2  # of 597 images
    assert one == run.accuracy(net, task.test)
    assert one < five < ten == 1


@pytest.mark.parametrize("options", [{}, {"epochs": 1, "steps": 1}, {"steps": 0}, {"steps": 1.5}])
def test_a_length_that_cannot_be_meant_is_refused(store, options):
    with pytest.raises(
        MethodError, match=r"give either epochs= or steps=|steps must be a whole number from 1"
    ):
        train(make_run(store), **options)


# ---------------------------------------------------------------------- choosing and stopping


class Scripted:
    """A watch that gives the values of a list, one an evaluation."""

    def __init__(self, *values):
        self.values, self.states = list(values), []

    def bind(self, net):
        def watch():
            self.states.append(weights(net).clone())
            return {"score": self.values[len(self.states) - 1]}

        return watch


def test_the_best_state_is_kept_the_earliest_of_equals(store):
    run = make_run(store)
    net, script = run.network("n"), Scripted(0.1, 0.9, 0.5, 0.9)
    fitted, _ = train(run, net, epochs=4, watch=script.bind(net), select=Best("score"))
    assert fitted.selected == 2
    assert torch.equal(weights(net), script.states[1])


def test_the_lowest_can_be_the_best_and_nan_never_is(store):
    run = make_run(store)
    net, script = run.network("n"), Scripted(0.3, float("nan"), 0.2)
    fitted, _ = train(
        run, net, epochs=3, watch=script.bind(net), select=Best("score", higher=False)
    )
    assert fitted.selected == 3


def test_a_plateau_and_a_reached_value_stop_a_fit(store):
    run = make_run(store)
    net, script = run.network("n"), Scripted(0.1, 0.5, 0.4, 0.5, 0.6)
    fitted, _ = train(
        run, net, epochs=5, watch=script.bind(net), until=Plateau("score", patience=2)
    )
    assert fitted.epochs == 4
    run = make_run(store)
    net, script = run.network("n"), Scripted(0.1, 0.5, 0.4)
    fitted, _ = train(run, net, epochs=3, watch=script.bind(net), until=Reached("score", 0.5))
    assert fitted.epochs == 2


@pytest.mark.parametrize("options", [{"select": Best("scoer")}, {"until": Reached("scoer", 1)}])
def test_a_curve_that_is_not_there_is_named(store, options):
    run = make_run(store)
    net = run.network("n")
    with pytest.raises(
        MethodError, match=r"there is no curve 'scoer' to choose or stop by. Did you mean 'score'\?"
    ):
        train(run, net, epochs=1, watch=Scripted(1.0).bind(net), **options)


def test_a_condition_that_captures_a_tensor_is_refused(store):
    tensor = torch.zeros(1)
    with pytest.raises(MethodError, match="condition `until` captures 'tensor'"):
        train(make_run(store), epochs=1, until=lambda curves: bool(tensor))


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("at", [1, 2, 3])
def test_choosing_and_stopping_resume_to_the_same_bits(store, tmp_path, at):
    def whole(run, stop=None):
        net = run.network("n")
        count = [0]

        def watch():
            count[0] += 1
            return {"score": -float((weights(net) ** 2).sum())}

        run._on_epoch = stop
        return train(
            run,
            net,
            epochs=4,
            watch=watch,
            select=Best("score"),
            until=Plateau("score", patience=3),
        )

    reference, expected = whole(make_run(store))

    def stop(moment):
        if moment.epoch == at + 1:
            raise Stopped

    with pytest.raises(Stopped):
        whole(make_run(store, Checkpoints(tmp_path / "s", every=0)), stop)
    fitted, net = whole(make_run(store, Checkpoints(tmp_path / "s", every=0)))
    assert (fitted.selected, fitted.epochs) == (reference.selected, reference.epochs)
    assert torch.equal(weights(net), weights(expected))


# ---------------------------------------------------------------------- noise


def test_noise_is_a_data_set_of_its_own(store):
    seen = []

    def matched(nets, batch):
        seen.append(batch["noise"].x)
        return (
            nets["net"](batch["noise"].x).square().mean()
            + 0 * nets["net"](batch["images"].x).mean()
        )

    run = make_run(store)
    run.fit(
        "s",
        {"net": run.network("n")},
        matched,
        {"images": run.tasks[0].train, "noise": noise(1, 8, 8, images=40)},
        optimizer=sgd(0.01),
        epochs=1,
        batch=16,
    )
    assert all(x.shape == (16, 1, 8, 8) for x in seen)
    assert len({float(x.sum()) for x in seen}) == len(seen) == 5
    assert abs(float(torch.cat(seen).mean())) < 0.1
    again = []
    run = make_run(store)
    run.fit(
        "s",
        {"net": run.network("n")},
        lambda n, b: again.append(b.x) or n["net"](b.x).square().mean(),
        noise(1, 8, 8, images=80),
        optimizer=sgd(0.01),
        epochs=1,
        batch=16,
    )
    assert again[0].shape == (16, 1, 8, 8)


def test_a_loss_draws_normal_numbers_by_declaration(store):
    seen = []
    run = make_run(store)
    data = run.tasks[0].train.drawing(jitter=normal(3))
    run.fit(
        "s",
        {"net": run.network("n")},
        lambda n, b: seen.append(b.jitter) or F.cross_entropy(n["net"](b.x), b.y),
        data,
        optimizer=sgd(0.01),
        epochs=2,
        batch=16,
    )
    assert {x.shape for x in seen} == {(16, 3)}
    assert len({float(x.sum()) for x in seen}) == 10


# ---------------------------------------------------------------------- arithmetic


def test_bf16_computes_in_bf16_keeps_weights_in_fp32_and_is_another_trial(store):
    kinds = set()

    def noted(nets, batch):
        logits = nets["net"](batch.x)
        kinds.add(logits.dtype)
        return F.cross_entropy(logits, batch.y)

    run = make_run(store, numerics="bf16")
    net = run.network("n")
    run.fit("s", {"net": net}, noted, run.tasks[0].train, optimizer=sgd(0.05), epochs=1, batch=16)
    assert kinds == {torch.bfloat16}
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert run.trial.key != make_run(store).trial.key
    _, plain = train(make_run(store), epochs=1)
    assert not torch.equal(weights(net), weights(plain))
    assert torch.allclose(weights(net), weights(plain), atol=0.05)


@pytest.mark.parametrize("named", [False, True])
def test_curves_are_summed_in_fp32_whatever_the_loss_is_computed_in(store, named):
    """Steps whose losses differ by less than bf16 can tell of their sum."""
    run = make_run(store, numerics="bf16")
    seen = []

    def in_bf16(nets, batch):
        value = loss(nets, batch) + 3 * nets["net"](batch.x).square().mean()
        value = value.to(torch.bfloat16)
        seen.append(float(value.detach()))
        return {"a": value, "b": 2 * value} if named else value

    data = run.tasks[0].train
    fitted = run.fit(
        "s", {"net": run.network("n")}, in_bf16, data, optimizer=sgd(1e-6), epochs=1, batch=1
    )
    assert len(seen) == fitted.steps == 81
    mean = sum(seen) / len(seen)
    expected = {"s/a": mean, "s/b": 2 * mean} if named else {"s/loss": mean}
    assert {p.name: p.value for p in fitted.curves} == pytest.approx(expected, rel=1e-6)


def test_what_overflows_in_a_sum_of_halves_only_has_not_diverged(store):
    """Divergence is judged by the curves: finite losses have a finite mean."""
    run = make_run(store)

    def in_fp16(nets, batch):
        value = loss(nets, batch)
        return (value * 0 + 3e4).to(torch.float16)

    fitted = run.fit(
        "s",
        {"net": run.network("n")},
        in_fp16,
        run.tasks[0].train,
        optimizer=sgd(0.01),
        epochs=1,
        batch=16,
    )
    assert [p.value for p in fitted.curves] == [pytest.approx(3e4, rel=1e-3)]


def test_a_class_of_arithmetic_that_there_is_not_is_named(store):
    trial = make_run(store).trial.replace(numerics="fp16")
    assert trial.problems()[0].startswith("numerics: no class of arithmetic 'fp16'")


# ---------------------------------------------------------------------- own loops


class TestLooped(MethodContract):
    @pytest.fixture
    def trial(self):
        return smoke_trial(Looped)


def test_an_own_loop_reads_the_batches_that_a_fit_would(store):
    run = make_run(store)
    fitted = []
    run.fit(
        "s",
        {"net": run.network("n")},
        lambda n, b: fitted.append(b.x) or n["net"](b.x).mean(),
        run.tasks[0].train,
        optimizer=sgd(0.0, momentum=0.0),
        epochs=1,
        batch=16,
    )
    run = make_run(store)
    own = [
        batch.x for _ in run.epochs("s", 1) for batch in run.batches(run.tasks[0].train, batch=16)
    ]
    assert all(torch.equal(a, b) for a, b in zip(fitted, own, strict=True))


def test_an_own_loop_is_held_to_the_same_rules(store):
    run = make_run(store)
    with pytest.raises(MethodError, match="belongs inside"):
        run.batches(run.tasks[0].train)
    with pytest.raises(MethodError, match="belongs inside"):
        run.curve(x=1.0)
    with pytest.raises(
        MethodError, match=r"state cannot be saved and brought back in place; pass modules"
    ):
        list(run.epochs("a", 1, state=3))
    for _ in run.epochs("b", 1):
        with pytest.raises(MethodError, match="is the test part"):
            run.batches(run.tasks[0].test)
        with pytest.raises(MethodError, match="is not measured during a fit"):
            run.accuracy(nn.Flatten(), run.tasks[0].test)
        with pytest.raises(MethodError, match="begins inside stage 'b'"):
            train(run, stage="c", epochs=1)
        with pytest.raises(Diverged):
            run.curve(x=float("nan"))
    with pytest.raises(MethodError, match="is used twice"):
        list(run.epochs("b", 1))


def test_a_stage_that_diverges_has_each_point_of_its_curves_once(store):
    """Whether its loop is the method's own or the engine's; those of the epochs before too."""
    for method in (Diverging(loop="own"), Diverging(loop="fit")):
        trial = resolve(
            Trial(method=method, network=resnet8(width=4), tasks=(TASK,), seed=0), store
        )
        assert execute(trial, store).kind == "diverged"
        record = store.find(trial.key)
        points = [(name, step) for name, step, _, _ in record["curves"]]
        assert points == [("first/loss", 1), ("second/loss", 1), ("second/loss", 2)]
        assert [value is None for *_, value, _ in record["curves"]] == [False, False, True]


def test_after_an_own_loop_the_generator_stands_where_it_does_after_a_skipped_one(store, tmp_path):
    def drawn(scratch):
        run = make_run(store, Checkpoints(scratch, every=0))
        for _ in run.epochs("s", 2):
            torch.rand(3)
        return float(torch.rand(1))

    assert drawn(tmp_path / "a") == drawn(tmp_path / "a") == drawn(tmp_path / "b")


# ---------------------------------------------------------------------- what a record says


def test_a_record_tells_times_memory_versions_and_what_was_printed(store):
    trial = resolve(
        Trial(method=Looped(epochs=1, say="hello from train"), tasks=(TASK,), seed=0), store
    )
    assert execute(trial, store).kind == "done"
    record = store.find(trial.key)
    assert record["memory"]["process"] > 50 * 2**20
    assert record["timings"]["fits"]["loop"]["images"] > 0
    assert {"python", "torch", "torchvision", "spolia", "numpy"} <= set(record["provenance"])
    assert "hello from train" in store.log(trial.key)


def test_adopted_metrics_and_components_are_those_of_the_need(store):
    from sample_methods import Adopting

    from orchestrator import Result
    from orchestrator.training.execute import run_with_needs

    trial = resolve(
        Trial(method=Adopting(), network=resnet8(width=4), tasks=(TASK.named("t"),), seed=0), store
    )
    run_with_needs(trial, store)
    outcome = execute(trial, store)
    assert outcome.kind == "done", outcome.traceback
    mine, need = (
        Result(store, store.find(trial.key)),
        Result(store, store.find(trial.needs["base"].key)),
    )
    assert mine.metric("accuracy", task="t") == need.metric("accuracy", task="t")
    assert (
        mine.component("network", task="t").record.blob
        == need.component("network", task="t").record.blob
    )
