"""Data sets by name: decoded once a node, mapped into memory, described for planning; and which of
their rows a task takes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.canvases import pasted_arrays
from orchestrator.data.changes import changed_masks
from orchestrator.data.decoded import (
    built_again,
    decoded,
    folder_digest,
    is_whole,
    mapped,
    write_arrays,
)
from orchestrator.data.decoding import Summary, counted, decode_all
from orchestrator.data.folders import FolderReader
from orchestrator.data.parquet_files import ParquetReader
from orchestrator.data.pixels import UNLABELLED
from orchestrator.data.readers import (
    Labels,
    Pixels,
    Reader,
    digits_arrays,
    file_stamp,
    location_of,
    no_arrays,
    torchvision_arrays,
    torchvision_files,
)
from orchestrator.data.root import data_root
from orchestrator.data.scenes import windows_arrays
from orchestrator.errors import DataError, nearest
from orchestrator.spec.canonical import derive
from orchestrator.spec.datasets import Source, parse
from orchestrator.spec.preparation import IMAGENET
from orchestrator.spec.task import BINARY, IGNORED, DataRecord, Part, Task

BYTES_AT_ONCE = 8 * 2**20  # of images, when their statistics are taken


@dataclass(frozen=True)
class Images:
    """A data set mapped into memory: pixels [N, C, H, W] of 0..255 and labels [N] of both parts,
    its record, and where its decoded form lies.
    """

    train: tuple[Pixels, Labels]
    test: tuple[Pixels, Labels]
    record: DataRecord
    folder: Path


def load(name: str) -> Images:
    """The data set called `name`. Raises DataError that says where it looked."""
    return _found(name, data_root())


def _found(name: str, root: Path | None) -> Images:
    """What this process has loaded already, as long as its decoded form is there: somebody may have
    removed the cache meanwhile, and what is mapped does not tell where its masks lay.
    """
    images = _load(name, root)
    if not is_whole(images.folder):
        _load.cache_clear()
        images = _load(name, root)
    return images


@lru_cache(maxsize=32)
def _load(name: str, root: Path | None) -> Images:
    return _images(*_decoded(name, root))


def _images(folder: Path, about: Mapping[str, Any]) -> Images:
    record = DataRecord.from_json(about["record"])
    return Images(mapped(folder, "train"), mapped(folder, "test"), record, folder)


def _decoded(name: str, root: Path | None) -> tuple[Path, dict[str, Any]]:
    """The folder of the decoded set and what is known of it; decoded where that was not done yet
    or where a file changed since.
    """
    stamp = stamp_of(name, root)

    def build(folder: Path) -> dict[str, Any]:
        about = _build(name, root, folder, lambda objects: _found(objects, root))
        return {**about, "name": name, "root": None if root is None else str(root)}

    return decoded(stamp, build)


def stamp_of(name: str, root: Path | None) -> list[Any]:
    """What names the decoded form of a set as its files are now. Raises MissingDataError where
    there are none.
    """
    source = parse(name)
    if source.kind in ("digits", "unseen"):
        return [name, str(root)]
    if source.kind == "torchvision":
        files = torchvision_files(source.path, root)
        return [name, [file_stamp(file) for file in files] or str(root)]
    if source.kind == "pasted":
        return [name, stamp_of(source.objects, root)]
    if source.kind == "windows":
        return [name, stamp_of(source.scenes, root)]
    location = location_of(source, root)
    return [name, location, _reader(location, source).files]


def _reader(location: str, source: Source) -> Reader:
    if source.kind == "parquet":
        return ParquetReader(location, source)
    return FolderReader(location, source)


def reader_of(name: str) -> Reader | None:
    """What reads the files of a set; None for sets that are not read image by image."""
    source = parse(name)
    if source.kind not in ("parquet", "folder"):
        return None
    return _reader(location_of(source, data_root()), source)


def _build(
    name: str, root: Path | None, folder: Path, objects_of: Callable[[str], Images]
) -> dict[str, Any]:
    """Read a set from its source and write its decoded form into a folder; its record, and the
    digest of what was written. `objects_of` reads the set that a `pasted` one is made of.
    """
    source = parse(name)
    if source.kind in ("digits", "torchvision", "unseen"):
        return _from_arrays(name, source, root, folder)
    if source.kind == "pasted":
        return _from_objects(name, source, objects_of(source.objects), folder)
    if source.kind == "windows":
        return _from_scenes(name, source, objects_of(source.scenes), folder)
    reader = _reader(location_of(source, root), source)
    summary = decode_all(name, reader, source, folder)
    return _about(name, folder, reader.classes, summary)


def read_again(name: str, use: Callable[[Images, Mapping[str, Any]], str]) -> str:
    """What `use` says of a set that is read from its source once more, every byte of it, whatever
    the cache holds; its second argument has the digest of the decoded form as `content`.
    """
    root = data_root()

    def build(folder: Path) -> str:
        def objects_of(objects: str) -> Images:
            inner = folder / "objects"
            inner.mkdir()
            return _images(inner, _build(objects, root, inner, objects_of))

        about = _build(name, root, folder, objects_of)
        return use(_images(folder, about), about)

    return built_again(build)


def _from_arrays(name: str, source: Source, root: Path | None, folder: Path) -> dict[str, Any]:
    if source.kind == "digits":
        train, test, classes = digits_arrays()
    elif source.kind == "unseen":
        train, test, classes = no_arrays(source)
    else:
        scratch = folder / "unpacked"
        train, test, classes = torchvision_arrays(source.path, root, scratch)
        shutil.rmtree(scratch, ignore_errors=True)
    sha = hashlib.sha256()
    for part, (x, y) in (("train", train), ("test", test)):
        sha.update(repr((x.shape, y.shape)).encode())
        sha.update(np.ascontiguousarray(x).tobytes())
        sha.update(y.astype("<i8").tobytes())
        write_arrays(folder, part, x, y)
    return _about(name, folder, classes, Summary(sha.hexdigest()))


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
    summary = Summary(sha.hexdigest(), mask_names=BINARY)
    return _about(name, folder, objects.record.classes, summary)


def _from_scenes(name: str, source: Source, scenes: Images, folder: Path) -> dict[str, Any]:
    category, size = source.options["of"], int(source.options["window"])
    names, (_, height, width) = scenes.record.mask_names, scenes.record.shape
    if category not in names:
        raise DataError(
            f"{name}: {source.scenes} has no class of pixels {category!r}. "
            f"{nearest(category, names)}"
        )
    if size > min(height, width):
        raise DataError(f"{name}: scenes of {height} x {width} have no window of {size} pixels")
    seed, sha = int(source.options["cut"]), hashlib.sha256()
    for part, (x, _) in (("train", scenes.train), ("test", scenes.test)):
        masks_of_scenes = np.load(scenes.folder / f"{part}_masks.npy", mmap_mode="r")
        arrays = windows_arrays(x, masks_of_scenes, names.index(category), size, seed, part)
        for array in arrays:
            sha.update(np.ascontiguousarray(array).tobytes())
        images, y, cut_masks = arrays
        write_arrays(folder, part, images, y)
        np.save(folder / f"{part}_masks.npy", cut_masks)
    summary = Summary(sha.hexdigest(), mask_names=names)
    return _about(name, folder, ("rest", category), summary)


def _about(name: str, folder: Path, classes: tuple[str, ...], summary: Summary) -> dict[str, Any]:
    """The record of a set that has just been decoded, and the digest of its decoded form."""
    (x, y), (test, y_test) = mapped(folder, "train"), mapped(folder, "test")
    if x.shape[1:] != test.shape[1:]:
        raise DataError(f"{name}: training images are {x.shape[1:]}, test images {test.shape[1:]}")
    mean, std = _statistics(x) if len(x) else (IMAGENET.mean, IMAGENET.std)
    num_train, num_test = (np.bincount(labels, minlength=len(classes)) for labels in (y, y_test))
    class_counts = tuple(zip(num_train.tolist(), num_test.tolist(), strict=True))
    if len(x) or len(test):  # of what is unseen, nobody expects any image
        summary.warnings += _warnings_of_classes(classes, class_counts)
    sizes = {}
    for (high, wide), count in summary.sizes.items():
        sizes[f"{high}x{wide}"] = count
    record = DataRecord(
        name=name,
        digest=summary.digest,
        classes=classes,
        shape=(x.shape[1], x.shape[2], x.shape[3]),
        counts=(len(y), len(test)),
        mean=mean,
        std=std,
        class_counts=class_counts,
        modes=counted(summary.modes),
        sizes=counted(sizes),
        mask_names=summary.mask_names,
        warnings=tuple(summary.warnings),
    )
    return {"record": record.to_json(), "content": folder_digest(folder)}


def _warnings_of_classes(
    classes: Sequence[str], counts: Sequence[tuple[int, int]]
) -> Iterator[str]:
    """Classes that nothing can be learned of, or that nothing is measured on."""
    lacking: dict[str, list[str]] = {"image": [], "training image": [], "test image": []}
    for name, (num_train, num_test) in zip(classes, counts, strict=True):
        if not num_train or not num_test:
            what = "test image" if num_train else "training image" if num_test else "image"
            lacking[what].append(name)
    for lack, names in lacking.items():
        if names:
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            yield f"no {lack} of {'class' if len(names) == 1 else 'the classes'} {shown}"


def _statistics(x: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of images [N, C, H, W], in units of 255."""
    # Exact whole-number sums: the mean must not depend on the order in which a machine adds, nor on
    # how many images are taken at once.
    sums, squares = np.zeros((2, x.shape[1]), dtype=np.int64)
    at_once = max(1, BYTES_AT_ONCE // x[0].size)
    for start in range(0, len(x), at_once):
        piece = x[start : start + at_once]
        sums += piece.sum(axis=(0, 2, 3), dtype=np.int64)
        squares += np.square(piece, dtype=np.int64).sum(axis=(0, 2, 3))
    count = x[:, 0].size
    means, deviations = [], []
    for total, square in zip(sums.tolist(), squares.tolist(), strict=True):
        means.append(total / count / 255)
        deviation = (square / count - (total / count) ** 2) ** 0.5 / 255
        deviations.append(max(deviation, 1e-6))
    return tuple(means), tuple(deviations)


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


def masks(task: Task, images: Images, part: Part, chosen: NDArray[np.int64]) -> NDArray[np.integer]:
    """Of the chosen rows the labels of their pixels, [N, H, W]; moved and scaled as the images are,
    `IGNORED` for pixels without a class.
    """
    path = images.folder / f"{'test' if part == 'test' else 'train'}_masks.npy"
    if not path.is_file():
        raise DataError(
            f"{task.data} has no masks, so .foreground() cannot be told; "
            "pasted(...) makes a set that has"
        )
    stored = np.load(path, mmap_mode="r")  # [N, 1, H, W]
    names = images.record.mask_names or BINARY
    objects = BINARY[1:] if task.objects is None else task.objects
    # A label for each number in the stored masks; what is not named is background, or ignored.
    table = np.full(256, IGNORED if task.each_pixel else 0, dtype=np.int8)
    table[UNLABELLED] = IGNORED
    for position, name in enumerate(objects):
        table[names.index(str(name))] = position if task.each_pixel else 1
    return changed_masks(stored, chosen, table, task)


def labels(task: Task, images: Images, y: Labels) -> Labels:
    """Labels of the data set as labels of the task."""
    mapping = np.full(len(images.record.classes), -1, dtype=np.int64)
    positive = task.positive_classes
    for position, name in enumerate(task.kept_classes):
        label = position if positive is None else int(name in positive)
        mapping[images.record.classes.index(name)] = label
    return mapping[y]
