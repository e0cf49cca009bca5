"""A database that writes ahead, for as long as several processes write many runs into it.

SQLite waits for the disk at the end of each transaction, some five milliseconds with the journal
that it keeps by default, and MLflow's client ends four with every run. That is the time in which no
other process may write. With a write-ahead log it waits now and then only. A power cut may take the
newest transactions; these runs are written again when MLflow is brought level, from the store.

Such a log needs memory that all processes share, so not a folder that several machines have; and it
stays with the database until somebody puts it back. So it is put back when the runs are written, by
the next writer at the latest.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from orchestrator.tracking.moved_homes import path_of_database

# Kinds of file systems that are one machine's own.
LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay"})
PATIENCE = 5.0  # seconds for which others may keep us from changing the journal
# What SQLite keeps in a database for whoever uses it, and MLflow does not: with it a database says,
# wherever it is moved, that its log is ours. A writer that is killed takes no log back.
OURS, NOBODYS = int.from_bytes(b"Spol"), 0


@contextlib.contextmanager
def writing_ahead(tracking: str) -> Iterator[None]:
    """Have the database of an address of SQLite's write ahead meanwhile, where it lies on a disk of
    this machine. Afterwards it is as it was, unless somebody else has it open, such as a server of
    MLflow's: then the log stays, with which all works as well, until `put_back` finds it.
    """
    database = path_of_database(tracking)
    if database is None or not (database.exists() and _is_local(database)):
        yield
        return
    with _engines() as engines:
        is_ours = _begin(database)
        try:
            yield
        finally:
            if is_ours:
                # A connection that nobody uses keeps a database as much as one in use.
                for engine in list(engines):
                    engine.dispose()
                _end(database, PATIENCE)


def put_back(tracking: str) -> None:
    """Put back the journal that a writer has not: one that was killed, or for which others had the
    database open. Not while anybody has it open.
    """
    database = path_of_database(tracking)
    if database is not None and database.exists():
        _end(database, 0.0)


@contextlib.contextmanager
def _engines() -> Iterator[WeakSet[Engine]]:
    """The engines by which this process reads and writes databases meanwhile."""
    engines: WeakSet[Engine] = WeakSet()

    def note(connection: Any) -> None:
        engines.add(connection.engine)

    event.listen(Engine, "engine_connect", note)
    try:
        yield engines
    finally:
        event.remove(Engine, "engine_connect", note)


def need_no_power_cut() -> None:
    """From here on this process leaves it to the log when a database gets to the disk. Only for one
    that writes ahead: there it harms none, and elsewhere it might.
    """
    event.listen(Pool, "connect", _leave_it_to_the_log)


def _leave_it_to_the_log(connection: Any, record: Any) -> None:
    if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
        connection.execute("PRAGMA synchronous = NORMAL")


def _begin(database: Path) -> bool:
    """Whether a database writes ahead because we have it so, which is to be taken back."""
    with _connection(database, PATIENCE) as connection:
        if _asked(connection, "journal_mode") == "wal":
            return bool(_asked(connection, "application_id") == OURS)
        # Before the log, so that none is ever there of which nobody knows whose it is.
        if _asked(connection, "application_id") not in (NOBODYS, OURS):
            return False
        _asked(connection, f"application_id = {OURS}")
        is_changed = _asked(connection, "journal_mode = wal") == "wal"
        # Once more: `put_back` of another writer may have come in between, and cannot any more.
        _asked(connection, f"application_id = {OURS}")
        return bool(is_changed)
    return False


def _end(database: Path, patience: float) -> None:
    """Put the journal back, if we have changed it and nobody else has the database open."""
    with _connection(database, patience) as connection:
        if _asked(connection, "application_id") != OURS:
            return
        if _asked(connection, "journal_mode = delete") == "delete":
            _asked(connection, f"application_id = {NOBODYS}")


@contextlib.contextmanager
def _connection(database: Path, patience: float) -> Iterator[sqlite3.Connection]:
    """A connection of our own. What others do to the database, or have open, is no error of ours:
    then it stays as it is.
    """
    address = f"{database.resolve().as_uri()}?mode=rw"  # else a file that has gone is made anew
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(address, timeout=patience, uri=True)) as connection,
    ):
        yield connection


def _asked(connection: sqlite3.Connection, pragma: str) -> Any:
    """What SQLite answers; None where that is nothing."""
    found = connection.execute(f"PRAGMA {pragma}").fetchone()
    return None if found is None else found[0]


def _is_local(file: Path) -> bool:
    """Whether a file lies on a disk that no other machine has; not, where that cannot be told."""
    device = os.stat(file).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        # Names of places are bytes, of any encoding.
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
        for line in mounts.splitlines():
            # number, parent, device, root, place, options, more of them, "-", kind, ...
            fields = line.split()
            if fields[2] == number:
                return fields[fields.index("-") + 1] in LOCAL
    return False
