"""What spares commands that read and end the time for looking after their memory."""

from __future__ import annotations

import atexit
import gc
import sys

import pytest

from orchestrator.cli import main, sweeps
from orchestrator.cli.options import short_lived


def test_a_short_lived_command_collects_no_garbage_and_leaves_it_on_for_others():
    seen = []
    short_lived(lambda: seen.append(gc.isenabled()))()
    assert (seen, gc.isenabled()) == ([False], True)


def test_garbage_is_collected_again_behind_a_command_that_fails():
    def fails():
        raise ValueError

    with pytest.raises(ValueError):
        short_lived(fails)()
    assert gc.isenabled()


@pytest.mark.parametrize("command", [sweeps.plan, sweeps.status, sweeps.results])
def test_commands_that_only_read_are_short_lived(command, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(sweeps.Where, "session", lambda *_: seen.append(gc.isenabled()))
    with pytest.raises(AttributeError):  # there is no session to go on with
        command(sweep="none.py")
    assert seen == [False]


def test_a_process_that_ends_looks_for_no_garbage(monkeypatch):
    registered = []
    monkeypatch.setattr(atexit, "register", registered.append)
    monkeypatch.setattr(sys, "argv", ["spolia", "--help"])
    with pytest.raises(SystemExit):
        main()
    assert registered == [gc.freeze]
