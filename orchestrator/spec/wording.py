"""Numbers and lists in words that people read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def duration(seconds: float) -> str:
    """Seconds as people say it, to the nearest second; from an hour on, in whole minutes.

    Example: `duration(42)` is `42 s`, `duration(200)` is `3 min 20 s`, `duration(7500)` is
    `2 h 05 min`.
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def first_few(texts: Sequence[str], most: int = 3) -> str:
    """The first of some texts, and how many more there are: `a, b, c and 4 more`."""
    shown = ", ".join(texts[:most])
    return f"{shown} and {len(texts) - most} more" if len(texts) > most else shown


def short(path: Path) -> str:
    """A path relative to the current folder where it lies below that."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
