"""What spares commands that read and end the time for looking after their memory."""

from __future__ import annotations

import atexit
import gc
import sys

import pytest

from orchestrator.cli import sweeps
from orchestrator.cli.options import short_lived


def test_a_short_lived_command_collects_no_garbage_and_leaves_it_on_for_others():
    seen = []
    short_lived(lambda: seen.append(gc.isenabled()))()
    assert (seen, gc.isenabled()) == ([False], True)


def test_garbage_is_collected_again_behind_a_command_that_fails():
    def fails():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        short_lived(fails)()
    assert gc.isenabled()


@pytest.mark.parametrize("command", [sweeps.plan, sweeps.status, sweeps.results])
def test_commands_that_only_read_are_short_lived(command, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(sweeps.Where, "session", lambda *_: seen.append(gc.isenabled()))
    with pytest.raises(AttributeError):  # there is no session to go on with
        command(sweep="none.py")
    assert seen == [False]


@pytest.mark.parametrize(("loaded", "times"), [({}, 1), ({"triton": None}, 0)])
def test_a_process_that_ends_goes_through_no_memory_unless_triton_counts_it(
    monkeypatch, loaded, times
):
    registered, frozen = [], []
    monkeypatch.setattr(atexit, "register", registered.append)
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(1))
    short_lived(lambda: None)()
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    for name, module in loaded.items():
        monkeypatch.setitem(sys.modules, name, module)
    registered[0]()
    assert (len(registered), len(frozen)) == (1, times)
