"""Whether the images here are those of a record: for `spolia data verify`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from orchestrator.data import sources
from orchestrator.data.decoded import ABOUT, folder_digest, folder_of, home, is_whole
from orchestrator.data.readers import PARTS
from orchestrator.data.root import data_root
from orchestrator.errors import DataError, MissingDataError
from orchestrator.spec.task import DataRecord

State = Literal["as recorded", "changed", "missing", "altered in the cache"]
NAMED = 3  # images that are named as changed


@dataclass(frozen=True)
class Verdict:
    """How the images here stand to a record of them, and what there is to say of it."""

    state: State
    details: tuple[str, ...] = ()


def verify(record: DataRecord) -> Verdict:
    """Read a set's files again, every byte, and compare; then the decoded form in the cache."""
    found: list[Verdict] = []

    def compare(images: sources.Images, about: Mapping[str, Any]) -> str:
        if images.record.digest == record.digest:
            found.append(_in_cache(record, str(about["content"])))
        else:
            found.append(Verdict("changed", tuple(_changes(record, images))))
        return ""

    try:
        sources.read_again(record.name, compare)
    except MissingDataError as error:
        return Verdict("missing", (error.summary,))
    except DataError as error:
        return Verdict("changed", error.problems or (error.summary,))
    return found[0]


def _recorded_images(record: DataRecord) -> Path | None:
    """The decoded form of the images that were recorded, if the cache has it still, under whatever
    times of change.
    """
    for about in sorted(home().glob(f"*/{ABOUT}")):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            decoded = json.loads(about.read_text())["record"]
            is_it = (decoded["name"], decoded["digest"]) == (record.name, record.digest)
            if is_it and is_whole(about.parent):
                return about.parent
    return None


def _in_cache(record: DataRecord, content: str) -> Verdict:
    """The verdict on images that are as recorded; `content` is the digest of their decoded form."""
    used = folder_of(sources.stamp_of(record.name, data_root()))  # by trials, now
    if not is_whole(used) or folder_digest(used) == content:
        return Verdict("as recorded")
    return Verdict("altered in the cache", (f"remove {used}; it is decoded again when needed",))


def _changes(record: DataRecord, images: sources.Images) -> list[str]:
    """What differs, as far as it can be said: numbers of images, classes, and, where the cache
    still knows the recorded images, which of them.
    """
    now = images.record
    said = []
    if now.counts != record.counts:
        (train, test), (train_now, test_now) = record.counts, now.counts
        said.append(
            f"{train:,} + {test:,} images were recorded, {train_now:,} + {test_now:,} are here"
        )
    if now.classes != record.classes:
        gone = sorted(set(record.classes) - set(now.classes))
        new = sorted(set(now.classes) - set(record.classes))
        said += [f"classes gone: {', '.join(gone[:NAMED])}"] if gone else []
        said += [f"new classes: {', '.join(new[:NAMED])}"] if new else []
    return said or _changed_images(record, images.folder)


def _changed_images(record: DataRecord, folder: Path) -> list[str]:
    """Places of images whose bytes are others than when the set was recorded, where the cache has
    it still.
    """
    recorded, reader = _recorded_images(record), sources.reader_of(record.name)
    if recorded is None or reader is None:
        return ["images, labels or their order differ"]
    places = []
    for part in PARTS:
        path = f"{part}_sources.npy"
        if not (recorded / path).exists():  # decoded by an older version
            return ["images or labels differ"]
        differs = (np.load(folder / path) != np.load(recorded / path)).any(axis=1)  # [N]
        if differs.any():
            records = zip(reader.records(part), differs.tolist(), strict=True)
            places += [image.place for image, is_other in records if is_other]
    if not places:
        return ["labels, boxes or masks differ"]
    more = f" and {len(places) - NAMED:,} more" if len(places) > NAMED else ""
    return [f"other bytes in {'; '.join(places[:NAMED])}{more}"]
