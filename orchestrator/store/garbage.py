"""What a store holds that no result needs: for `spolia gc`."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.store.files import Entry
from orchestrator.store.store import Store

RETIRED = "retired"  # results that were made again
LEFT_OVER = ("probes", "progress", "tune")  # what drivers and trials leave when they are killed


def unneeded(store: Store, *, before: float) -> Iterator[Entry]:
    """Files last changed before a time (seconds since 1970) that no result needs: blobs that no
    record names, retired results, and what was left by drivers and trials that were killed.
    """
    # Blobs are put before the result that names them, so they are listed before results are read:
    # a blob that belongs to a later result is not on the list.
    blobs = list(store.entries("blobs"))
    needed = _needed_blobs(store)
    candidates = [blob for blob in blobs if blob.path.rsplit("/", 1)[-1] not in needed]
    for folder in (RETIRED, *LEFT_OVER):
        candidates += store.entries(folder)
    for entry in candidates:
        if entry.changed / 1e9 < before:
            yield entry


def _needed_blobs(store: Store) -> set[str]:
    """Names of the blobs that results name: weights and matrices."""
    needed = set()
    for record in store.find_all(list(store.finished())):
        needed |= {part["blob"] for part in (*record["components"], *record["matrices"])}
    return needed
