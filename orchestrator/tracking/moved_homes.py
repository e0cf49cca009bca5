"""Homes that were moved or copied, whose database says where files were.

MLflow notes with every run the absolute place of its files, and has no way to change it.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlparse


def path_of_database(tracking: str) -> Path | None:
    """The file of a database of SQLite's; None for any other."""
    return Path(tracking.removeprefix("sqlite:///")) if tracking.startswith("sqlite:///") else None


def is_elsewhere(location: str, artifacts: str, tracking: str) -> bool:
    """Whether an experiment's `location` is that of another home than the one whose own database
    this is, and whose files go to `artifacts`.
    """
    database = path_of_database(tracking)
    ours, theirs = _path(artifacts), _path(location)
    # A database outside of any home may serve several of them.
    if database is None or ours is None or theirs is None:
        return False
    is_own = database.parent.resolve() == ours.parent.resolve()
    return is_own and theirs.resolve() != ours.resolve()


def _path(address: str) -> Path | None:
    """The folder of a file:// address, or of a plain path."""
    parts = urlparse(address)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
