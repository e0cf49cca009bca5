"""Processes that write one SQLite, one transaction after another.

SQLite lets one of them write and has the others ask again, with growing pauses of up to a tenth of
a second, in which a core does nothing. Here they wait for each other at a file's lock, which the
system hands on at once, and takes back from a process that dies. It is held from the first
statement that writes until the transaction has ended, so all else goes on side by side.
"""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

try:
    import fcntl
except ImportError:  # no such system: SQLite's own pauses
    fcntl = None  # type: ignore[assignment]

WRITING = ("INSERT", "UPDATE", "DELETE", "REPLACE")
HOLDS = "spolia.has_its_turn"  # in what SQLAlchemy keeps beside a connection


def take_turns(file: str) -> None:
    """From here on this process writes databases only in its turn, by the lock of a file that the
    others name, too.
    """
    if fcntl is None:
        return
    lock = os.open(file, os.O_RDWR | os.O_CREAT)

    @event.listens_for(Engine, "before_cursor_execute")
    def begin(conn: Any, cursor: Any, statement: str, *ignored: Any) -> None:
        if statement.lstrip().upper().startswith(WRITING) and not conn.info.get(HOLDS):
            fcntl.flock(lock, fcntl.LOCK_EX)
            conn.info[HOLDS] = True

    # A connection goes back to its pool behind the commit. The event called `commit` comes before.
    @event.listens_for(Pool, "checkin")
    def end(dbapi_connection: Any, record: Any) -> None:
        if record.info.pop(HOLDS, False):
            fcntl.flock(lock, fcntl.LOCK_UN)
