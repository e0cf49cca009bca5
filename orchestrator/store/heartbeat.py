"""A run shows that it lives, so that nobody tidies up what it uses, however long it lasts."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator

from orchestrator.errors import StoreError
from orchestrator.store.store import Store

EVERY = 60.0  # seconds between two heartbeats
FRESH = 15 * 60.0  # seconds after which a run that shows nothing is taken for dead
SEEN_WITHIN = 3 * EVERY  # the same where nothing is deleted, and people want to know soon


@contextlib.contextmanager
def alive(store: Store, every: float = EVERY) -> Iterator[str]:
    """While it lasts, a heartbeat in the store and beside it a probe, both of the name that is
    given: what a run leaves in the store for its own use carries that name. Both are gone
    afterwards.

    They are written again every so often (seconds), also where somebody has removed them.
    """
    run = uuid.uuid4().hex
    has_ended = threading.Event()
    _beat(store, run)
    arguments = (store, run, every, has_ended)
    thread = threading.Thread(target=_keep_beating, args=arguments, daemon=True)
    thread.start()
    try:
        yield run
    finally:
        has_ended.set()
        thread.join()
        store.discard(f"runs/{run}")
        store.take_probe(run)


def _keep_beating(store: Store, run: str, every: float, has_ended: threading.Event) -> None:
    while not has_ended.wait(every):
        with contextlib.suppress(StoreError):  # the store may be away for a while
            _beat(store, run)


def _beat(store: Store, run: str) -> None:
    store.show_life(run)
    store.leave_probe(run)


def living(store: Store, fresh: float = FRESH) -> set[str]:
    """Names of the runs whose heartbeat is no older than `fresh` seconds. A heartbeat that is just
    being written has a file beside it, whose name begins with a dot; that is no run.
    """
    limit = time.time() - fresh
    beats = [beat for beat in store.entries("runs") if beat.changed / 1e9 >= limit]
    names = {beat.path.rpartition("/")[2] for beat in beats}
    return {name for name in names if not name.startswith(".")}
