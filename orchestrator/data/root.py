"""The data root: the folder of image sets, which the variable SPOLIA_DATA names here and in every
process that is started. A session reads from its own; what is called outside of one (`images`,
`accuracy`) reads from that of the session made last that names one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SPOLIA_DATA"


@dataclass
class _Last:
    """The root that a session has chosen, and what the user had set before."""

    chosen: str | None = None
    users: str | None = None


_last = _Last()


def data_root() -> Path | None:
    """The folder of image sets, or None where none is named."""
    root = os.environ.get(VARIABLE)
    return Path(root) if root else None


def users_root() -> str | None:
    """What the user has set the variable to, whatever a session has chosen since; None: nothing."""
    now = os.environ.get(VARIABLE)
    return (_last.users if now == _last.chosen else now) or None


def choose_root(root: str) -> None:
    """Read from this folder from now on, wherever no session is at work. A session that names no
    folder goes by what the user has set, all the same.
    """
    _last.users, _last.chosen = users_root(), root
    os.environ[VARIABLE] = root


@contextlib.contextmanager
def reading_from(root: str | None) -> Iterator[None]:
    """Within, `root` is the data root (None: there is none), here and in the processes that are
    started meanwhile.
    """
    before = os.environ.get(VARIABLE)
    _set(root)
    try:
        yield
    finally:
        _set(before)


def _set(root: str | None) -> None:
    if root is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = root
