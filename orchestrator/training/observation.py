"""What is seen of a trial from outside while it runs: its printed lines, its curves so far, its
peak memory.
"""

from __future__ import annotations

import contextlib
import io
import platform
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from orchestrator.errors import StoreError
from orchestrator.store.store import Store
from orchestrator.training.stage import Moment, OnEpoch

LONGEST_LOG = 200_000  # characters; the end is kept
PROGRESS_EVERY = 10.0  # seconds between what a running trial leaves for others to see
FIRST_PROGRESS = 2.0  # seconds after which it leaves the first of it
FIRST_LOG = 1.0  # seconds after which it leaves what it has printed by then


class Reporter:
    """Leaves in the store how far a trial is and its curves, while it runs: first soon, so that
    people see it live, then every so often. A trial of a moment leaves nothing.
    """

    def __init__(
        self,
        key: str,
        store: Store,
        *,
        began: float,
        on_epoch: OnEpoch | None = None,
        every: float = PROGRESS_EVERY,
    ) -> None:
        self._key, self._store, self._began = key, store, began
        self._on_epoch, self._every = on_epoch, every
        self._has_written = False
        self._next = time.monotonic() + min(FIRST_PROGRESS, every)
        # The first epoch of the stage under way that ended in this try, and when.
        self._stage, self._first_epoch, self._first_end = "", 0, 0.0

    def __call__(self, moment: Moment) -> None:
        if self._on_epoch is not None:
            self._on_epoch(moment)
        if moment.stage != self._stage:
            self._stage = moment.stage
            self._first_epoch, self._first_end = moment.epoch, time.monotonic()
        if time.monotonic() < self._next:
            return
        # Before the attempt: a store that does not answer is not asked at every epoch.
        self._next, self._has_written = time.monotonic() + self._every, True
        progress = {
            "key": self._key,
            "began": self._began,
            "stage": moment.stage,
            "epoch": moment.epoch,
            "epochs": moment.epochs,
            "pace": self._pace(moment),
            "loss": moment.loss,
            "host": platform.node(),
            "time": time.time(),
            "curves": [[p.name, p.step, p.value, round(p.time, 3)] for p in moment.curves],
        }
        # Nobody's training ends for a curve that could not be shown.
        with contextlib.suppress(StoreError):
            self._store.put_progress(self._key, progress)

    def _pace(self, moment: Moment) -> float | None:
        """Seconds an epoch of this stage takes, the first apart; None where only that has ended."""
        num_epochs = moment.epoch - self._first_epoch
        return (time.monotonic() - self._first_end) / num_epochs if num_epochs else None

    def close(self) -> None:
        """The trial has ended: what it left is in its record."""
        if self._has_written:
            with contextlib.suppress(StoreError):
                self._store.put_progress(self._key, None)


class _Tee(io.TextIOBase):
    """Writes through, and keeps what its own thread writes: a progress display that draws from
    another thread is not the trial's. Nobody's training ends for a line that could not be shown.
    """

    def __init__(self, through: Any, kept: list[str]) -> None:
        # A process without a console has None for its output.
        self._through = io.StringIO() if through is None else through
        self._kept, self._thread = kept, threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() == self._thread:
            self._kept.append(text)
        try:
            self._through.write(text)
        except UnicodeEncodeError:
            shown = text.encode(self.encoding, "replace").decode(self.encoding)
            self._through.write(shown)
        except (OSError, ValueError):  # closed, or a pipe that nobody reads any more
            pass
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._through.flush()

    def isatty(self) -> bool:
        return bool(self._through.isatty())

    @property
    def encoding(self) -> str:  # type: ignore[override]  # io has an attribute
        # A stream that takes text as it is, such as StringIO, has None.
        return str(getattr(self._through, "encoding", None) or "utf-8")

    def fileno(self) -> int:
        return int(self._through.fileno())


@contextlib.contextmanager
def printed() -> Iterator[list[str]]:
    """What is printed to standard output and error meanwhile, by this thread; it is shown all the
    same.
    """
    kept: list[str] = []
    with (
        contextlib.redirect_stdout(_Tee(sys.stdout, kept)),
        contextlib.redirect_stderr(_Tee(sys.stderr, kept)),
    ):
        yield kept


@contextlib.contextmanager
def leaving_log(lines: list[str], key: str, store: Store) -> Iterator[None]:
    """Leave in the store what a trial has printed, while it goes on printing to `lines`: of one
    whose process is killed it is all that is left. A trial that is over in a moment leaves it to
    whoever knows how it ended.
    """
    has_ended = threading.Event()
    arguments = (lines, key, store, has_ended)
    # In a thread: what is killed while it reads data or computes one long epoch has printed, too.
    thread = threading.Thread(target=_keep_leaving, args=arguments, daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


def _keep_leaving(lines: list[str], key: str, store: Store, has_ended: threading.Event) -> None:
    num_left, pause = 0, FIRST_LOG
    while not has_ended.wait(pause):
        pause = PROGRESS_EVERY
        if len(lines) > num_left:
            num_left = len(lines)
            with contextlib.suppress(StoreError):
                store.put_log(key, "".join(lines[:num_left])[-LONGEST_LOG:])


class PeakMemory:
    """Highest memory from here on: of the process (where the system can tell), and on the GPU what
    comes to what was there before, and what torch holds in all; bytes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # Linux: begin a new high-water mark
        self._before = 0
        if device.type == "cuda":
            cuda: Any = torch.cuda
            cuda.init()  # until then no device is known by its number
            torch.cuda.reset_peak_memory_stats(device)
            self._before = int(torch.cuda.memory_allocated(device))

    def read(self) -> dict[str, int]:
        peak = {}
        if (resident := _highest_resident()) is not None:
            peak["process"] = resident
        if self._device.type == "cuda":
            highest = int(torch.cuda.max_memory_allocated(self._device))
            peak["gpu"] = highest - self._before
            # What torch holds of the GPU, gaps and all: that much has to be free for the trial.
            peak["gpu_reserved"] = int(torch.cuda.max_memory_reserved(self._device))
        return peak


def _highest_resident() -> int | None:
    """Bytes, where the system can tell (Linux: VmHWM, in KiB)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
