"""Processes beside the one that writes MLflow, for a database that it writes itself.

There MLflow's client computes some 45 milliseconds a run, on one core, since it is Python; behind a
server it is the server that computes. They start when many runs wait and no trial runs any more, so
that none is disturbed; those of a second or longer never bring it about.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_all_start_methods, get_context, parent_process
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING

from orchestrator.tracking.levelling import Tracker
from orchestrator.tracking.patience import ERRORS, Patience
from orchestrator.tracking.turns import take_turns
from orchestrator.tracking.write_ahead import need_no_power_cut, writing_ahead

if TYPE_CHECKING:
    from orchestrator.tracking.manifest import Manifest
    from orchestrator.tracking.runs import KnownRun

MOST = 3  # processes; a database takes one transaction at a time, and one more fills the gaps
FROM = 100  # trials that wait: they take longer than a process takes to start
AT_ONCE = 10  # trials that a process is handed

Known = dict[str, "KnownRun"]
"""Runs by identity."""


class Helpers:
    """Write runs that need nothing but themselves (an `orchestrator.tracking.levelling.Help`)."""

    def __init__(self, manifest: Manifest, trials_have_ended: threading.Event) -> None:
        self._manifest, self._trials_have_ended = manifest, trials_have_ended
        self._pool: ProcessPoolExecutor | None = None
        self._while_it_lasts = contextlib.ExitStack()
        self._lots: list[Future[Known]] = []

    def are_worth_it(self, num_trials: int) -> bool:
        return num_trials >= FROM and self._trials_have_ended.is_set()

    def begin(self, tracker: Tracker, keys: Sequence[str]) -> None:
        lots = [keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE)]
        with contextlib.suppress(BrokenProcessPool):
            for lot in lots:
                self._lots.append(self._started().submit(_write, lot, tracker.known_of(lot)))

    def finish(self, tracker: Tracker) -> None:
        try:
            for lot in self._lots:
                tracker.have_written(lot.result())
        except BrokenProcessPool:  # somebody has killed one
            self.close()
        self._lots.clear()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            turns = self._while_it_lasts.enter_context(
                tempfile.TemporaryDirectory(prefix="spolia-turns-")
            )
            self._while_it_lasts.enter_context(writing_ahead(self._manifest["tracking"]))
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
            self._pool = ProcessPoolExecutor(
                min(MOST, cores + 1),
                mp_context=_context(),
                initializer=_begin,
                initargs=(self._manifest, os.path.join(turns, "turn")),
            )
        return self._pool

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._while_it_lasts.close()


def _context() -> BaseContext:
    """How processes start: threads run in this one, which no fork survives well. A process that has
    imported MLflow, in some 3 seconds, forks all of them, where there is such a thing.
    """
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "mlflow.store.tracking.sqlalchemy_store"])
    return context


class _Here:
    """What a helping process keeps between lots."""

    tracker: Tracker | None = None


def _end_with_the_writer() -> None:
    """Processes of a pool wait for more of it for ever, and keep the database open, when whoever
    has it is killed.
    """
    writer = parent_process()
    if writer is not None:
        writer.join()
        os._exit(1)  # SQLite takes back what is half done


def _begin(manifest: Manifest, turns: str) -> None:
    threading.Thread(target=_end_with_the_writer, daemon=True).start()
    take_turns(turns)
    need_no_power_cut()
    is_last = threading.Event()
    is_last.set()
    try:
        _Here.tracker = Tracker(manifest, Patience(is_last, 0.0))
    except ERRORS:  # an outage, of which the caller will hear
        _Here.tracker = None


def _write(keys: Sequence[str], known: Known) -> Known:
    """Write the runs of trials as far as that can be done at once; those that were written."""
    tracker = _Here.tracker
    if tracker is None:
        return {}
    tracker.written.clear()
    tracker.begun.clear()
    tracker.runs.know(known)
    with contextlib.suppress(*ERRORS):
        tracker.write(keys)
    return tracker.runs.known(tracker.written)
