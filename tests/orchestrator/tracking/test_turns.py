"""Processes that write one SQLite take turns; and while many runs wait, the trials come first."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading

import pytest

from orchestrator.tracking.turns import fcntl

WRITER = """
import sys
from sqlalchemy import create_engine, text
from orchestrator.tracking.turns import take_turns
database, turns, name = sys.argv[1:]
take_turns(turns)
engine = create_engine(f"sqlite:///{database}", connect_args={"timeout": 0})
for number in range(40):
    with engine.begin() as connection:
        connection.execute(text("insert into written values (:name)"), {"name": name})
"""


@pytest.mark.process
@pytest.mark.skipif(fcntl is None, reason="takes turns by flock, which this system has not")
def test_processes_that_take_turns_never_find_the_database_locked(tmp_path):
    """With a time-out of nothing, by which a second writer gets an error at once."""
    import subprocess

    database = tmp_path / "one.db"
    with sqlite3.connect(database) as connection:
        connection.execute("create table written (name text)")
    command = [sys.executable, "-c", WRITER, str(database), str(tmp_path / "turn")]
    processes = [
        subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in "abc"
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    with sqlite3.connect(database) as connection:
        counted = connection.execute("select name, count(*) from written group by name").fetchall()
    assert dict(counted) == {"a": 40, "b": 40, "c": 40}


@pytest.mark.mlflow
def test_what_follows_the_trials_is_told_from_them():
    """Tables take seconds, in which MLflow need not wait."""
    from orchestrator.tracking import process

    goes_on, told = threading.Event(), []

    def stream():
        yield '{"finished": "a"}\n'
        yield '{"trials_ended": true}\n'
        assert goes_on.wait(60)
        yield '{"finished": "b"}\n'
        yield '{"summary": '  # half a line, of a driver that was killed

    inbox = process.Inbox(stream(), lambda: told.append("ended"))
    assert inbox.trials_have_ended.wait(60)
    assert not inbox.has_ended.is_set()
    goes_on.set()
    batches = [message for batch in inbox.batches(60) for message in batch]
    assert batches == [{"finished": "a"}, {"finished": "b"}]
    assert (told, inbox.has_ended.is_set()) == (["ended"], True)


@pytest.mark.mlflow
def test_while_many_wait_most_of_the_time_is_the_trials(monkeypatch):
    from orchestrator.tracking import process

    ended, now, pauses = threading.Event(), [0.0], []

    def stream():
        yield from (json.dumps({"finished": str(number)}) for number in range(130))
        assert ended.wait(60)

    inbox = process.Inbox(stream(), lambda: None)
    monkeypatch.setattr(process.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(inbox.trials_have_ended, "wait", pauses.append)
    while inbox._messages.qsize() < 130:
        pass
    sizes = []
    for batch in inbox.batches(1.0):
        sizes.append(len(batch))
        now[0] += 2.0  # as long as it takes to write them
        if sum(sizes) == 130:
            ended.set()
    # 110 are left after the first batch, and 90 after the second.
    assert (sizes[:7], pauses) == ([20] * 6 + [10], [pytest.approx(18.0)])


@pytest.mark.mlflow
def test_helping_processes_end_with_a_writer_that_is_killed(monkeypatch):
    """A pool's processes wait for more for ever, and have the database open."""
    from orchestrator.tracking import helpers
    from orchestrator.tracking.patience import TrackingError

    class Writer:
        is_killed = threading.Event()

        def join(self):
            assert self.is_killed.wait(60)

    def away(*given):
        raise TrackingError("away")

    ended, statuses = threading.Event(), []

    def end(status):
        statuses.append(status)
        ended.set()

    monkeypatch.setattr(helpers, "parent_process", Writer, raising=False)
    monkeypatch.setattr(helpers.os, "_exit", end)
    monkeypatch.setattr(helpers, "Tracker", away)
    for name in ("take_turns", "need_no_power_cut"):
        monkeypatch.setattr(helpers, name, lambda *given: None)
    helpers._begin({}, "")
    assert not ended.is_set()
    Writer.is_killed.set()
    assert ended.wait(5)
    assert statuses == [1]
