"""Live progress, on a terminal and elsewhere."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console
from sample_methods import Count

from orchestrator import Sweep, make_plan, product
from orchestrator.cli import show_what_can_be_shown
from orchestrator.cli.progress import Progress
from orchestrator.planning.queue import Queue
from orchestrator.session.display import Tally
from orchestrator.spec.wording import duration
from orchestrator.training.outcome import Outcome


def shown(store, *, terminal, kinds, at_once=2):
    cells = product(Count.grid(), seed=range(len(kinds) + 1))
    queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=len(cells)), store))
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80, color_system=None)
    queue.at_once = at_once
    with Progress(console, queue) as progress:
        for kind in kinds:
            trial = queue.take()
            progress.started(trial)
            outcome = Outcome(trial.key, kind, 10.0, "the reason", "the traceback\n")
            queue.finish(outcome)
            progress.ended(outcome)
        line = progress.line()
    return line, console.file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_counts_and_estimates(store, terminal):
    line, printed = shown(store, terminal=terminal, kinds=["done", "done", "failed"])
    assert line.startswith("2 of 4 done · 1 failed · 0 running · 1 waiting · 5 s left · ")
    assert line.endswith("/min")
    assert len(line) <= 80
    assert "the traceback" in printed
    assert (
        "\x1b[?25l" in printed
    ) == terminal  # a terminal's cursor is hidden while the line moves


def test_lines_without_a_terminal_count_what_runs_once_all_workers_are_busy(store, monkeypatch):
    monkeypatch.setattr("orchestrator.cli.progress.PLAIN_EVERY", 0.0)
    _, printed = shown(store, terminal=False, kinds=["done", "done"])
    lines = [line for line in printed.splitlines() if " running" in line]
    assert [line.partition(" running")[0][-1] for line in lines[:2]] == ["1", "1"]
    assert len(lines) == 3  # one for each trial that starts, and the last one


def test_only_the_first_failure_is_shown_in_full(store):
    _, printed = shown(store, terminal=False, kinds=["failed", "failed", "failed"])
    assert printed.count("the traceback") == 1


def test_nothing_is_estimated_before_anything_is_known(store):
    line, _ = shown(store, terminal=False, kinds=[])
    assert line == "0 of 1 done · 0 running · 1 waiting"


def test_nothing_is_estimated_before_it_is_known_how_many_run_at_once(store):
    line, _ = shown(store, terminal=False, kinds=["done"], at_once=None)
    assert line.startswith("1 of 2 done · 0 running · 1 waiting · ")
    assert " left" not in line


def test_a_trial_that_waits_again_has_nothing_behind_it(store, monkeypatch):
    cells = product(Count.grid(), seed=range(3))
    queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=3), store))
    clock = [0.0]
    monkeypatch.setattr("orchestrator.session.display.time.monotonic", lambda: clock[0])
    queue.at_once, tally = 1, Tally(queue)
    done, lost = queue.take(), queue.take()
    for trial in (done, lost):
        tally.started(trial)
    clock[0] = 8.0
    tally.ended(queue.finish(Outcome(done.key, "done", 10.0)))
    assert tally.seconds_left() == 12.0
    queue.put_back(lost.key)
    assert tally.seconds_left() == 20.0


def test_a_run_of_long_trials_shows_that_it_lives_without_a_terminal(store, monkeypatch):
    monkeypatch.setattr("orchestrator.cli.progress.QUIET_FOR", 0.01)
    cells = product(Count.grid(), seed=range(2))
    queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=2), store))
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    with Progress(console, queue) as progress:
        progress.started(queue.take())
        deadline = time.monotonic() + 30
        while "1 running" not in console.file.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "0 of 2 done · 1 running · 1 waiting" in console.file.getvalue()


class Untouched(dict):
    """Whose length may be asked for, and its values one by one, but nobody goes through it."""

    def __iter__(self):
        raise AssertionError("somebody went through all of them")

    keys = values = items = __iter__


def test_no_list_of_trials_is_gone_through_to_draw_the_progress(store):
    cells = product(Count.grid(depth=1), seed=range(4))
    queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=4), store))
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    queue.at_once = 1
    progress = Progress(console, queue)
    trial = queue.take()
    progress.started(trial)
    progress.ended(queue.finish(Outcome(trial.key, "done", 10.0)))
    for name in ("trials", "ended", "blocked"):
        setattr(queue, name, Untouched(getattr(queue, name)))
    progress._waits = (-10.0, [])  # what was drawn when it was made is still young
    console.print(progress._render())
    text = console.file.getvalue()
    assert "1 of 8 done · 0 running · 7 waiting · 1 min 10 s left" in text
    assert "3 count wait for count" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.4, "3 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_a_stream_that_lacks_a_letter_shows_a_question_mark_and_ends_nothing():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show_what_can_be_shown(stream, None, io.StringIO())
    Console(file=stream, width=40).print("2 of 2 done · 0.5 ±0.1")
    stream.flush()
    assert stream.buffer.getvalue() == b"2 of 2 done ? 0.5 ?0.1\n"
