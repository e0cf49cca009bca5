"""What is seen of a trial while it runs never ends it."""

from __future__ import annotations

import io
import sys

import pytest

from orchestrator.training.observation import printed


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
