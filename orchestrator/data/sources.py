"""Reading data sets into memory, once a process, and describing them for planning."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.canonical import derive
from orchestrator.data.names import TORCHVISION_SETS
from orchestrator.errors import DataError
from orchestrator.task import DataRecord, Part, Task

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """A data set in memory: pixels [N, C, H, W] of 0..255 and labels [N] of both parts, and its record."""

    train: tuple[Pixels, Labels]
    test: tuple[Pixels, Labels]
    record: DataRecord


def data_root() -> Path | None:
    """The folder of image sets: the variable SPOLIA_DATA, which `--data` sets for the workers too."""
    root = os.environ.get("SPOLIA_DATA")
    return Path(root) if root else None


def load(name: str) -> Images:
    """The data set called `name`, decoded; kept for the life of the process. Raises DataError that says where it looked."""
    return _load(name, data_root())


@lru_cache(maxsize=8)
def _load(name: str, root: Path | None) -> Images:
    if name == "digits":
        train, test, classes = _digits()
    elif name.removeprefix("torchvision/") in TORCHVISION_SETS:
        train, test, classes = _torchvision(name.removeprefix("torchvision/"), root)
    else:
        raise DataError(f"no data set is called {name!r}: 'digits', or 'torchvision/NAME' with NAME one of {', '.join(TORCHVISION_SETS)}")
    return Images(train, test, _describe(name, train, test, classes))


def load_verified(task: Task) -> Images:
    """The data of a resolved task; raises DataError where the images are not those that the plan was made for."""
    images = load(task.data)
    if images.record.digest != task.digest:
        found, wanted = images.record.digest[:12], task.digest[:12]
        raise DataError(f"{task.data} has changed: its images hash to {found}, the plan was made for {wanted}. Check the data folder {data_root()}")
    return images


def rows(task: Task, part: Part, images: Images) -> NDArray[np.int64]:
    """Row numbers, ascending, of a task's images: in the test set for the part `test`, else in the training set.

    Shares are cut class by class from one fixed permutation of the whole class, so those of one data set are disjoint whatever classes tasks keep.
    """
    y = (images.test if part == "test" else images.train)[1]
    chosen = []
    index, of = task.share
    for position, name in enumerate(task.class_names):
        members = np.flatnonzero(y == images.record.classes.index(name))
        if part != "test":
            # RandomState's stream is frozen for good, unlike that of numpy's newer generators: halves stay the same halves.
            members = np.random.RandomState(derive("images", task.digest, name) % 2**32).permutation(members)[index::of]
            if task.limit is not None:
                members = members[: task.limit // task.num_classes + (position < task.limit % task.num_classes)]
            held_out = round(task.held_out * len(members))
            members = members[len(members) - held_out :] if part == "validation" else members[: len(members) - held_out]
        chosen.append(members)
    return np.sort(np.concatenate(chosen))


def labels(task: Task, images: Images, y: Labels) -> Labels:
    """Labels of the data set as labels of the task."""
    mapping = np.full(len(images.record.classes), -1, dtype=np.int64)
    for position, name in enumerate(task.class_names):
        mapping[images.record.classes.index(name)] = position
    return mapping[y]


def _describe(name: str, train: tuple[Pixels, Labels], test: tuple[Pixels, Labels], classes: tuple[str, ...]) -> DataRecord:
    sha = hashlib.sha256()
    for x, y in (train, test):
        sha.update(repr((x.shape, y.shape)).encode())
        sha.update(np.ascontiguousarray(x).tobytes())
        sha.update(y.astype("<i8").tobytes())
    channels = range(train[0].shape[1])
    # Exact whole-number sums: the mean must not depend on the order in which a machine adds.
    count = train[0][:, 0].size
    sums = [int(train[0][:, c].sum(dtype=np.int64)) for c in channels]
    squares = [int(np.square(train[0][:, c], dtype=np.int64).sum()) for c in channels]
    mean = tuple(s / count / 255 for s in sums)
    std = tuple(max((q / count - (s / count) ** 2) ** 0.5 / 255, 1e-6) for q, s in zip(squares, sums, strict=True))
    shape = (train[0].shape[1], train[0].shape[2], train[0].shape[3])
    counts = (len(train[1]), len(test[1]))
    return DataRecord(name=name, digest=sha.hexdigest(), classes=classes, shape=shape, counts=counts, mean=mean, std=std)


def _digits() -> tuple[tuple[Pixels, Labels], tuple[Pixels, Labels], tuple[str, ...]]:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    y = bunch.target.astype(np.int64)
    order = np.random.RandomState(0).permutation(len(y))
    train, test = np.sort(order[:1200]), np.sort(order[1200:])
    return (x[train], y[train]), (x[test], y[test]), tuple(str(d) for d in range(10))


def _torchvision(name: str, root: Path | None) -> tuple[tuple[Pixels, Labels], tuple[Pixels, Labels], tuple[str, ...]]:
    if root is None:
        raise DataError(f"torchvision/{name} needs a data folder: pass --data FOLDER or set SPOLIA_DATA")
    if not root.is_dir():
        raise DataError(f"the data folder {root} does not exist (from --data or SPOLIA_DATA)")
    import torchvision.datasets as sets

    cls = getattr(sets, name)
    folder = _unpacked(name, root)
    parts = []
    for train in (True, False):
        choice = {"split": "train" if train else "test"} if name in ("SVHN", "STL10") else {"train": train}
        try:
            data: Any = cls(str(folder), download=False, **choice)
        except (RuntimeError, OSError, EOFError, ValueError) as error:
            raise DataError(f"torchvision/{name} cannot be read from {root}: {error}") from error
        parts.append((_pixels(data.data), np.asarray(getattr(data, "labels", None) if name in ("SVHN", "STL10") else data.targets, dtype=np.int64)))
        classes = getattr(data, "classes", None) or [str(c) for c in range(10)]
    return parts[0], parts[1], tuple(str(c) for c in classes)


def _pixels(data: Any) -> Pixels:
    """Any of torchvision's layouts as [N, C, H, W] uint8."""
    x = np.asarray(data)
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[-1] == 3:
        x = x.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(x, dtype=np.uint8)


def _unpacked(name: str, root: Path) -> Path:
    """A folder in which torchvision finds the set. Sets of the MNIST family that lie there as .gz only are unpacked into the user's cache, because
    the data folder may be read-only."""
    raw = next((f for f in (root / name / "raw", root / "torchvision" / name / "raw") if f.is_dir()), None)
    if raw is None:
        return root / "torchvision" if (root / "torchvision").is_dir() and not (root / name).exists() else root
    packed = sorted(raw.glob("*-ubyte.gz"))
    if not packed or all((raw / p.stem).exists() for p in packed):
        return raw.parent.parent
    stamp = hashlib.sha256(repr([(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in packed]).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spolia" / "unpacked" / stamp
    target = cache / name / "raw"
    target.mkdir(parents=True, exist_ok=True)
    for file in packed:
        if not (target / file.stem).exists():
            _unpack(file, target / file.stem)
    return cache


def _unpack(file: Path, target: Path) -> None:
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as out, gzip.open(file) as packed:
            shutil.copyfileobj(packed, out)
    except (OSError, EOFError) as error:
        raise DataError(f"{file} cannot be unpacked: {error}") from error
    os.replace(out.name, target)  # two workers may unpack at once; each file appears whole
