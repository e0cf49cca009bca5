"""What is held of data sets, on a GPU and in memory; the device `meta` stands for a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from orchestrator import Store, Trial, digits, in_order, noise, normal, pasted, randint
from orchestrator.data import batches
from orchestrator.data.batches import Feed, brought, one_trial, tensors
from orchestrator.data.held import Budget, Held, Kept, is_same
from orchestrator.data.resolve import resolve, resolve_task
from orchestrator.training import execute as executing
from orchestrator.training.execute import execute

CPU, META, CUDA = torch.device("cpu"), torch.device("meta"), torch.device("cuda")


@pytest.fixture
def task(store):
    return resolve_task(digits.classes(0, 1).images(limit=60), store)


@pytest.fixture(autouse=True)
def _nothing_held():
    batches._SETS.give_up()
    yield
    batches._SETS.give_up()


def held_of(sizes, device=CPU):
    held = Held(3)
    for key, size in sizes.items():
        held.get(key, lambda key=key, size=size: Kept(key.upper(), device, size))
    return held


def fails():
    pytest.fail("it was made again")


def test_what_is_asked_for_again_is_not_made_again_and_the_longest_unused_is_given_up():
    held = held_of({"a": 1, "b": 1, "c": 1})
    assert held.get("a", fails) == "A"
    held.get("d", lambda: Kept("D", CPU, 1))
    assert [held.get(key, fails) for key in "acd"] == ["A", "C", "D"]
    assert held.get("b", lambda: Kept("new", CPU, 1)) == "new"


def test_of_what_is_in_memory_the_last_used_stay_within_the_bytes():
    held = held_of({"a": 5, "b": 4, "c": 3})
    held.give_up(8)
    assert held.size_on(CPU) == 7
    assert [held.get(key, fails) for key in "bc"] == ["B", "C"]


def test_what_is_given_up_takes_no_room_from_the_others():
    held = held_of({"small": 3, "large": 9})
    held.get("on the device", lambda: Kept("on the device", META, 100))
    held.give_up(8)
    assert held.get("small", fails) == "SMALL"
    assert (held.size_on(CPU), held.size_on(META)) == (3, 0)


def test_nothing_stays_on_a_device():
    held = held_of({"a": 5}, META)
    assert (held.size_on(META), held.size_on(CPU)) == (5, 0)
    held.give_up(10**9)
    assert held.size_on(META) == 0


def test_two_names_of_one_device():
    assert is_same(CUDA, torch.device("cuda:0"))
    assert not is_same(CUDA, torch.device("cuda:1"))
    assert not is_same(CUDA, CPU)
    assert is_same(CPU, torch.device("cpu"))


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of 1,000 bytes: free ones, and what torch has taken of it and uses."""
    memory = SimpleNamespace(free=800, reserved=200, used=150)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (memory.free, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: memory.reserved)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: memory.used)
    return memory


def test_sets_take_half_of_what_is_free_or_set_aside(gpu):
    budget = Budget()
    assert budget.room(CUDA, 0) == 425  # of 800 and 50
    assert budget.room(CUDA, 100) == 375  # of 950
    gpu.free = 100
    assert budget.room(CUDA, 0) == 75
    gpu.free = 800
    budget.share = 0.25
    assert budget.room(CUDA, 0) == 125
    assert budget.room(CUDA, 100) == 25
    budget.share = 2
    assert budget.room(CUDA, 0) == 425


def test_the_second_set_finds_the_room_that_the_first_left(task, monkeypatch):
    _, labels = tensors(task.train, CPU)
    size = len(labels) * (64 + 8)
    monkeypatch.setattr(batches._BUDGET, "room", lambda device, held: size + 10 - held)
    first, labels = tensors(task.train, META)
    assert not first.is_streamed
    assert batches._SETS.size_on(META) == size
    second, labels = tensors(task.test, META)
    assert second.is_streamed
    assert (labels.device, second.take(slice(2)).device) == (META, META)


def test_a_set_is_copied_to_a_device_piece_by_piece(monkeypatch):
    x, rows = np.arange(60, dtype=np.uint8).reshape(10, 1, 2, 3), np.array([7, 1, 2, 9, 0])
    monkeypatch.setattr(batches, "AT_ONCE", 13)  # two images
    assert torch.equal(batches._copied(x, rows, CPU), torch.from_numpy(x[rows]))


