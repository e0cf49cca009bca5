"""The data root: the folder of image sets, which the variable SPOLIA_DATA names here and in every
process that is started. A session reads from its own; what is called outside of one (`images`,
`accuracy`) reads from that of the session made last that names one.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "SPOLIA_DATA"


@dataclass(frozen=True, eq=False)
class _Within:
    """What one session at work reads from; None: there is nothing."""

    root: str | None


@dataclass
class _Last:
    """The root that a session has chosen, what the user had set before, which sessions are at work,
    and what the variable said before the first of them.
    """

    chosen: str | None = None
    users: str | None = None
    at_work: list[_Within] = field(default_factory=list)
    outside: str | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)


_last = _Last()
# The variable is the whole process's, so of two sessions that are at work in two threads it can
# name the folder of one only: a thread goes by its own.
_here: ContextVar[_Within | None] = ContextVar("data root of the session at work", default=None)


def data_root() -> Path | None:
    """The folder of image sets, or None where none is named."""
    within = _here.get()
    root = os.environ.get(VARIABLE) if within is None else within.root
    return Path(root) if root else None


def users_root() -> str | None:
    """What the user has set the variable to, whatever a session has chosen since; None: nothing."""
    now = _last.outside if _last.at_work else os.environ.get(VARIABLE)
    return (_last.users if now == _last.chosen else now) or None


def choose_root(root: str) -> None:
    """Read from this folder from now on, wherever no session is at work. A session that names no
    folder goes by what the user has set, all the same.
    """
    with _last.lock:
        _last.users, _last.chosen = users_root(), root
        if _last.at_work:
            _last.outside = root  # what is at work goes on with its own
        else:
            _set(root)


@contextlib.contextmanager
def reading_from(root: str | None) -> Iterator[None]:
    """Within, `root` is the data root (None: there is none), here and in the processes that are
    started meanwhile.
    """
    within = _Within(root)
    with _last.lock:
        if not _last.at_work:
            _last.outside = os.environ.get(VARIABLE)
        _last.at_work.append(within)
        _set(root)
    token = _here.set(within)
    try:
        yield
    finally:
        _here.reset(token)
        with _last.lock:
            # Not what was there at the beginning: another thread's session may have ended since.
            _last.at_work.remove(within)
            _set(_last.at_work[-1].root if _last.at_work else _last.outside)


def _set(root: str | None) -> None:
    if root is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = root
