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

    def records(self, part: str) -> Iterator[Encoded]: ...


def place_of(source: Source, root: Path | None) -> str:
    """The folder or address of a set of files. Raises DataError where there is no such folder."""
    if "://" in source.path:
        return source.path
    path = Path(source.path)
    found = path if path.is_absolute() else _root(f"{source.kind}/{source.path}", root) / path
    if not found.is_dir():
        raise DataError(
            f"{source.kind}/{source.path}: there is no folder {found} (the data root comes from --data or SPOLIA_DATA)"
        )
    return str(found)


def _root(name: str, root: Path | None) -> Path:
    if root is None:
        raise DataError(f"{name} needs a data folder: pass --data FOLDER or set SPOLIA_DATA")
    if not root.is_dir():
        raise DataError(f"the data folder {root} does not exist (from --data or SPOLIA_DATA)")
    return root


class FolderReader:
    """`train/CLASS/*.png` and `test/CLASS/*.png`; classes are the names of the folders in `train`,
    sorted.
    """

    def __init__(self, place: str) -> None:
        self.root = Path(place)
        for part in ("train", "test"):
            if not (self.root / part).is_dir():
                raise DataError(
                    f"{self.root} has no folder {part!r}; images lie in train/CLASS/ and test/CLASS/"
                )
        self.classes = tuple(sorted(p.name for p in (self.root / "train").iterdir() if p.is_dir()))
        if not self.classes:
            raise DataError(
                f"{self.root / 'train'} has no folder of a class; images lie in train/CLASS/ and test/CLASS/"
            )
        if extra := sorted(
            {p.name for p in (self.root / "test").iterdir() if p.is_dir()} - set(self.classes)
        ):
            raise DataError(
                f"{self.root / 'test'} has the class {extra[0]!r}, which is not in train: {', '.join(self.classes)}"
            )

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
    found = [p for folder in (top, top / "torchvision") for p in folder.glob(pattern)]
    return sorted(f for p in found for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file())


def torchvision_arrays(
    name: str, root: Path | None
) -> tuple[tuple[Pixels, Labels], tuple[Pixels, Labels], tuple[str, ...]]:
    """One of torchvision's sets as arrays. Raises DataError that says where it looked."""
    top = _root(f"torchvision/{name}", root)
    import torchvision.datasets as sets

    cls = getattr(sets, name)
    folder = _unpacked(name, top)
    parts = []
    for train in (True, False):
        choice = (
            {"split": "train" if train else "test"}
            if name in ("SVHN", "STL10")
            else {"train": train}
        )
        try:
            data: Any = cls(str(folder), download=False, **choice)
        except (RuntimeError, OSError, EOFError, ValueError) as error:
            raise DataError(f"torchvision/{name} cannot be read from {root}: {error}") from error
        parts.append(
            (
                _pixels(data.data),
                np.asarray(
                    getattr(data, "labels", None) if name in ("SVHN", "STL10") else data.targets,
                    dtype=np.int64,
                ),
            )
        )
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
    raw = next(
        (f for f in (root / name / "raw", root / "torchvision" / name / "raw") if f.is_dir()), None
    )
    if raw is None:
        return (
            root / "torchvision"
            if (root / "torchvision").is_dir() and not (root / name).exists()
            else root
        )
    packed = sorted(raw.glob("*-ubyte.gz"))
    if not packed or all((raw / p.stem).exists() for p in packed):
        return raw.parent.parent
    stamp = hashlib.sha256(
        repr([(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in packed]).encode()
    ).hexdigest()[:16]
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
