"""A database writes ahead while many runs are written, and is as it was afterwards."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

pytestmark = pytest.mark.mlflow  # opens databases

JOURNAL = "PRAGMA journal_mode"


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "one.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("create table written (name text)")
    return path


def journal(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(JOURNAL).fetchone()[0]


def test_it_writes_ahead_meanwhile_though_this_process_keeps_it_open(database):
    from sqlalchemy import create_engine, text

    from orchestrator.tracking.write_ahead import writing_ahead

    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:  # SQLAlchemy does not close it
        connection.execute(text("insert into written values ('before')"))
    with writing_ahead(f"sqlite:///{database}"):
        assert journal(database) == "wal"
        with engine.begin() as connection:
            connection.execute(text("insert into written values ('meanwhile')"))
    assert journal(database) == "delete"
    assert [file.name for file in database.parent.iterdir()] == ["one.db"]
    with engine.begin() as connection:
        found = connection.execute(text("select name from written")).scalars().all()
    assert found == ["before", "meanwhile"]


def test_where_somebody_else_has_it_open_the_log_stays(database, monkeypatch):
    from orchestrator.tracking import write_ahead

    monkeypatch.setattr(write_ahead, "PATIENCE", 0.1)
    other = sqlite3.connect(database)
    with contextlib.closing(other):
        with write_ahead.writing_ahead(f"sqlite:///{database}"):
            assert other.execute("select * from written").fetchall() == []
        assert journal(database) == "wal"
        other.execute("insert into written values ('still works')")
        other.commit()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        assert connection.execute("select * from written").fetchall() == [("still works",)]


def test_the_log_of_a_writer_that_was_killed_is_put_back_by_the_next(database):
    from orchestrator.tracking import write_ahead

    address = f"sqlite:///{database}"
    assert write_ahead._begin(database)  # and nothing after it
    with write_ahead.writing_ahead(address):  # of another writer at the same time
        assert journal(database) == "wal"
    assert journal(database) == "delete"
    assert write_ahead._begin(database)
    with contextlib.closing(sqlite3.connect(database)) as other:
        other.execute("select * from written").fetchall()
        write_ahead.put_back(address)
        assert journal(database) == "wal"  # somebody has it open
    write_ahead.put_back(address)
    assert journal(database) == "delete"
    with contextlib.closing(sqlite3.connect(database)) as connection:  # and nothing tells of it
        assert connection.execute("PRAGMA application_id").fetchone() == (0,)


def test_a_log_of_somebody_else_is_not_put_back(database):
    from orchestrator.tracking import write_ahead

    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute(f"{JOURNAL} = wal")
    write_ahead.put_back(f"sqlite:///{database}")
    assert journal(database) == "wal"
    write_ahead.put_back(f"sqlite:///{database.parent / 'none.db'}")
    assert not (database.parent / "none.db").exists()


def test_a_database_that_somebody_holds_is_written_with_its_journal(database, monkeypatch):
    from orchestrator.tracking import write_ahead

    monkeypatch.setattr(write_ahead, "PATIENCE", 0.1)
    other = sqlite3.connect(database, isolation_level=None)
    with contextlib.closing(other):
        other.execute("begin exclusive")
        with write_ahead.writing_ahead(f"sqlite:///{database}"):
            other.execute("commit")
            assert journal(database) == "delete"
    assert journal(database) == "delete"


@pytest.mark.parametrize("case", ["on a shared folder", "a server's", "writes ahead already"])
def test_a_database_that_is_not_ours_to_change_stays_as_it_is(database, monkeypatch, case):
    from orchestrator.tracking import write_ahead

    address, mode = f"sqlite:///{database}", "delete"
    if case == "on a shared folder":
        monkeypatch.setattr(write_ahead, "LOCAL", frozenset())
    elif case == "a server's":
        address = "http://127.0.0.1:5000"
    else:
        mode = "wal"
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute(f"{JOURNAL} = wal")
    with write_ahead.writing_ahead(address):
        assert journal(database) == mode
    assert journal(database) == mode


def test_a_process_waits_for_the_disk_unless_the_database_writes_ahead(tmp_path):
    from sqlalchemy import create_engine, event, text
    from sqlalchemy.pool import Pool

    from orchestrator.tracking import write_ahead

    write_ahead.need_no_power_cut()
    try:
        for mode, level in (("wal", 1), ("delete", 2)):  # NORMAL, and SQLite's own, FULL
            path = tmp_path / f"{mode}.db"
            with contextlib.closing(sqlite3.connect(path)) as connection:
                connection.execute(f"{JOURNAL} = {mode}")
            with create_engine(f"sqlite:///{path}").connect() as connection:
                assert connection.execute(text("PRAGMA synchronous")).scalar() == level
    finally:
        event.remove(Pool, "connect", write_ahead._leave_it_to_the_log)
