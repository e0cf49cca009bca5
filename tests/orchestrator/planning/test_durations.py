"""How long what is left takes, from what has ended: by method and size, in sums."""

from __future__ import annotations

import dataclasses
import time
from types import SimpleNamespace

import pytest
from sample_methods import Count

from orchestrator import Method, Run, Sweep, axis, make_plan, product, union
from orchestrator.planning.durations import Durations, size_of
from orchestrator.planning.queue import Queue
from orchestrator.planning.remainder import Left
from orchestrator.session.display import Tally
from orchestrator.session.under_way import UnderWay
from orchestrator.training.outcome import Outcome


class Long(Method):
    """Trains for so many epochs, if anybody ran it."""

    name = "long"
    uses = frozenset({"seed"})

    epochs: int = axis(10)
    retrain_epochs: int = axis(0)
    parts: tuple[str, ...] = axis(())

    def train(self, run: Run) -> None:
        raise AssertionError("nobody runs it")


def queue_of(store, cells, at_once=1):
    sweep = Sweep(question="?", cells=cells, expect=len(cells))
    queue = Queue(make_plan("asked", sweep, store))
    queue.at_once = at_once
    return queue


def size(store, **settings):
    (trial,) = queue_of(store, product(Long.grid(**settings), seed=0)).trials.values()
    return size_of(trial)


def finish(queue, seconds, kind="done", where=lambda trial: True):
    """End the next trial that is so; others that are taken on the way run on."""
    while not where(trial := queue.take()):
        pass
    queue.finish(Outcome(trial.key, kind, seconds))
    return trial


def test_the_first_that_finishes_tells_what_others_of_its_length_take_and_longer_ones(store):
    queue = queue_of(store, product(Long.grid(epochs=[10, 100]), seed=range(3)))
    assert queue.left.all() == Left(0.0, num_unknown=6)
    finish(queue, 2.0, where=lambda trial: trial.method.epochs == 10)
    # Two of 10 epochs, three of ten times as many.
    assert queue.left.all() == (pytest.approx(2 * 2.0 + 3 * 20.0), 3, 0)
    assert Tally(queue).time_left() == "about 1 min 04 s left"
    # Once one of them has ended, it counts itself.
    finish(queue, 30.0, where=lambda trial: trial.method.epochs == 100)
    assert queue.left.all() == Left(pytest.approx(2 * 2.0 + 2 * 30.0))


def test_between_two_lengths_and_beyond_a_fixed_part_is_told_from_that_of_each_epoch(store):
    queue = queue_of(store, product(Long.grid(epochs=[1, 11, 101]), seed=range(2)))
    for epochs, seconds in (1, 3.0), (11, 5.0):  # 2.8 s, and 0.2 s an epoch
        finish(queue, seconds, where=lambda trial, epochs=epochs: trial.method.epochs == epochs)
    # Not 101 times three seconds, nor nine times five.
    assert queue.left.all() == (pytest.approx(3.0 + 5.0 + 2 * 23.0), 2, 0)


@pytest.mark.parametrize(
    ("seconds", "line"), [((5.0, 3.0), (4.0, 0.0)), ((1.0, 20.0), (0.0, 21 / 12))]
)
def test_neither_part_of_a_line_is_negative(store, seconds, line):
    durations = Durations()
    for epochs, took in zip((1, 11), seconds, strict=True):
        durations.took(size(store, epochs=epochs), took)
    assert durations.line(size(store, epochs=100)) == pytest.approx(line)


def test_trials_with_as_many_things_to_do_are_asked_before_others(store):
    durations = Durations()
    durations.took(size(store, epochs=10, parts=("a",)), 100.0)
    assert durations.expected(size(store, epochs=20)) == 200.0  # better than nothing
    durations.took(size(store, epochs=10), 1.0)
    assert durations.expected(size(store, epochs=20)) == 2.0


