"""Who comes first on the driver's machine: the trials, while they run; afterwards people wait for
what we write.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

BEHIND = 10  # niceness while trials run
TRIES, PAUSE = 5, 0.2  # Linux takes a change of this kind ten times a second, from all users


def come_last(process: int) -> None:
    """Let the trials on this machine come before a process that is a session of its own. From
    without, and at once: it takes seconds to import what it needs, as the trials' workers do.
    """
    if not (_goes_by_session() and _set_niceness_of_session(BEHIND, str(process))):
        with contextlib.suppress(OSError, AttributeError):  # it has ended; a system without
            # Nobody but the superuser can take that back.
            niceness = os.getpriority(os.PRIO_PROCESS, process) + BEHIND
            os.setpriority(os.PRIO_PROCESS, process, niceness)


def come_as_others() -> None:
    """The trials have ended, and this process need not come last any more."""
    if _goes_by_session():
        _set_niceness_of_session(0)


def _goes_by_session(root: Path = Path("/")) -> bool:
    """Whether Linux shares the processors between sessions first. Then the niceness of a process
    counts within its session only, and that of the session can be taken back.
    """
    try:
        if (root / "proc/sys/kernel/sched_autogroup_enabled").read_text().strip() != "1":
            return False
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return False
    # Only at the top of control groups. In a container what looks like the top may be none.
    groups = {names: path for _, names, path in (line.split(":", 2) for line in lines)}
    of_processors = [path for names, path in groups.items() if "cpu" in names.split(",")]
    is_top = not (root / "sys/fs/cgroup/cgroup.events").exists()
    return of_processors == ["/"] or (not of_processors and groups.get("") == "/" and is_top)


def _set_niceness_of_session(niceness: int, process: str = "self") -> bool:
    """Whether Linux has taken it."""
    for _ in range(TRIES):
        with contextlib.suppress(OSError):
            Path(f"/proc/{process}/autogroup").write_text(str(niceness))
            return True
        time.sleep(PAUSE)
    return False
