"""Data sets by name: decoded once a node, mapped into memory, described for planning; and which of
their rows a task takes.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.canvases import pasted_arrays
from orchestrator.data.changes import changed_masks
from orchestrator.data.decoded import decode_all, decoded, folder_digest, mapped, write_arrays
from orchestrator.data.parquet_files import ParquetReader
from orchestrator.data.readers import (
    FolderReader,
    Labels,
    Pixels,
    digits_arrays,
    file_stamp,
    location_of,
    torchvision_arrays,
    torchvision_files,
)
from orchestrator.errors import DataError
from orchestrator.spec.canonical import derive
from orchestrator.spec.datasets import Source, parse
from orchestrator.spec.task import DataRecord, Part, Task


@dataclass(frozen=True)
class Images:
    """A data set mapped into memory: pixels [N, C, H, W] of 0..255 and labels [N] of both parts,
    its record, and where its decoded form lies.
    """

    train: tuple[Pixels, Labels]
    test: tuple[Pixels, Labels]
    record: DataRecord
    folder: Path


def data_root() -> Path | None:
    """The folder of image sets: the variable SPOLIA_DATA, which `--data` sets for the workers
    too.
    """
    root = os.environ.get("SPOLIA_DATA")
    return Path(root) if root else None


def load(name: str) -> Images:
    """The data set called `name`. Raises DataError that says where it looked."""
    return _load(name, data_root())


@lru_cache(maxsize=32)
def _load(name: str, root: Path | None) -> Images:
    folder, about = _decoded(name, root)
    record = DataRecord.from_json(about["record"])
    return Images(mapped(folder, "train"), mapped(folder, "test"), record, folder)


def _decoded(name: str, root: Path | None) -> tuple[Path, dict[str, Any]]:
    """The folder of the decoded set and what is known of it; decoded where that was not done yet
    or where a file changed since.
    """
    source = parse(name)
    stamp: list[Any]
    if source.kind in ("digits", "torchvision"):
        files = torchvision_files(source.path, root) if source.kind == "torchvision" else []
        stamp = [name, [file_stamp(file) for file in files] or str(root)]
        return decoded(stamp, lambda folder: _from_arrays(name, source, root, folder))
    if source.kind == "pasted":
        objects = _load(source.objects, root)
        stamp = [name, objects.record.digest]
        return decoded(stamp, lambda folder: _from_objects(name, source, objects, folder))
    location = location_of(source, root)
    is_parquet = source.kind == "parquet"
    reader = ParquetReader(location, source) if is_parquet else FolderReader(location)
    stamp = [name, location, reader.files]
    return decoded(stamp, lambda folder: _from_files(name, reader, folder, source.size))


def _from_arrays(name: str, source: Source, root: Path | None, folder: Path) -> dict[str, Any]:
    if source.kind == "digits":
        train, test, classes = digits_arrays()
    else:
        train, test, classes = torchvision_arrays(source.path, root)
    sha = hashlib.sha256()
    for part, (x, y) in (("train", train), ("test", test)):
        sha.update(repr((x.shape, y.shape)).encode())
        sha.update(np.ascontiguousarray(x).tobytes())
        sha.update(y.astype("<i8").tobytes())
        write_arrays(folder, part, x, y)
    return _about(name, folder, classes, sha.hexdigest())


def _from_objects(name: str, source: Source, objects: Images, folder: Path) -> dict[str, Any]:
    if objects.record.shape[0] != 1:
        raise DataError(
            f"{name}: {source.objects} has {objects.record.shape[0]} channels; "
            "grey objects are pasted on canvases"
        )
    seed = int(source.options.get("canvas", "0"))
    sha = hashlib.sha256()
    for part, (x, y) in (("train", objects.train), ("test", objects.test)):
        images, object_masks = pasted_arrays(x, seed, part)
        for array in (images, object_masks, y.astype("<i8")):
            sha.update(array.tobytes())
        write_arrays(folder, part, images, y)
        np.save(folder / f"{part}_masks.npy", object_masks)
    return _about(name, folder, objects.record.classes, sha.hexdigest())


def _from_files(
    name: str, reader: ParquetReader | FolderReader, folder: Path, size: int | None
) -> dict[str, Any]:
    return _about(name, folder, reader.classes, decode_all(reader, folder, size))


def _about(name: str, folder: Path, classes: tuple[str, ...], digest: str) -> dict[str, Any]:
    """The record of a set that has just been decoded, and the digest of its decoded form."""
    (x, y), (test, _) = mapped(folder, "train"), mapped(folder, "test")
    if x.shape[1:] != test.shape[1:]:
        raise DataError(f"{name}: training images are {x.shape[1:]}, test images {test.shape[1:]}")
    mean, std = _statistics(x)
    record = DataRecord(
        name=name,
        digest=digest,
        classes=classes,
        shape=(x.shape[1], x.shape[2], x.shape[3]),
        counts=(len(y), len(test)),
        mean=mean,
        std=std,
    )
    return {"record": record.to_json(), "content": folder_digest(folder)}


def _statistics(x: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of images [N, C, H, W], in units of 255."""
    # Exact whole-number sums: the mean must not depend on the order in which a machine adds.
    sums, squares = np.zeros((2, x.shape[1]), dtype=np.int64)
    for start in range(0, len(x), 4096):
        piece = x[start : start + 4096]
        sums += piece.sum(axis=(0, 2, 3), dtype=np.int64)
        squares += np.square(piece, dtype=np.int64).sum(axis=(0, 2, 3))
    count = x[:, 0].size
    means, deviations = [], []
    for total, square in zip(sums.tolist(), squares.tolist(), strict=True):
        means.append(total / count / 255)
        deviation = (square / count - (total / count) ** 2) ** 0.5 / 255
        deviations.append(max(deviation, 1e-6))
    return tuple(means), tuple(deviations)


