"""Decoded images, once a node: .npy files in the user's cache, mapped into memory by every worker,
so that all share the same pages.

A folder of the cache is named by what was decoded (data set, options, files with sizes and times),
appears whole, and may be thrown away at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from orchestrator.data.readers import Encoded, Labels, Pixels, Reader
from orchestrator.errors import DataError
from orchestrator.spec.canonical import digest
from orchestrator.store.files import cache_folder

PARTS = ("train", "test")
FORMAT = 1
AT_ONCE = 512


def decoded(stamp: Any, build: Callable[[Path], dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    """The folder for a stamp and what `build` said of it; made by the first process on this machine
    that asks, while the others wait.

    `build(folder)` writes `train.npy`, `train_labels.npy`, `test.npy` and `test_labels.npy`. Raises
    DataError where the cache cannot be written.
    """
    home = cache_folder() / "decoded"
    target = home / digest([FORMAT, stamp])[:32]
    try:
        if not (target / "about.json").exists():
            home.mkdir(parents=True, exist_ok=True)
            with _locked(home / f"{target.name}.lock"):
                if not (target / "about.json").exists():
                    _build(home, target, build)
        return target, json.loads((target / "about.json").read_text())
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"decoded images cannot be kept in {home}: {reason}. "
            "Set SPOLIA_CACHE to a folder with room"
        ) from error


def _build(home: Path, target: Path, build: Callable[[Path], dict[str, Any]]) -> None:
    temporary = Path(tempfile.mkdtemp(dir=home, prefix=f".{target.name}."))
    try:
        about = build(temporary)
        (temporary / "about.json").write_text(json.dumps(about))
        shutil.rmtree(target, ignore_errors=True)  # half a folder of a version that knew no better
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of this name, alone on this machine."""
    with _lock_file(path) as file:
        try:
            yield
        finally:
            # While the lock is still held: whoever waits for this file sees below that it has gone.
            with contextlib.suppress(OSError):
                os.unlink(file.name)


def _lock_file(path: Path) -> IO[str]:
    """The file of a lock, locked. One that somebody removed between opening and locking it locks
    nothing, since the next comer makes another: then once more.
    """
    while True:
        file = open(path, "w")  # noqa: SIM115 - the caller closes it, which ends the lock
        fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()


def mapped(folder: Path, part: str) -> tuple[Pixels, Labels]:
    """Pixels and labels of a part, mapped copy-on-write: shared by all processes, and nobody's
    writing reaches the file.
    """
    return np.load(folder / f"{part}.npy", mmap_mode="c"), np.load(folder / f"{part}_labels.npy")


def folder_digest(folder: Path) -> str:
    """SHA-256 over the decoded pixels and labels, as `spolia data verify` compares it."""
    sha = hashlib.sha256()
    for part in PARTS:
        paths = [folder / f"{part}.npy", folder / f"{part}_labels.npy"]
        masks = folder / f"{part}_masks.npy"
        for path in [*paths, masks] if masks.exists() else paths:
            with open(path, "rb") as file:
                sha.update(hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()


def write_arrays(folder: Path, part: str, x: Pixels, y: Labels) -> None:
    """A part that is in memory already."""
    np.save(folder / f"{part}.npy", np.ascontiguousarray(x))
    np.save(folder / f"{part}_labels.npy", y.astype(np.int64))


def decode_all(reader: Reader, folder: Path, size: int | None) -> str:
    """Decode both parts into the folder; the digest of the encoded images, labels and options,
    which does not depend on the decoder's version.

    Raises DataError that names the first image that does not decode, or whose size is not that of
    the others.
    """
    sha = hashlib.sha256(json.dumps([list(reader.classes), size]).encode())
    headers = _Headers(size)
    counts = {}
    for part in PARTS:
        counts[part] = 0
        for record in reader.records(part):
            headers.add(record)
            counts[part] += 1
            sha.update(part.encode() + record.label.to_bytes(8, "little"))
            sha.update(hashlib.sha256(record.content).digest())
        if not counts[part]:
            raise DataError(f"the {part} part has no image")
    for part in PARTS:
        _decode(reader.records(part), folder, part, (counts[part], *headers.shape), size)
    return sha.hexdigest()


class _Headers:
    """What the headers of all images say, before any is decoded: their size, and whether any has
    colour.
    """

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._is_grey = True
        self._pixels: tuple[int, int] | None = None  # height and width of the last image

    def add(self, record: Encoded) -> None:
        """Raises DataError for an image of another size, unless all are brought to one."""
        is_grey, pixels = _header(record)
        if self._size is None and self._pixels is not None and pixels != self._pixels:
            first, other = ("x".join(map(str, p)) for p in (self._pixels, pixels))
            raise DataError(
                f"{record.place} is {other} pixels, the images before it {first}. "
                "Say size=..., to scale and crop all to one size"
            )
        self._is_grey, self._pixels = self._is_grey and is_grey, pixels

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every decoded image."""
        assert self._pixels is not None
        height, width = self._pixels if self._size is None else (self._size, self._size)
        return 1 if self._is_grey else 3, height, width


def _header(record: Encoded) -> tuple[bool, tuple[int, int]]:
    """Whether an image is grey, and its height and width, from its header."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(record.content)) as image:
            return image.mode in ("1", "L", "I;16"), (image.height, image.width)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{record.place}: the image cannot be decoded: {error}") from error


def _decode(
    records: Iterator[Encoded],
    folder: Path,
    part: str,
    shape: tuple[int, int, int, int],
    size: int | None,
) -> None:
    """Write a part's pixels [N, C, H, W] and labels [N], decoding on all cores."""
    path = folder / f"{part}.npy"
    pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    labels = np.empty(shape[0], dtype=np.int64)
    is_grey = shape[1] == 1
    num_done = 0
    with ThreadPoolExecutor() as pool:
        while piece := list(islice(records, AT_ONCE)):
            images = pool.map(lambda record: _image(record, is_grey, size), piece)
            for record, image in zip(piece, images, strict=True):
                pixels[num_done], labels[num_done] = image, record.label
                num_done += 1
    pixels.flush()
    np.save(folder / f"{part}_labels.npy", labels)


def _image(record: Encoded, grey: bool, size: int | None) -> Pixels:
    """One image as [C, H, W]."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(record.content)) as opened:
            image = opened.convert("L" if grey else "RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{record.place}: the image cannot be decoded: {error}") from error
    if size is not None:
        scale = size / min(image.size)
        wide, high = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((wide, high), Image.Resampling.BICUBIC)
        left, top = (wide - size) // 2, (high - size) // 2
        image = image.crop((left, top, left + size, top + size))
    pixels = np.asarray(image)
    return pixels[None] if grey else pixels.transpose(2, 0, 1)
