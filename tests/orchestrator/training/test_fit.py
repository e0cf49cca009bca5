"""The fit engine: what a loss gets, what is refused, what is measured, and that stopping leaves no
trace.
"""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from methods.fine_tune import FineTune
from methods.networks import resnet8, small_vgg
from orchestrator import (
    InputError,
    MethodError,
    Parameters,
    Run,
    Store,
    Trial,
    adam,
    constant,
    cosine,
    digits,
    drops,
    in_order,
    one_cycle,
    randint,
    resolve,
    sgd,
)
from orchestrator.data.augmenting import draw_changes
from orchestrator.data.batches import Feed
from orchestrator.errors import Diverged
from orchestrator.training.kernels import without_faulty_kernels

CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


def make_run(tmp_path, network=None, seed=0, limit=80):
    tasks = tuple(
        digits.classes(*range(5)).images(i, of=2, limit=limit).named("ab"[i]) for i in range(2)
    )
    return Run(
        resolve(
            Trial(method=FineTune(), network=network or resnet8(width=4), tasks=tasks, seed=seed),
            Store(tmp_path),
        ),
        {},
    )


def own(nets, batch):
    return F.cross_entropy(nets["net"](batch.x), batch.y)


FAST = {"optimizer": sgd(0.05), "epochs": 2, "batch": 16}


def test_training_learns_real_digits(tmp_path):
    run = make_run(tmp_path, limit=None)
    net = run.network("net")
    before = run.accuracy(net, run.tasks[0].test)
    run.fit(
        "train",
        {"net": net},
        own,
        run.tasks[0].train,
        optimizer=sgd(0.1),
        schedule=one_cycle(),
        epochs=8,
        batch=32,
    )
    assert before < 0.5
    assert run.accuracy(net, run.tasks[0].test) > 0.9