def test_behind_a_trial_nothing_lies_on_a_device_and_little_in_memory(task, monkeypatch):
    emptied = []

    def empty():
        emptied.append(batches._SETS.size_on(META))
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", empty)
    with one_trial(0.5):
        assert batches._BUDGET.share == 0.5
        for device in (CPU, META):
            tensors(task.resized(12).train, device)
        assert batches._SETS.size_on(META) > 0
    assert batches._BUDGET.share == 1.0
    assert emptied == [0]
    assert batches._SETS.size_on(CPU) > 0
    monkeypatch.setattr(batches, "BETWEEN_TRIALS", 10)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    with one_trial(1.0):
        pass
    assert batches._SETS.size_on(CPU) == 0


def test_a_trial_reads_within_its_share(store: Store, task, monkeypatch):
    from sample_methods import Looped

    seen = []

    def note(*arguments, **options):
        seen.append(batches._BUDGET.share)
        raise RuntimeError("enough")

    monkeypatch.setattr(executing, "_train_and_commit", note)
    trial = resolve(Trial(method=Looped(epochs=1), tasks=(task,), seed=0), store)
    execute(trial, store, gpus=0.25)
    assert seen == [0.25]


# ---------------------------------------------------------------------- streams


def test_a_streamed_set_is_read_without_asking_the_device_for_positions(task, monkeypatch):
    monkeypatch.setattr(batches, "_fits", lambda size, device: False)
    indices = []
    take = batches.Pixels.take
    monkeypatch.setattr(
        batches.Pixels, "take", lambda self, index: indices.append(index) or take(self, index)
    )
    data = task.train.labelled(odd=(0, 1))
    feed = Feed(data.augmented("crop and flip"), name="d", seed=0, stage="s", device=META)
    (batch, *_) = feed.epoch(0, 2, 16)
    assert {index.device for index in indices} == {CPU}
    assert (batch.x.device, batch.x.shape) == (META, (16, 1, 8, 8))
    assert (batch.y.device, batch.odd.device) == (META, META)


def test_masks_are_streamed_with_their_images(store, monkeypatch):
    whole = pasted(digits).classes(0).images(limit=12).validation(0).foreground()
    task = resolve_task(whole, store)
    monkeypatch.setattr(batches, "_fits", lambda size, device: False)
    _, masks = tensors(task.train, META)
    assert masks.device == CPU
    feed = Feed(task.train, name="d", seed=0, stage="s", device=META)
    (batch,) = feed.epoch(0, 1, 4)
    assert (batch.x.device, batch.y.device, batch.y.dtype) == (META, META, torch.int64)
    (x, y), *_ = in_order(task.train, META, 4)
    assert (x.device, y.device, len(y)) == (META, META, 4)


def test_a_batch_does_not_wait_for_its_way_to_a_gpu():
    def to(device, non_blocking=False):
        return (device.type, non_blocking)

    pinned = SimpleNamespace(to=to)
    batch = SimpleNamespace(device=CPU, pin_memory=lambda: pinned, to=to)
    assert brought(batch, CUDA) == ("cuda", True)
    assert brought(batch, CPU) == ("cpu", False)
    there = SimpleNamespace(device=torch.device("cuda:0"), to=to)
    assert brought(there, CUDA) == ("cuda", False)


class Named:
    """A generator that only knows where it is and what it was seeded with."""

    def __init__(self, device="cpu"):
        self.device = torch.device(device)

    def manual_seed(self, seed):
        self.seed = seed
        return self


def test_noise_is_drawn_on_the_device_from_a_stream_with_a_name(monkeypatch):
    drawn = []

    def randn(shape, *, generator, device):
        drawn.append((tuple(shape), generator.device, device, generator.seed))
        return torch.empty(shape, device=device)

    data = noise(3, 2, images=8).drawing(jitter=normal(5), turn=randint(4))
    feed = Feed(data, name="d", seed=0, stage="s", device=META)
    monkeypatch.setattr(torch, "Generator", Named)
    monkeypatch.setattr(torch, "randn", randn)
    monkeypatch.setattr(torch, "randint", lambda high, size, generator: torch.zeros(size))
    assert len(list(feed.epoch(0, 2, 4))) == 2
    assert [shape for shape, *_ in drawn] == [(4, 3, 2), (4, 5)] * 2
    assert {(generator, device) for _, generator, device, _ in drawn} == {(META, META)}
    assert len({seed for *_, seed in drawn}) == 2