def test_one_that_runs_foretells_what_others_of_its_size_take_until_one_has_ended(
    store, monkeypatch
):
    clock = SimpleNamespace(monotonic=lambda: 50.0, time=lambda: 1000.0)
    monkeypatch.setattr("orchestrator.session.display.time", clock)
    queue = queue_of(store, product(Long.grid(epochs=100), seed=range(4)), at_once=2)
    tally = Tally(queue)
    first, second = queue.take(), queue.take()
    for trial in first, second:
        tally.started(trial)
    assert tally.time_left() == ""
    told = UnderWay(first.key, first.label, "train", 5, 100, 1000.0, 1005.0, pace=0.5)
    tally.heard(told)
    # 5 s so far and 95 epochs of half a second: 52.5 s each, two after another on two slots.
    left = tally.left()
    assert (left.seconds, left.num_guessed, left.num_unknown) == (
        pytest.approx(105.0, abs=1),
        0,
        0,
    )
    # Another on a slow machine runs longer by itself; others go by what ended.
    tally.heard(dataclasses.replace(told, key=second.key, pace=1.0))
    assert tally.expected(second.key) == pytest.approx(100.0, abs=1)
    queue.finish(Outcome(first.key, "done", 40.0))
    tally.ended(Outcome(first.key, "done", 40.0))
    # Two of 40 s one after another on the other slot end before it.
    assert tally.left().seconds == pytest.approx(100.0, abs=1)
    assert queue.left.all().seconds == pytest.approx(3 * 40.0)


def test_a_stage_among_several_foretells_nothing(store):
    cells = product(Long.grid(epochs=100, retrain_epochs=50), seed=0)
    queue = queue_of(store, cells)
    tally, trial = Tally(queue), queue.take()
    tally.started(trial)
    now = time.time()
    tally.heard(UnderWay(trial.key, trial.label, "train", 50, 100, now, now + 5, pace=0.5))
    assert tally.time_left() == ""


def test_of_another_method_nothing_is_known_and_that_is_said(store):
    cells = union(product(Long.grid(), seed=range(2)), product(Count.grid(), seed=range(3)))
    queue = queue_of(store, cells)
    finish(queue, 5.0, where=lambda trial: trial.method.name == "long")
    assert queue.left.all() == Left(5.0, num_unknown=3)
    assert Tally(queue).time_left() == "over 5 s left"


def test_what_ended_early_tells_nothing_of_how_long_others_take(store):
    queue = queue_of(store, product(Long.grid(), seed=range(3)))
    finish(queue, 0.1, kind="diverged")
    assert queue.left.all() == Left(0.0, num_unknown=2)


def test_sums_are_those_of_a_fresh_count_however_trials_end(store):
    cells = product(Long.grid(epochs=[1, 2, 3], parts=[(), ("a",)]), seed=range(4))
    queue = queue_of(store, cells)
    durations = Durations()
    for number in range(15):
        trial = finish(queue, 1.0 + number % 4, kind="diverged" if number % 5 == 4 else "done")
        if number % 5 != 4:
            durations.took(size_of(trial), 1.0 + number % 4)
    left = [durations.expected(size_of(t)) for k, t in queue.trials.items() if k not in queue.ended]
    assert queue.left.all().seconds == pytest.approx(sum(left))
    assert queue.left.number == len(left) == 9


def test_trials_with_other_counts_of_things_are_of_another_size(store):
    plain = size(store, epochs=3, retrain_epochs=2)
    more = size(store, epochs=3, retrain_epochs=2, parts=("a", "b"))
    assert (plain.length, plain.counts) == (5.0, (0,))
    assert (more.length, more.counts) == (5.0, (2,))
    assert plain.group == more.group


def test_what_this_run_shows_counts_before_what_earlier_ones_took(store):
    earlier, one = Durations(), size(store)
    earlier.took(one, 100.0)
    now = Durations(earlier)
    assert now.expected(one) == 100.0
    now.took(one, 1.0)
    assert now.expected(one) == 1.0


def test_at_the_end_the_time_left_is_that_of_those_that_still_run(store, monkeypatch):
    queue = queue_of(store, product(Long.grid(), seed=range(3)), at_once=4)
    tally = Tally(queue)
    finish(queue, 60.0)
    for _ in range(2):
        tally.started(queue.take())
    # Two run on four slots: as long as each of them, not half of that.
    assert tally.time_left() == "1 min 00 s left"
