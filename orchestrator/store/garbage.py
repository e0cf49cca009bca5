"""What a store holds that no result needs: for `spolia gc`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.store.files import Entry
from orchestrator.store.heartbeat import FRESH, living
from orchestrator.store.store import Store

RETIRED = "retired"  # results that others have replaced
OF_RUNS = ("runs", "probes", "tune", "checks")  # named after the run that uses them
# Left by trials that were killed; named after the trial.
PROGRESS = "progress"
CHECKPOINTS = "checkpoints"


def unneeded(store: Store, *, before: float) -> Iterator[Entry]:
    """Files last changed before a time (seconds since 1970) that no result needs and no living run
    uses: blobs that no record names, retired results, and what was left by drivers and trials that
    were killed. Remove them by `store.discard_unchanged`.
    """
    # Blobs are put before the result that names them, so they are listed before results are read:
    # a blob that belongs to a later result is not on the list.
    blobs = list(store.entries("blobs"))
    needed = _needed_blobs(store)
    runs = living(store)
    # A trial of a living run puts its blobs, and then its result.
    youngest = min(before, time.time() - FRESH) if runs else before
    for blob in blobs:
        if blob.path.rsplit("/", 1)[-1] not in needed and _is_older(blob, youngest):
            yield blob
    candidates = list(store.entries(RETIRED))
    for folder in OF_RUNS:
        candidates += [entry for entry in store.entries(folder) if _run_of(entry) not in runs]
    if not runs:
        candidates += store.entries(PROGRESS)
    # Nobody goes on from those of a trial that has a result.
    finished = set(store.finished()) if runs else set()
    for entry in store.entries(CHECKPOINTS):
        if not runs or entry.path.split("/")[1] in finished:
            candidates.append(entry)
    for entry in candidates:
        if _is_older(entry, before):
            yield entry


def abandoned(scratch: Path, store: Store, *, before: float) -> Iterator[tuple[Path, int]]:
    """Folders of checkpoints on this machine of trials that failed or have a result, last written
    to before a time (seconds since 1970), each with its bytes. What was interrupted is gone on with
    some day. None while a run lives in the store.
    """
    if living(store) or not scratch.is_dir():
        return
    for folder in sorted(scratch.iterdir()):
        files = [file.stat() for file in (folder, *folder.rglob("*"))]
        if not folder.is_dir() or max(file.st_mtime for file in files) >= before:
            continue
        if store.failure(folder.name) is not None or store.find(folder.name) is not None:
            yield folder, sum(file.st_size for file in files[1:])


def _is_older(entry: Entry, than: float) -> bool:
    return entry.changed / 1e9 < than


def _run_of(entry: Entry) -> str:
    """The run after which a file or its folder is named: `probes/<run>-<node>`, `tune/<run>/...`"""
    return entry.path.split("/")[1].partition("-")[0]


def _needed_blobs(store: Store) -> set[str]:
    """Names of the blobs that results name: weights and matrices, and the weights that a component
    requires.
    """
    needed = set()
    for record in store.find_all(list(store.finished())):
        for part in (*record["components"], *record["matrices"]):
            needed.add(part["blob"])
            needed |= _required_blobs(part)
    return needed


def _required_blobs(part: Mapping[str, Any]) -> set[str]:
    required = part.get("requires")
    if not required:
        return set()
    # One component, or several by name (`orchestrator.parts.component.pins_in`, a room above).
    pins = [required] if isinstance(required.get("component"), str) else list(required.values())
    return {blob for pin in pins for blob in ({pin["blob"]} | _required_blobs(pin))}
