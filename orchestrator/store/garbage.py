"""What lies in a store and is named by nothing: for `spolia gc`."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.store.files import Entry
from orchestrator.store.store import Store

LEFT_OVER = ("probes", "progress", "tune")  # of drivers and trials that are gone


def unneeded(store: Store, *, before: float) -> Iterator[Entry]:
    """Files last changed before a time (seconds since 1970) that no result needs: blobs that no
    record names, retired results, what the dead left.
    """
    listed = list(
        store.entries("blobs")
    )  # before the results: what is put from now on is not on this list
    named = {
        part["blob"]
        for record in store.find_all(list(store.finished()))
        for part in (*record["components"], *record["matrices"])
    }
    old = [e for e in listed if e.path.rsplit("/", 1)[-1] not in named]
    old += [e for folder in ("retired", *LEFT_OVER) for e in store.entries(folder)]
    yield from (e for e in old if e.changed / 1e9 < before)
