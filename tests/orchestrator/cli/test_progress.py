"""Live progress, on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys
import time

import pytest
from rich.console import Console
from sample_methods import Count

from orchestrator import Sweep, make_plan, product
from orchestrator.cli import show_what_can_be_shown
from orchestrator.cli.progress import Progress
from orchestrator.planning.queue import Queue
from orchestrator.planning.remainder import Left
from orchestrator.session.display import Tally
from orchestrator.session.under_way import News
from orchestrator.spec.wording import duration
from orchestrator.training.observation import printed
from orchestrator.training.outcome import Outcome


def shown(store, *, terminal, kinds, at_once=2):
    cells = product(Count.grid(), seed=range(len(kinds) + 1))
    queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=len(cells)), store))
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80, color_system=None)
    queue.at_once = at_once
    with Progress(console, queue, store) as progress:
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
    counts = "2 of 4 done · 1 failed · 0 running · 1 waiting · 0 s so far · 10 s left · "
    assert line.startswith(counts)
    assert line.endswith("/min")
    assert "the traceback" in printed
    assert (
        "\x1b[?25l" in printed
    ) == terminal  # a terminal's cursor is hidden while the line moves


def test_lines_without_a_terminal_count_what_runs_once_all_workers_are_busy(store, monkeypatch):
    monkeypatch.setattr("orchestrator.cli.progress.PLAIN_EVERY", 0.0)
    monkeypatch.setattr("orchestrator.cli.progress.PLAIN_SHARE", 0.0)
    _, printed = shown(store, terminal=False, kinds=["done", "done"])
    lines = [line for line in printed.splitlines() if " running" in line]
    assert [line.partition(" running")[0][-1] for line in lines[:2]] == ["1", "1"]
    assert len(lines) == 3  # one for each trial that starts, and the last one


def test_the_last_line_without_a_terminal_is_there_once(store, monkeypatch):
    monkeypatch.setattr("orchestrator.cli.progress.PLAIN_EVERY", 0.0)
    monkeypatch.setattr("orchestrator.cli.progress.PLAIN_SHARE", 0.0)
    cells = product(Count.grid(), seed=0)
    queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=1), store))
    console = Console(file=io.StringIO(), width=80)
    with Progress(console, queue, store) as progress:
        progress.ended(queue.finish(Outcome(queue.take().key, "done", 10.0)))
    assert console.file.getvalue().count("1 of 1 done") == 1


def test_only_the_first_failure_is_shown_in_full(store):
    _, printed = shown(store, terminal=False, kinds=["failed", "failed", "failed"])
    assert printed.count("the traceback") == 1


def test_nothing_is_estimated_before_anything_is_known(store):
    line, _ = shown(store, terminal=False, kinds=[])
    assert line == "0 of 1 done · 0 running · 1 waiting · 0 s so far"


def test_nothing_is_estimated_before_it_is_known_how_many_run_at_once(store):
    line, _ = shown(store, terminal=False, kinds=["done"], at_once=None)
    assert line.startswith("1 of 2 done · 0 running · 1 waiting · 0 s so far · ")
    assert " left" not in line


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
    progress = Progress(console, queue, store)
    trial = queue.take()
    progress.started(trial)
    progress.ended(queue.finish(Outcome(trial.key, "done", 10.0)))
    for name in ("trials", "ended", "blocked"):
        setattr(queue, name, Untouched(getattr(queue, name)))
    console.print(progress._render())
    text = console.file.getvalue()
    assert "0 s so far · 1 min 10 s left" in text
    assert "1 of 8 done · 0 running · 7 waiting" in text
    assert "3 count wait for count" in text


@pytest.fixture
def running(store):
    """A queue of four cells of one setting with two of them running, and the progress that shows
    it; the first has left what it has reached.
    """
    cells = product(Count.grid(number=[1, 2]), seed=range(2))
    queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=4), store))
    queue.at_once = 2

    def on(width, height, terminal=True):
        console = Console(
            file=io.StringIO(), force_terminal=terminal, width=width, height=height, record=True
        )
        progress = Progress(console, queue, store, ["more: elsewhere"])
        first, second = queue.take(), queue.take()
        progress.started(first)
        progress.started(second)
        reached = {"stage": "train", "epoch": 3, "epochs": 10, "host": "here", "began": time.time()}
        curves = [["train/loss", 2, 0.9, 1.0], ["train/loss", 3, 0.51234, 2.0]]
        store.put_progress(first.key, {**reached, "time": time.time(), "curves": curves})
        progress._news.look()
        return progress, console, first

    return on


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_what_runs_is_shown_with_key_epoch_loss_and_time_in_the_terminals_size(
    running, width, height
):
    progress, console, first = running(width, height)
    console.print(progress._render())
    lines = console.export_text().splitlines()
    (row,) = [line for line in lines if first.key[:8] in line]
    assert "count number=1 seed=0" in row
    assert "3/10  0.5123  0 s" in row
    assert ("train 3/10" in row) == (width == 120)
    assert max(map(len, lines)) <= width
    assert len(lines) < height
    assert lines[-1].rstrip() == "more: elsewhere"


def test_a_low_terminal_shows_as_many_of_those_that_run_as_fit_and_how_many_more(running):
    progress, console, _ = running(80, 12)
    console.print(progress._render())
    text = console.export_text()
    assert "and 1 more" in text
    assert text.count("count number=") == 1


def test_without_a_terminal_a_long_trial_is_no_silence(running, monkeypatch):
    monkeypatch.setattr("orchestrator.cli.progress.PLAIN_EVERY", 0.0)
    monkeypatch.setattr("orchestrator.cli.progress.PLAIN_SHARE", 0.0)
    progress, console, first = running(80, 24, terminal=False)
    progress._print_now_and_then()  # as its thread does while nothing starts or ends
    told = console.export_text()
    assert "0 of 4 done · 2 running · 2 waiting · 0 s so far" in told
    assert f"  {first.key[:12]}  count number=1 seed=0: train 3/10, loss 0.5123" in told


def test_lines_without_a_terminal_become_rarer_in_a_long_run(running, monkeypatch):
    progress, console, _ = running(80, 24, terminal=False)
    for hours, is_told in ((0.01, False), (0.01, True), (1, False), (1, True)):
        progress._began = time.monotonic() - hours * 3600
        progress._last_line = time.monotonic() - (20 if not is_told else 200)
        console.export_text()
        progress._print_now_and_then()
        # After half a minute of run every 10 seconds, after an hour every three minutes.
        assert bool(console.export_text()) == (is_told or hours < 0.1)


def test_what_is_prepared_is_told_until_a_trial_is_heard_of(store):
    cells = product(Count.grid(), seed=0)
    queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=1), store))
    console = Console(file=io.StringIO(), force_terminal=True, width=80, record=True)
    progress = Progress(console, queue, store)
    progress._news.is_silent = False  # Ray is started a second time
    progress.preparing("starting Ray")
    console.print(progress._render())
    assert "starting Ray ..." in console.export_text()
    progress.started(trial := queue.take())
    progress.ended(queue.finish(Outcome(trial.key, "done", 1.0)))
    console.print(progress._render())
    assert "starting Ray" not in console.export_text()


def test_without_a_terminal_what_is_prepared_is_a_line(store):
    cells = product(Count.grid(), seed=0)
    queue = Queue(make_plan("asked", Sweep(question="?", cells=cells, expect=1), store))
    console = Console(file=io.StringIO(), width=80)
    Progress(console, queue, store).preparing("starting Ray")
    assert console.file.getvalue() == "starting Ray\n"


def test_what_an_earlier_try_has_left_is_no_news(store):
    cells = product(Count.grid(), seed=0)
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=1), store)
    (trial,) = plan.todo
    left = {"stage": "train", "epoch": 3, "epochs": 10, "began": 0.0, "time": 1000.0, "curves": []}
    store.put_progress(trial.key, left)
    news = News(store, lambda: {trial.key: (trial, 2000.0)})
    news.look()
    assert (news.of(trial.key), news.is_silent) == (None, True)
    news = News(store, lambda: {trial.key: (trial, 1000.0)})
    news.look()
    assert (news.of(trial.key).epoch, news.is_silent) == (3, False)


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
    assert tally.left() == Left(12.0)
    assert list(tally.running(9)) == [lost.key]
    queue.put_back(lost.key)
    assert tally.left() == Left(20.0)
    assert not tally.running(9)


def test_the_picture_moves_while_a_trial_in_this_process_has_the_standard_output(
    store, monkeypatch
):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    queue = Queue(
        make_plan(
            "asked", Sweep(question="?", cells=product(Count.grid(), seed=[0]), expect=1), store
        )
    )
    console = Console(force_terminal=True, width=80, color_system=None)
    with Progress(console, queue, store) as progress:
        progress.started(queue.take())
        with printed() as kept:
            drawn = screen.getvalue().count("so far")
            print("the trial's")
            for _ in range(100):
                if screen.getvalue().count("so far") >= drawn + 3:
                    break
                time.sleep(0.1)
            in_time = screen.getvalue()
    assert in_time.count("so far") >= drawn + 3
    assert in_time.count("the trial's") == 1
    assert kept == ["the trial's", "\n"]
    assert console.file is screen
    monkeypatch.undo()
    assert console.file is sys.stdout