def is_intact(name: str) -> bool:
    """Whether the decoded form in the cache is still what was decoded."""
    folder, about = _decoded(name, data_root())
    return folder_digest(folder) == str(about["content"])


def load_verified(task: Task) -> Images:
    """The data of a resolved task; raises DataError where the images are not those that the plan
    was made for.
    """
    images = load(task.data)
    if images.record.digest != task.digest:
        actual, planned = images.record.digest[:12], task.digest[:12]
        raise DataError(
            f"{task.data} has changed: its images hash to {actual}, the plan was made for "
            f"{planned}. Check the data folder {data_root()}"
        )
    return images


def rows(task: Task, part: Part, images: Images) -> NDArray[np.int64]:
    """Row numbers, ascending, of a task's images: in the test set for the part `test`, else in the
    training set.

    Shares are cut class by class from one permutation of the whole class, fixed or drawn by the
    seed, so those of one data set are disjoint whatever classes tasks keep.
    """
    _, y = images.test if part == "test" else images.train
    chosen = []
    for position, name in enumerate(task.kept_classes):
        members = np.flatnonzero(y == images.record.classes.index(name))
        if part != "test":
            train, validation = _shared_out(members, task, name, position)
            members = validation if part == "validation" else train
        chosen.append(members)
    return np.sort(np.concatenate(chosen))


def _shared_out(
    members: NDArray[np.int64], task: Task, name: str, position: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of the rows of one class, the `position`-th that the task keeps: those that are trained on,
    and those held out for validation.
    """
    # RandomState's stream is frozen for good, unlike that of numpy's newer generators: halves stay
    # the same halves.
    stream = ("images", task.digest, name, *([task.seed] if task.drawing else ()))
    random = np.random.RandomState(derive(*stream) % 2**32)
    share, num_shares = task.share
    own = random.permutation(members)[share::num_shares]
    if task.limit is not None:
        # What does not divide evenly goes to the first classes, an image each.
        even, rest = divmod(task.limit, len(task.kept_classes))
        own = own[: even + (position < rest)]
    num_trained = len(own) - round(task.held_out * len(own))
    return own[:num_trained], own[num_trained:]


def masks(task: Task, images: Images, part: Part, chosen: NDArray[np.int64]) -> Pixels:
    """Of the chosen rows the pixels that are the object's, [N, H, W] of 0 and 1, moved and scaled
    as the images are.
    """
    path = images.folder / f"{'test' if part == 'test' else 'train'}_masks.npy"
    if not path.is_file():
        raise DataError(
            f"{task.data} has no masks, so .foreground() cannot be told; "
            "pasted(...) makes a set that has"
        )
    return changed_masks(np.load(path, mmap_mode="r")[chosen], task)[:, 0]


def labels(task: Task, images: Images, y: Labels) -> Labels:
    """Labels of the data set as labels of the task."""
    mapping = np.full(len(images.record.classes), -1, dtype=np.int64)
    positive = task.positive_classes
    for position, name in enumerate(task.kept_classes):
        label = position if positive is None else int(name in positive)
        mapping[images.record.classes.index(name)] = label
    return mapping[y]
