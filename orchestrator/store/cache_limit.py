"""How much of a disk the caches may fill. Whatever is in them can be made again, so beyond that the
least recently used goes.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import shutil
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import InputError

VARIABLE = "SPOLIA_CACHE_GB"
SHARE = 0.25  # of the disk, where the variable says nothing
BLOCK = 4096  # bytes that the smallest file takes
LOOKS = 20  # times that somebody adds up what is there while a whole cache is written
DAY = 86_400.0  # seconds; no use is noted more often


class Kept(NamedTuple):
    """Something in a cache: when it was last used (in seconds since 1970), its bytes on disk, and
    what removes it, which says whether it did.
    """

    used: float
    size: int
    remove: Callable[[], bool]


def limit(folder: Path) -> float:
    """Bytes that a cache in a folder may have: SPOLIA_CACHE_GB times 10^9, or a quarter of the
    disk. Raises InputError where the variable is no number.
    """
    given = os.environ.get(VARIABLE)
    if not given:
        return SHARE * shutil.disk_usage(folder).total
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = math.nan
    if not gigabytes >= 0:  # nor NaN
        raise InputError(f"{VARIABLE}={given!r} is no number of gigabytes, such as 50 or 0.5")
    return gigabytes * 1e9


def thin_out(kept: Iterable[Kept], most: float) -> None:
    """Remove what was not used for longest until the rest has at most so many bytes, as far as that
    can be done.
    """
    oldest_first = sorted(kept, key=lambda one: one.used)
    size = sum(one.size for one in oldest_first)
    for one in oldest_first:
        if size <= most:
            return
        if one.remove():
            size -= one.size


class Files:
    """The files below a folder, as a cache that several processes write into at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # A generator of its own: nobody's seeds are disturbed.
        self._random = random.Random()

    def written(self, size: int) -> None:
        """A file of so many bytes has been written: now and then all are looked at. How often goes
        by chance, so that processes which each write little need not know of each other.
        """
        most = limit(self.folder)
        if self._random.random() * most <= LOOKS * max(size, BLOCK):
            thin_out(self._kept(), most)

    def _kept(self) -> Iterable[Kept]:
        for parent, _, names in os.walk(self.folder):
            for name in names:
                path = Path(parent) / name
                with contextlib.suppress(OSError):  # removed since it was listed
                    stat = path.stat()
                    size = max(stat.st_size, BLOCK)
                    yield Kept(stat.st_mtime, size, partial(_unlink, path))


def _unlink(path: Path) -> bool:
    # Who reads it at this moment reads on: a name goes, and what has no name and no reader.
    with contextlib.suppress(OSError):
        path.unlink()
        return True
    return False


def note_use(path: Path) -> None:
    """A file has been used: its time of change says when, to a day."""
    # Not the time of access, which many systems keep badly or not at all.
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > DAY:
            os.utime(path)