def test_named_losses_are_summed_and_logged_by_name(run):
    seen = []

    def loss(nets, batch):
        value = own(nets, batch)
        seen.append(float(value.detach()))
        return {"one": value, "two": 2 * value}

    fit = run.fit("train", {"net": run.network("net")}, loss, run.tasks[0].train, **FAST)
    one = [p.value for p in fit.curves if p.name == "train/one"]
    two = [p.value for p in fit.curves if p.name == "train/two"]
    assert one[0] == pytest.approx(sum(seen[: fit.steps // 2]) / (fit.steps // 2))
    assert two == pytest.approx([2 * v for v in one])


def test_a_mapping_of_data_gives_a_mapping_of_batches_and_the_shorter_cycles(run):
    sizes = []

    def loss(nets, batch):
        sizes.append({name: len(b) for name, b in batch.items()})
        return sum(own(nets, b) for b in batch.values())

    short = run.tasks[1].train
    short = type(short)(task=short.task, part="validation")
    fit = run.fit(
        "train",
        {"net": run.network("net")},
        loss,
        {"long": run.tasks[0].train, "short": short},
        **FAST,
    )
    assert fit.steps == 2 * (70 // 16)
    assert sizes == [{"long": 16, "short": 16}] * fit.steps


def test_declared_draws_and_labels_come_in_the_batch(run):
    seen = []

    def loss(nets, batch):
        assert torch.equal(batch.odd, torch.where(batch.y == 0, -100, batch.y % 2))
        seen.append(batch.turn)
        return own(nets, batch)

    data = run.tasks[0].train.drawing(turn=randint(4)).labelled(odd=(-100, 1, 0, 1, 0))
    run.fit("train", {"net": run.network("net")}, loss, data, **FAST)
    assert set(torch.cat(seen).tolist()) == {0, 1, 2, 3}


def test_what_was_not_declared_is_named(run):
    with pytest.raises(AttributeError, match=r"the batch has no 'rotation', only x, y.*drawing"):
        run.fit(
            "train",
            {"net": run.network("net")},
            lambda nets, b: b.rotation.sum(),
            run.tasks[0].train,
            **FAST,
        )


def feed(run, name="data", **kwargs):
    return Feed(
        kwargs.pop("data", run.tasks[0].train),
        name=name,
        seed=kwargs.pop("seed", 0),
        stage="s",
        device=CPU,
    )


def order(feed, epoch=0):
    return torch.cat([b.y for b in feed.epoch(epoch, 4, 16)]).tolist()


def test_order_is_named_by_seed_name_and_epoch(run):
    assert order(feed(run)) == order(feed(run))
    orders = [
        order(feed(run)),
        order(feed(run), 1),
        order(feed(run, "other")),
        order(feed(run, seed=1)),
    ]
    assert len({tuple(o) for o in orders}) == 4
    shared = run.tasks[0].train.ordered("shared")
    assert order(feed(run, "one", data=shared)) == order(feed(run, "two", data=shared))


def test_a_draw_does_not_move_the_order(run):
    assert order(feed(run)) == order(
        feed(run, data=run.tasks[0].train.drawing(turn=randint(4)).augmented("crop and flip"))
    )


def images(run, how, epoch=0, data=None):
    data = (data or run.tasks[0].train).augmented(how)
    return torch.cat([b.x for b in feed(run, data=data).epoch(epoch, 4, 16)])


def test_flip_mirrors_about_half_of_the_images(run):
    plain, flipped = images(run, "none"), images(run, "flip")
    same = [torch.equal(p, f) for p, f in zip(plain, flipped, strict=True)]
    assert 0.2 < sum(same) / len(same) < 0.8
    for p, f in zip(plain, flipped, strict=True):
        assert torch.equal(f, p) or torch.equal(f, p.flip(-1))


def test_crop_and_flip_also_moves_by_an_eighth_of_the_side(run):
    plain, moved = images(run, "none"), images(run, "crop and flip")
    blank, offsets = plain.min(), set()
    for before, after in zip(plain, moved, strict=True):
        padded = F.pad(before, (1, 1, 1, 1), value=float(blank))  # a pixel of the eight
        windows = {(i, j): padded[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)}
        fitting = [
            place
            for place, window in windows.items()
            if torch.allclose(after, window) or torch.allclose(after, window.flip(-1))
        ]
        assert fitting
        offsets.update(fitting)
    assert len(offsets) == 9


def test_a_random_resized_crop_is_a_part_of_the_image_scaled_up():
    """On images whose pixels say where they are, the part shows: a box inside, its sides alike."""
    size = 32
    rows = torch.arange(size).float().expand(size, size).t()
    x = torch.stack([rows, rows.t()]).expand(500, -1, -1, -1)  # each pixel's own row and column
    changes = draw_changes(
        "random resized crop",
        500,
        (size, size),
        lambda name: torch.Generator().manual_seed(len(name)),
        torch.device("cpu"),
    )
    top, left, tall, wide = changes.boxes.unbind(1)
    assert bool(((top >= 0) & (left >= 0) & (top + tall <= size) & (left + wide <= size)).all())
    area = tall * wide / size**2
    assert 0.05 < area.min() < 0.2  # 0.08, but for the rounding of sides
    assert area.max() > 0.9
    assert bool(((wide / tall > 0.7) & (wide / tall < 1.45)).all())
    cropped = changes.applied(x)
    assert cropped.shape == x.shape
    mirrored = changes.flips
    # Pixels of the middle, away from the borders: bilinear steps of the box's share of the size.
    step_down = (cropped[:, 0, 20, 16] - cropped[:, 0, 12, 16]) / 8
    step_right = (cropped[:, 1, 16, 20] - cropped[:, 1, 16, 12]) / 8
    assert torch.allclose(step_down, tall / size, atol=1e-3)
    assert torch.allclose(step_right * torch.where(mirrored, -1, 1), wide / size, atol=1e-3)
    centre = cropped[:, 0, 15:17, 16].mean(1)
    assert torch.allclose(centre, top + tall / 2 - 0.5, atol=1e-2)
    assert 0.4 < mirrored.float().mean() < 0.6


@pytest.mark.parametrize("how", ["flip", "crop and flip", "random resized crop"])
def test_augmentation_is_drawn_by_name_anew_in_each_epoch(run, how):
    first = images(run, how)
    assert torch.equal(images(run, how), first)
    ordered = run.tasks[0].train.ordered("own")
    assert not torch.equal(images(run, how, data=ordered), first)
    alike = order(feed(run), 0) == order(feed(run, data=run.tasks[0].train.augmented(how)), 0)
    assert alike, "augmentation moves the order of images"
    assert not torch.equal(images(run, how, epoch=1), first)
    assert not torch.equal(first, images(run, "none"))


def test_an_augmentation_that_does_not_exist_is_told_with_those_that_do(run):
    with pytest.raises(InputError, match=r"no augmentation 'flips'\. Did you mean 'flip'"):
        run.tasks[0].train.augmented("flips")


def test_pixels_are_normalised_by_the_training_set(run):
    x = torch.cat([x for x, _ in in_order(run.tasks[0].train, CPU)])
    assert abs(float(x.mean())) < 0.2
    assert abs(float(x.std()) - 1) < 0.2


# ---------------------------------------------------------------------- frozen nets and captured
# tensors


def test_a_frozen_net_keeps_its_bits_and_lets_gradients_through(run):
    net, teacher = run.network("net"), run.network("teacher")

    def loss(nets, batch):
        assert not nets["teacher"].training
        assert nets["net"].training
        return F.mse_loss(
            nets["teacher"](batch.x + 0 * nets["net"](batch.x).sum()), torch.zeros(len(batch), 5)
        ) + own(nets, batch)

    fit = run.fit(
        "train", {"net": net}, loss, run.tasks[0].train, frozen={"teacher": teacher}, **FAST
    )
    assert set(fit.frozen) == {"teacher"}
    assert all(p.requires_grad for p in teacher.parameters())
    assert all(p.grad is None for p in teacher.parameters())


def test_a_loss_that_writes_to_a_frozen_net_is_found_out(run):
    def loss(nets, batch):
        with torch.no_grad():
            nets["teacher"].last_layer.bias.add_(1)
        return own(nets, batch)

    with pytest.raises(MethodError, match="frozen net 'teacher' changed"):
        run.fit(
            "train",
            {"net": run.network("net")},
            loss,
            run.tasks[0].train,
            frozen={"teacher": run.network("teacher")},
            **FAST,
        )


def test_layers_that_are_trained_and_frozen_at_once_are_refused(run):
    net = run.network("net")
    with pytest.raises(MethodError, match="trained and frozen at once"):
        run.fit(
            "train",
            {"net": net},
            own,
            run.tasks[0].train,
            frozen={"head": net.head("pool")},
            **FAST,
        )


WEIGHT = torch.ones(1)


class Holder:
    def __init__(self, thing):
        self.thing = {"deep": [thing]}


def capturing_losses():
    teacher = nn.Linear(2, 2)
    tensor = torch.ones(1)
    holder = Holder(teacher)

    def helper(value):
        return value * tensor

    def nested(nets, batch):
        def inner():
            return own(nets, batch) * WEIGHT

        return inner()

    def by_default(nets, batch, weight=tensor):
        return own(nets, batch) * weight

    yield "closure", lambda nets, batch: own(nets, batch) + teacher.weight.sum(), "teacher"
    yield "tensor", lambda nets, batch: own(nets, batch) * tensor, "tensor"
    yield "global", lambda nets, batch: own(nets, batch) * WEIGHT, "WEIGHT"
    yield "nested", nested, "WEIGHT"
    yield (
        "object",
        lambda nets, batch: own(nets, batch) * holder.thing["deep"][0].weight.sum(),
        "holder",
    )
    yield "helper", lambda nets, batch: helper(own(nets, batch)), "tensor"
    yield "default", by_default, "by_default"
    yield "partial", functools.partial(lambda t, nets, batch: own(nets, batch), teacher), "Linear"


@pytest.mark.parametrize(
    ("name", "loss", "word"), list(capturing_losses()), ids=[n for n, _, _ in capturing_losses()]
)
def test_a_captured_tensor_is_refused_however_it_got_there(run, name, loss, word):
    with pytest.raises(MethodError, match=rf"captures.*{word}.*nets= or frozen="):
        run.fit("train", {"net": run.network("net")}, loss, run.tasks[0].train, **FAST)


def test_a_method_as_the_loss_is_fine(run):
    run.fit("train", {"network": run.network("net")}, FineTune().loss, run.tasks[0].train, **FAST)


# ---------------------------------------------------------------------- what cannot be meant


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number from 1"),
        ({"batch": 1.5}, "batch must be a whole number"),
        (
            {"optimizer": lambda p: sgd(0.1)(Parameters({"net.last": p["net.classifier.weight"]}))},
            "leaves out net.stem",
        ),
        (
            {
                "optimizer": lambda p: torch.optim.SGD(
                    [torch.nn.Parameter(torch.ones(1)), *p.values()], lr=0.1
                )
            },
            "holds 1 tensors",
        ),
        (
            {"optimizer": lambda p: None},
            "must return a torch optimizer, or a list of them, got NoneType",
        ),
        (
            {"optimizer": lambda p: [sgd(0.1)(p), "adam"]},
            "must return a torch optimizer, or a list of them, got str",
        ),
        (
            {"optimizer": lambda p: [sgd(0.1)(p), torch.optim.Adam(p.matching("*classifier*"))]},
            "holds net.classifier.weight, net.classifier.bias twice",
        ),
        ({"optimizer": lambda p: []}, "leaves out net.stem"),
        (
            {"optimizer": lambda p: torch.optim.SGD(p.matching("*nowhere*"), lr=0.1)},
            "no trainable parameter matches",
        ),
        ({"loss": lambda nets, b: nets["net"](b.x)}, r"one number, got shape \(16, 5\)"),
        ({"loss": lambda nets, b: 0.5}, "one number, got float"),
        ({"nets": {}}, "at least one net"),
    ],
)
def test_a_fit_that_cannot_be_meant_is_refused(run, changes, message):
    request = {"nets": {"net": run.network("net")}, "loss": own, **FAST, **changes}
    with pytest.raises(MethodError, match=message):
        run.fit("train", request.pop("nets"), request.pop("loss"), run.tasks[0].train, **request)


def test_the_test_part_is_not_touched_during_a_fit(run):
    task = run.tasks[0]
    with pytest.raises(MethodError, match="is the test part"):
        run.fit("train", {"net": run.network("net")}, own, task.test, **FAST)
    net = run.network("net")
    with pytest.raises(MethodError, match="not measured during a fit"):
        run.fit(
            "watched",
            {"net": net},
            own,
            task.train,
            watch=lambda: {"a": run.accuracy(net, task.test)},
            **FAST,
        )
    run.fit("allowed", {"net": net}, own, task.part("test", because="this is a test of it"), **FAST)


def test_a_stage_name_used_twice_is_refused(run):
    run.fit("train", {"net": run.network("net")}, own, run.tasks[0].train, **FAST)
    with pytest.raises(MethodError, match="'train' is used twice"):
        run.fit("train", {"net": run.network("net")}, own, run.tasks[0].train, **FAST)


def test_a_task_without_images_in_a_part_is_named(tmp_path):
    task = digits.validation(0)
    run = Run(
        resolve(
            Trial(method=FineTune(), network=resnet8(), tasks=(task,), seed=0), Store(tmp_path)
        ),
        {},
    )
    with pytest.raises(InputError, match="no validation image"):
        run.fit("train", {"net": run.network("net")}, own, run.tasks[0].validation_part, **FAST)


def test_a_loss_that_is_not_finite_ends_the_fit_at_its_epoch(run):
    def loss(nets, batch):
        return {"good": own(nets, batch), "bad": own(nets, batch) * float("inf")}

    with pytest.raises(Diverged, match="bad is not finite in epoch 1 of 2 of stage 'train'"):
        run.fit("train", {"net": run.network("net")}, loss, run.tasks[0].train, **FAST)


def test_weights_that_the_last_step_spoiled_end_the_fit_too(run):
    def steep(nets, batch):
        return 1e6 * own(nets, batch)

    with pytest.raises(Diverged, match="a weight is not finite in epoch 1 of 1"):
        run.fit(
            "train",
            {"net": run.network("net")},
            steep,
            run.tasks[0].train,
            optimizer=sgd(3e38),
            epochs=1,
            batch=72,
        )


# ---------------------------------------------------------------------- watching, groups, schedules


def test_watching_changes_nothing_and_comes_every_so_often(tmp_path):
    def weights(watch):
        run = make_run(tmp_path)
        net = run.network("net")
        fit = run.fit(
            "train",
            {"net": net},
            own,
            run.tasks[0].train,
            optimizer=sgd(0.05),
            epochs=5,
            batch=16,
            every=2,
            watch=(
                lambda: {
                    "val": run.accuracy(net, run.tasks[0].validation_part)
                    + 0 * torch.rand(1).item()
                }
            )
            if watch
            else None,
        )
        return net.state_dict(), [p.step for p in fit.curves if p.name == "train/val"]

    (plain, _), (watched, steps) = weights(False), weights(True)
    assert all(torch.equal(plain[k], watched[k]) for k in plain)
    assert steps == [2, 4, 5]


def test_parameter_groups_have_rates_of_their_own(run):
    net = run.network("net")
    before = {k: v.clone() for k, v in net.state_dict().items()}

    def groups(p):
        return torch.optim.SGD(
            [
                {"params": p.matching("*classifier*"), "lr": 0.1},
                {"params": p.other("*classifier*"), "lr": 0.0},
            ]
        )

    run.fit("train", {"net": net}, own, run.tasks[0].train, **{**FAST, "optimizer": groups})
    moved = {k for k, p in net.named_parameters() if not torch.equal(p, before[k])}
    assert moved == {"classifier.weight", "classifier.bias"}


def test_a_fit_on_a_few_images_sees_no_others(run):
    data = run.tasks[0].train.few(10, seed=run.seed)
    feed = Feed(data, name="data", seed=0, stage="train", device=CPU)
    chosen = {
        tuple(x.flatten().tolist())
        for x, _ in ((image, 0) for images, _ in in_order(data, CPU) for image in images)
    }
    seen = {tuple(x.flatten().tolist()) for batch in feed.epoch(0, 4, 10) for x in batch.x}
    assert (len(feed), len(chosen), seen) == (10, 10, chosen)


def two(p):
    return [
        torch.optim.SGD(p.other("*classifier*"), lr=0.05, momentum=0.9),
        torch.optim.Adam(p.matching("*classifier*"), lr=1e-3),
    ]


def test_several_optimisers_step_together_each_on_its_own_parameters(run):
    """Against a loop by hand over the same batches."""
    fitted, by_hand = run.network("net"), run.network("net")
    done = run.fit(
        "train",
        {"net": fitted},
        own,
        run.tasks[0].train,
        **{**FAST, "optimizer": two, "schedule": drops((0.5,))},
    )
    optimizers = two(Parameters({f"net.{n}": p for n, p in by_hand.named_parameters()}))
    by_hand.to(memory_format=torch.channels_last).train()
    feed = Feed(run.tasks[0].train, name="data", seed=run.seed, stage="train", device=CPU)
    with without_faulty_kernels([by_hand], CPU):
        for epoch in range(2):
            for batch in feed.epoch(epoch, done.steps // 2, 16):
                for optimizer, rate in zip(optimizers, (0.05, 1e-3), strict=True):
                    optimizer.param_groups[0]["lr"] = rate * (0.1 if epoch else 1.0)
                    optimizer.zero_grad()
                own({"net": by_hand}, batch).backward()
                for optimizer in optimizers:
                    optimizer.step()
    assert all(
        torch.equal(a, b)
        for a, b in zip(fitted.state_dict().values(), by_hand.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    "schedule", [constant(), cosine(warmup=0.1), one_cycle(), drops((0.5, 0.75))]
)
def test_schedules_are_finite_and_at_most_one(schedule):
    values = [schedule(i / 1000) for i in range(1001)]
    assert all(math.isfinite(v) and 0 <= v <= 1 for v in values)


@pytest.mark.slow
def test_one_cycle_is_torchs():
    parameter = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, total_steps=251, cycle_momentum=False
    )
    ours = one_cycle()
    for step in range(250):
        # Theirs counts steps, ours progress: the peaks are one step of 250 apart.
        assert 0.1 * ours(step / 250) == pytest.approx(optimizer.param_groups[0]["lr"], abs=3e-3)
        optimizer.step()
        theirs.step()


def test_drops_divide_where_they_say():
    assert [drops((0.5, 0.75))(p) for p in (0.0, 0.49, 0.5, 0.75)] == pytest.approx(
        [1, 1, 0.1, 0.01]
    )


def test_adams_first_step_moves_each_weight_by_the_rate_against_its_gradient(run):
    net, rate = run.network("net"), 1e-3
    before = net.classifier.weight.detach().clone()
    gradients = []

    def loss(nets, batch):
        value = own(nets, batch)
        (gradient,) = torch.autograd.grad(value, nets["net"].classifier.weight, retain_graph=True)
        gradients.append(gradient)
        return value

    once = {**FAST, "epochs": None, "steps": 1, "optimizer": adam(rate)}
    run.fit("train", {"net": net}, loss, run.tasks[0].train, **once)
    (gradient,) = gradients
    # The mean over the root of the mean square is the sign, where nothing came before.
    torch.testing.assert_close(
        net.classifier.weight, before - rate * gradient.sign(), atol=1e-6, rtol=0
    )


# ---------------------------------------------------------------------- initial weights


def test_the_same_start_gives_the_same_weights_and_other_names_others(run):
    one, same, other = run.network("x", start="s"), run.network("y", start="s"), run.network("z")
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True)
    )
    assert not torch.equal(one.stem[0].weight, other.stem[0].weight)


def test_classifier_rows_are_named_by_class(tmp_path):
    tasks = (digits.classes(0, 1, 2).named("a"), digits.classes(2, 7, 0).named("b"))
    run = Run(
        resolve(
            Trial(method=FineTune(), network=small_vgg(), tasks=tasks, seed=0), Store(tmp_path)
        ),
        {},
    )
    a, b = (run.network(t.name, t, start="one").last_layer.weight for t in run.tasks)
    assert torch.equal(a[0], b[2])
    assert torch.equal(a[2], b[0])
    assert not torch.equal(a[1], b[1])


def test_drawing_a_network_does_not_move_the_global_stream(run):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    run.network("net")
    assert torch.equal(torch.rand(1), expected)
