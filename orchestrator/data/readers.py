"""Where images come from: arrays that a library hands over whole, or files with encoded images,
read a record at a time by a `Reader`.
"""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import DataError, MissingDataError, option
from orchestrator.spec.datasets import Source

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
PARTS = ("train", "test")


@dataclass(frozen=True)
class Encoded:
    """One image as it lies in a file; `place` names it in errors. `mask` is an encoded image, too,
    and `box` left, top, right and bottom of what is to be cut out. `problem` says why the image
    cannot be used, the same words for all of one kind; it is empty for a good one.
    """

    content: bytes
    label: int
    place: str
    mask: bytes | None = None
    box: tuple[float, float, float, float] | None = None
    problem: str = ""


class Reader(Protocol):
    """Encoded images of both parts. May be gone through several times, always in one order."""

    mask_names: tuple[str, ...]
    """Names of the classes of pixels, by number; empty where there are none."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        ...

    @property
    def files(self) -> list[Any]:
        """Path, size and time of change of every file, for noticing that one changed."""
        ...

    @property
    def warnings(self) -> list[str]:
        """What a user should know of how the set is read."""
        ...

    def count(self, part: str) -> int | None:
        """How many images a part has, where that is known before they are read."""
        ...

    def records(self, part: str) -> Iterator[Encoded]:
        """The images of a part with their labels. Raises DataError where a file cannot be read."""
        ...


def location_of(source: Source, root: Path | None) -> str:
    """The folder or address of a set of files. Raises DataError where there is no such folder."""
    if "://" in source.path:
        return source.path
    path = Path(source.path)
    folder = path if path.is_absolute() else _root(f"{source.kind}/{source.path}", root) / path
    if not folder.is_dir():
        raise MissingDataError(
            f"{source.kind}/{source.path}: there is no folder {folder} "
            f"(the data root comes from {option('data')} or SPOLIA_DATA)"
        )
    return str(folder)


def _root(name: str, root: Path | None) -> Path:
    if root is None:
        raise MissingDataError(
            f"{name} needs a data folder: pass {option('data', 'FOLDER')} or set SPOLIA_DATA"
        )
    if not root.is_dir():
        raise MissingDataError(
            f"the data folder {root} does not exist (from {option('data')} or SPOLIA_DATA)"
        )
    return root


def file_stamp(path: Path) -> list[Any]:
    """Path, size and time of change."""
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]


def digits_arrays() -> tuple[tuple[Pixels, Labels], tuple[Pixels, Labels], tuple[str, ...]]:
    """scikit-learn's digits with our own fixed split."""
    # The file itself: to import scikit-learn and all that it brings takes seconds.
    package = find_spec("sklearn")
    assert package is not None, "a dependency of ours"
    file = Path(str(package.origin)).parent / "datasets/data/digits.csv.gz"
    table = np.loadtxt(file, delimiter=",")  # [1797, 64 pixels and the label]
    # [1797, 64] with 0 to 16 becomes [1797, 1, 8, 8] with 0 to 255.
    x = np.round(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    y = table[:, -1].astype(np.int64)
    # RandomState's stream is frozen for good, unlike that of numpy's newer generators. Sorted, each
    # part keeps the order of the set.
    order = np.random.RandomState(0).permutation(len(y))
    train, test = np.sort(order[:1200]), np.sort(order[1200:])
    return (x[train], y[train]), (x[test], y[test]), tuple(str(d) for d in range(10))


def no_arrays(
    source: Source,
) -> tuple[tuple[Pixels, Labels], tuple[Pixels, Labels], tuple[str, ...]]:
    """No colour images of so many classes, which are called by their numbers: what there is of an
    `unseen` set.
    """
    size = source.size or 1
    nothing = np.zeros((0, 3, size, size), dtype=np.uint8), np.zeros(0, dtype=np.int64)
    return nothing, nothing, tuple(map(str, range(int(source.options["classes"]))))


_ADVICE = "You can use download=True to download it"  # torchvision's, which nobody here can follow

# Where torchvision keeps what it reads, so that a change is noticed without importing it.
_TORCHVISION_FILES = {
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "STL10": "stl10_binary",
    "SVHN": "*_32x32.mat",
    "USPS": "usps*",
}


def _pattern_of(name: str) -> str:
    return _TORCHVISION_FILES.get(name, f"{name}/raw")


def torchvision_files(name: str, root: Path | None) -> list[Path]:
    """The files of one of torchvision's sets below the data root; none where they are not found
    where torchvision expects them.
    """
    pattern = _pattern_of(name)
    top = _root(f"torchvision/{name}", root)
    files: list[Path] = []
    for path in [*top.glob(pattern), *(top / "torchvision").glob(pattern)]:
        inner = path.rglob("*") if path.is_dir() else [path]
        files += [file for file in inner if file.is_file()]
    return sorted(files)


def torchvision_arrays(
    name: str, root: Path | None, scratch: Path
) -> tuple[tuple[Pixels, Labels], tuple[Pixels, Labels], tuple[str, ...]]:
    """One of torchvision's sets as arrays; `scratch` is an empty folder, for files to be unpacked
    into. Raises DataError that says where it looked.
    """
    top = _root(f"torchvision/{name}", root)
    import torchvision.datasets as sets

    cls = getattr(sets, name)
    folder = _unpacked(name, top, scratch)
    # These two name their parts and labels in a way of their own.
    has_splits = name in ("SVHN", "STL10")
    parts = []
    for part in ("train", "test"):
        choice: dict[str, Any] = {"split": part} if has_splits else {"train": part == "train"}
        try:
            data: Any = cls(str(folder), download=False, **choice)
        except (RuntimeError, OSError, EOFError, ValueError) as error:
            # `status` and `results` go on without a set that is not here, but not with one that is
            # broken.
            told = f"torchvision/{name} cannot be read from {root}:"
            if torchvision_files(name, root):
                why = str(error).replace(_ADVICE, "").strip()
                raise DataError(f"{told} {why}") from error
            raise MissingDataError(
                f"{told} there is no {_pattern_of(name)} in it, nor in its folder torchvision; "
                "data sets are never downloaded"
            ) from error
        labels = data.labels if has_splits else data.targets
        parts.append((_pixels(data.data), np.asarray(labels, dtype=np.int64)))
        classes = getattr(data, "classes", None) or [str(c) for c in range(10)]
    return parts[0], parts[1], tuple(str(c) for c in classes)


def _pixels(data: Any) -> Pixels:
    """Any of torchvision's layouts as [N, C, H, W] uint8."""
    x = np.asarray(data)
    # [N, H, W] of grey sets, [N, H, W, 3] of CIFAR; SVHN and STL10 are [N, 3, H, W] already.
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[-1] == 3:
        x = x.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(x, dtype=np.uint8)


def _unpacked(name: str, root: Path, scratch: Path) -> Path:
    """A folder in which torchvision finds the set. Sets of the MNIST family that lie there as .gz
    only are unpacked elsewhere, because the data folder may be read-only."""
    below = root / "torchvision"  # where the set may lie, too
    raw = root / name / "raw"
    if not raw.is_dir():
        raw = below / name / "raw"
    if not raw.is_dir():
        return below if below.is_dir() and not (root / name).exists() else root
    packed = sorted(raw.glob("*-ubyte.gz"))
    if all((raw / path.stem).exists() for path in packed):
        # torchvision wants the folder above `NAME/raw`.
        return raw.parent.parent
    target = scratch / name / "raw"
    target.mkdir(parents=True)
    for file in packed:
        _unpack(file, target / file.stem)
    return scratch


def _unpack(file: Path, target: Path) -> None:
    try:
        with gzip.open(file) as packed, open(target, "wb") as out:
            shutil.copyfileobj(packed, out)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} cannot be unpacked: {error}") from error
