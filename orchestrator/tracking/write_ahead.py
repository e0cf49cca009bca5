"""A database that writes ahead, for as long as several processes write many runs into it.

SQLite waits for the disk at the end of each transaction, some five milliseconds with the journal
that it keeps by default, and MLflow's client ends four with every run. That is the time in which no
other process may write. With a write-ahead log it waits now and then only. A power cut may take the
newest transactions; these runs are written again when MLflow is brought level, from the store.

Such a log needs memory that all processes share, so not a folder that several machines have; and it
stays with the database until somebody puts it back. So it is put back when the runs are written.
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


@contextlib.contextmanager
def writing_ahead(tracking: str) -> Iterator[None]:
    """Have the database of an address of SQLite's write ahead meanwhile, where it lies on a disk of
    this machine. Afterwards it is as it was, unless somebody else has it open, such as a server of
    MLflow's: then the log stays, with which all works as well.
    """
    database = path_of_database(tracking)
    if database is None or not (database.exists() and _is_local(database)):
        yield
        return
    with _engines() as engines:
        former = _journal(database)
        is_changed = former != "wal" and _set_journal(database, "wal")
        try:
            yield
        finally:
            if is_changed:
                # A connection that nobody uses keeps a database as much as one in use.
                for engine in engines:
                    engine.dispose()
                _set_journal(database, former)


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


def _journal(database: Path) -> str:
    """How a database is kept safe while a transaction is under way, in SQLite's words."""
    with contextlib.closing(sqlite3.connect(database, timeout=PATIENCE)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _set_journal(database: Path, mode: str) -> bool:
    """Whether SQLite has taken it."""
    with (
        contextlib.suppress(sqlite3.OperationalError),
        contextlib.closing(sqlite3.connect(database, timeout=PATIENCE)) as connection,
    ):
        return bool(connection.execute(f"PRAGMA journal_mode = {mode}").fetchone() == (mode,))
    return False


def _is_local(file: Path) -> bool:
    """Whether a file lies on a disk that no other machine has; not, where that cannot be told."""
    device = os.stat(file).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            # number, parent, device, root, place, options, more of them, "-", kind, ...
            fields = line.split()
            if fields[2] == number:
                return fields[fields.index("-") + 1] in LOCAL
    return False
