"""What is seen of a trial while it runs never ends it."""

from __future__ import annotations

import io
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from orchestrator import Store
from orchestrator.training import observation
from orchestrator.training.observation import PeakMemory, Reporter, leaving_log, printed
from orchestrator.training.stage import Moment


def ascii_console():
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


class BrokenPipe(io.StringIO):
    def write(self, text):
        raise BrokenPipeError("nobody reads")


@pytest.mark.parametrize("console", [io.StringIO, ascii_console, closed, BrokenPipe, lambda: None])
def test_a_trial_may_print_whatever_its_output_is(console, monkeypatch):
    monkeypatch.setattr(sys, "stdout", console())
    with printed() as lines:
        print("größer", flush=True)
        "größer".encode(sys.stdout.encoding, "replace")
    assert "".join(lines) == "größer\n"


def test_what_the_console_cannot_write_is_shown_as_far_as_it_can(monkeypatch):
    stream = ascii_console()
    monkeypatch.setattr(sys, "stdout", stream)
    with printed():
        print("größer")
    stream.flush()
    assert stream.buffer.getvalue() == b"gr??er\n"


def test_what_a_trial_has_printed_is_left_while_it_goes_on(store, monkeypatch):
    monkeypatch.setattr(observation, "FIRST_LOG", 0.01)
    monkeypatch.setattr(observation, "PROGRESS_EVERY", 0.01)
    lines = []
    with leaving_log(lines, "key", store):
        for word in ("one", "two"):
            lines.append(word)
            limit = time.monotonic() + 30
            while not store.log("key").endswith(word) and time.monotonic() < limit:
                time.sleep(0.01)
    assert store.log("key") == "onetwo"


def test_a_trial_that_is_over_in_a_moment_leaves_its_log_once(store, monkeypatch):
    monkeypatch.setattr(Store, "put_log", lambda *a: pytest.fail("a log was left"))
    with leaving_log(["said"], "key", store):
        pass


def test_how_far_a_trial_is_it_leaves_soon_and_then_every_so_often(store, monkeypatch):
    now = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time=lambda: 1e9 + now[0])
    monkeypatch.setattr(observation, "time", clock)
    reporter, reached = Reporter("key", store, began=1.0), []
    for epoch in range(1, 26):  # of a second each
        now[0] += 1
        curves = [SimpleNamespace(name="train/loss", step=epoch, value=0.5, time=now[0])]
        reporter(Moment("train", epoch, 25, curves, loss=1.5))
        found = store.progress("key")
        reached.append(found and found["epoch"])
    assert reached[:3] == [None, 2, 2]
    assert sorted(set(reached[1:])) == [2, 12, 22]
    assert (found["loss"], bool(found["host"])) == (1.5, True)
    assert found["pace"] == 1.0  # seconds an epoch
    now[0] += 100  # another stage is no slower for what lay between
    reporter(Moment("second", 3, 25, [], loss=1.5))
    assert store.progress("key")["pace"] is None
    now[0] += 10
    reporter(Moment("second", 5, 25, [], loss=1.5))
    assert store.progress("key")["pace"] == 5.0
    reporter.close()
    assert store.progress("key") is None


def test_the_peak_on_a_gpu_is_one_trials_own(monkeypatch):
    """Also with a numbered device, of which torch knows nothing before it has begun."""
    calls, device = [], torch.device("cuda:1")
    for name, value in [
        ("init", None),
        ("reset_peak_memory_stats", None),
        ("memory_allocated", 100),
        ("max_memory_allocated", 150),
    ]:
        monkeypatch.setattr(
            torch.cuda, name, lambda *on, name=name, value=value: calls.append((name, *on)) or value
        )
    assert PeakMemory(device).read()["gpu"] == 50
    assert calls == [
        ("init",),
        ("reset_peak_memory_stats", device),
        ("memory_allocated", device),
        ("max_memory_allocated", device),
    ]
