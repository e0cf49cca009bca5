"""What Git says of a folder: for records, and for people who look at them."""

from __future__ import annotations

import subprocess
from pathlib import Path

PATIENCE = 10  # seconds; a network file system that hangs must not hang a trial


def git(folder: Path, *arguments: str) -> str | None:
    """What a Git command prints in a folder, or None where there is no Git or no checkout, or where
    it does not answer.
    """
    # Git is not started where a program was installed, not checked out.
    if not any((above / ".git").exists() for above in (folder, *folder.parents)):
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
