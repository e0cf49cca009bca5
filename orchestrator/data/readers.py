"""Where images come from: arrays that a library hands over whole, or files with encoded images,
read a record at a time.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import DataError
from orchestrator.spec.datasets import Source
from orchestrator.store.files import cache_folder

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")


@dataclass(frozen=True)
class Encoded:
    """One image as it lies in a file; `place` names it in errors."""

    content: bytes
    label: int
    place: str


class Reader(Protocol):
    """Encoded images of both parts. May be gone through several times, always in one order."""

    classes: tuple[str, ...]

    def records(self, part: str) -> Iterator[Encoded]:
        """The images of a part with their labels. Raises DataError where one cannot be read."""
        ...


def location_of(source: Source, root: Path | None) -> str:
    """The folder or address of a set of files. Raises DataError where there is no such folder."""
    if "://" in source.path:
        return source.path
    path = Path(source.path)
    folder = path if path.is_absolute() else _root(f"{source.kind}/{source.path}", root) / path
    if not folder.is_dir():
        raise DataError(
            f"{source.kind}/{source.path}: there is no folder {folder} "
            "(the data root comes from --data or SPOLIA_DATA)"
        )
    return str(folder)


def _root(name: str, root: Path | None) -> Path:
    if root is None:
        raise DataError(f"{name} needs a data folder: pass --data FOLDER or set SPOLIA_DATA")
    if not root.is_dir():
        raise DataError(f"the data folder {root} does not exist (from --data or SPOLIA_DATA)")
    return root


def file_stamp(path: Path) -> list[Any]:
    """Path, size and time of change."""
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]


class FolderReader:
    """`train/CLASS/*.png` and `test/CLASS/*.png`; classes are the names of the folders in `train`,
    sorted.
    """

    def __init__(self, location: str) -> None:
        self.root = Path(location)
        layout = "images lie in train/CLASS/ and test/CLASS/"
        for part in ("train", "test"):
            if not (self.root / part).is_dir():
                raise DataError(f"{self.root} has no folder {part!r}; {layout}")
        self.classes = self._folders("train")
        if not self.classes:
            raise DataError(f"{self.root / 'train'} has no folder of a class; {layout}")
        if extra := sorted(set(self._folders("test")) - set(self.classes)):
            raise DataError(
                f"{self.root / 'test'} has the class {extra[0]!r}, which is not in train: "
                f"{', '.join(self.classes)}"
            )

    def _folders(self, part: str) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in (self.root / part).iterdir() if path.is_dir()))

    @property
    def files(self) -> list[list[Any]]:
        """Path, size and time of change of every file, for noticing that one changed."""
        paths = [
            *sorted((self.root / "train").rglob("*")),
            *sorted((self.root / "test").rglob("*")),
        ]
        return [file_stamp(path) for path in paths if path.is_file()]

    def records(self, part: str) -> Iterator[Encoded]:
        for label, name in enumerate(self.classes):
            for path in sorted((self.root / part / name).glob("*")):
                if path.suffix.lower() in SUFFIXES:
                    try:
                        yield Encoded(path.read_bytes(), label, str(path))
                    except OSError as error:
                        raise DataError(f"{path} cannot be read: {error}") from error


def digits_arrays() -> tuple[tuple[Pixels, Labels], tuple[Pixels, Labels], tuple[str, ...]]:
    """scikit-learn's digits with our own fixed split."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    y = bunch.target.astype(np.int64)
    order = np.random.RandomState(0).permutation(len(y))
    train, test = np.sort(order[:1200]), np.sort(order[1200:])
    return (x[train], y[train]), (x[test], y[test]), tuple(str(d) for d in range(10))


# Where torchvision keeps what it reads, so that a change is noticed without importing it.
_TORCHVISION_FILES = {
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "STL10": "stl10_binary",
    "SVHN": "*_32x32.mat",
    "USPS": "usps*",
}


def torchvision_files(name: str, root: Path | None) -> list[Path]:
    """The files of one of torchvision's sets below the data root; none where they are not found
    where torchvision expects them.
    """
    pattern = _TORCHVISION_FILES.get(name, f"{name}/raw")
    top = _root(f"torchvision/{name}", root)
    files: list[Path] = []
    for path in [*top.glob(pattern), *(top / "torchvision").glob(pattern)]:
        inner = path.rglob("*") if path.is_dir() else [path]
        files += [file for file in inner if file.is_file()]
    return sorted(files)


def torchvision_arrays(
    name: str, root: Path | None
) -> tuple[tuple[Pixels, Labels], tuple[Pixels, Labels], tuple[str, ...]]:
    """One of torchvision's sets as arrays. Raises DataError that says where it looked."""
    top = _root(f"torchvision/{name}", root)
    import torchvision.datasets as sets

    cls = getattr(sets, name)
    folder = _unpacked(name, top)
    # These two name their parts and labels in a way of their own.
    has_splits = name in ("SVHN", "STL10")
    parts = []
    for part in ("train", "test"):
        choice: dict[str, Any] = {"split": part} if has_splits else {"train": part == "train"}
        try:
            data: Any = cls(str(folder), download=False, **choice)
        except (RuntimeError, OSError, EOFError, ValueError) as error:
            raise DataError(f"torchvision/{name} cannot be read from {root}: {error}") from error
        labels = data.labels if has_splits else data.targets
        parts.append((_pixels(data.data), np.asarray(labels, dtype=np.int64)))
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
    """A folder in which torchvision finds the set. Sets of the MNIST family that lie there as .gz
    only are unpacked into the user's cache, because the data folder may be read-only."""
    below = root / "torchvision"  # where the set may lie, too
    raw = root / name / "raw"
    if not raw.is_dir():
        raw = below / name / "raw"
    if not raw.is_dir():
        return below if below.is_dir() and not (root / name).exists() else root
    packed = sorted(raw.glob("*-ubyte.gz"))
    if all((raw / path.stem).exists() for path in packed):
        return raw.parent.parent
    files = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in packed]
    stamp = hashlib.sha256(repr(files).encode()).hexdigest()[:16]
    cache = cache_folder() / "unpacked" / stamp
    target = cache / name / "raw"
    target.mkdir(parents=True, exist_ok=True)
    for file in packed:
        if not (target / file.stem).exists():
            _unpack(file, target / file.stem)
    return cache


def _unpack(file: Path, target: Path) -> None:
    try:
        with (
            tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as out,
            gzip.open(file) as packed,
        ):
            shutil.copyfileobj(packed, out)
    except (OSError, EOFError) as error:
        raise DataError(f"{file} cannot be unpacked: {error}") from error
    os.replace(out.name, target)  # two workers may unpack at once; each file appears whole
