"""What lies in the cache of decoded images, how large it is, and what of it can go."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator.data import decoded, sources
from orchestrator.errors import DataError

Use = Literal["current", "old", "unfinished", "without its files"]


@dataclass(frozen=True)
class Generation:
    """A decoded set in the cache. It is `current` where its files are as they were when it was
    decoded, else `old`: nothing reads it again. `unfinished` was left by a process that was killed.
    Whether one is old cannot be said where its files are not here.
    """

    folder: Path
    name: str
    size: int
    """Bytes on disk."""
    use: Use
    is_held: bool
    """Whether a process on this machine has it mapped."""


def generations() -> list[Generation]:
    """Everything that lies in the cache of decoded images, by name of the set."""
    home = decoded.home()
    folders = sorted(path for path in home.glob("*") if path.is_dir()) if home.is_dir() else []
    found = [generation for folder in folders for generation in _generations_of(folder)]
    return sorted(found, key=lambda generation: (generation.name, generation.folder))


def _generations_of(folder: Path) -> Iterator[Generation]:
    """The generation in a folder; none where another process has just removed it."""
    try:
        size = sum(entry.stat().st_size for entry in os.scandir(folder))
        if folder.name.startswith("."):
            is_held = decoded.is_being_built(folder)
            yield Generation(folder, "a set that was being decoded", size, "unfinished", is_held)
            return
        about = _about(folder)
        record = about.get("record", {})
        name = str(about.get("name") or record.get("name") or "a set of an unknown version")
        yield Generation(folder, name, size, _use(folder, about), decoded.is_held(folder))
    except FileNotFoundError:
        return


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / decoded.ABOUT).read_text())
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _use(folder: Path, about: dict[str, Any]) -> Use:
    """What a finished generation is good for."""
    if about.get("format") != decoded.FORMAT:
        return "old"
    root = None if about["root"] is None else Path(about["root"])
    try:
        current = decoded.folder_of(sources.stamp_of(about["name"], root))
    except DataError:
        return "without its files"
    return "current" if current == folder else "old"


def can_go(generation: Generation, *, everything: bool) -> bool:
    """Whether to remove a generation: one that nothing reads again, or with `everything` any that
    no process holds. What is removed is decoded again when it is needed.
    """
    useless = generation.use in ("old", "unfinished")
    return (useless or everything) and not generation.is_held
