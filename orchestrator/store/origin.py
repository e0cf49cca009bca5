"""Where files came from that `spolia submit` has brought to this machine.

They lie in a folder that Ray made, whose name changes with every edit. Whose they are goes by where
they came from: else every edit of a sweep, or of a module beside it, would look like another one of
the same name.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

MARKER = "spolia-submission.json"  # in the folder: what the machine that submitted says of itself


def came_from(file: Path) -> Path:
    """Where a file lay on the machine that submitted it; the file itself, where nobody did."""
    folder = folder_of_submission(file)
    if folder is None:
        return file
    top, *below = file.relative_to(folder).parts
    origin = submission_in(folder)["from"].get(top)
    return Path(origin, *below) if origin else file


def folder_of_submission(file: Path) -> Path | None:
    """The folder around a file in which there is what somebody submitted, or None."""
    return next((above for above in file.parents if submission_in(above)), None)


@lru_cache(maxsize=1024)
def submission_in(folder: Path) -> dict[str, Any]:
    """What was submitted into a folder, as `orchestrator.submission.packing` has it; empty where
    nothing was.
    """
    try:
        said = json.loads((folder / MARKER).read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) and isinstance(said.get("from"), dict) else {}
