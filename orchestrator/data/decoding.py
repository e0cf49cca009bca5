"""All images of a reader, decoded in one pass: each file is read once, nothing of a set is held in
memory, what is wrong is told of all images at once.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.data.pixels import UNLABELLED, Decoded, RefusedError, decode
from orchestrator.data.readers import PARTS, Encoded, Pixels, Reader
from orchestrator.errors import DataError
from orchestrator.spec.datasets import Source
from orchestrator.spec.task import BINARY

AT_ONCE = 256  # images that are decoded before they are written
A_TASK = 16  # images that a thread decodes in one go; handing out single ones costs as much as they
NAMED = 4  # images that a problem names; the others are counted
SIZES_KEPT = 8
TWELVE_BITS = 4095

# What the names of pixels of no class are, where a set has names for its pixels.
NO_CLASS = ("unlabelled", "unlabeled", "void", "ignore", "ignored")


@dataclass
class Summary:
    """What was seen while a set was decoded. `digest` is of the encoded images, their labels and
    what is made of them; it does not depend on the decoder's version.
    """

    digest: str = ""
    modes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # height and width
    mask_names: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)


def decode_all(name: str, reader: Reader, source: Source, folder: Path) -> Summary:
    """Decode both parts into the folder: `train.npy` [N, C, H, W], `train_labels.npy` [N], and, for
    `spolia data verify`, `train_sources.npy` [N, 32] with the hash of each encoded image; with
    masks also `train_masks.npy` [N, 1, H, W], numbers of `mask_names`, `UNLABELLED` for none.

    Raises DataError with all that is wrong, grouped by reason, with the first images of each.
    """
    return _Pass(name, reader, source, folder).run()


class _Pass:
    """One pass through a reader's images."""

    def __init__(self, name: str, reader: Reader, source: Source, folder: Path) -> None:
        self.name, self.reader, self.source, self.folder = name, reader, source, folder
        self.has_masks = "mask" in source.options
        self.summary = Summary(warnings=list(reader.warnings))
        self.problems = Problems(name)
        self.peculiar: Counter[str] = Counter()
        self.brightest = self.num_deep = self.num_images = 0
        self.values_seen = np.zeros(256, dtype=bool)  # in masks
        self.pixels = {part: GrowingArray(folder / f"{part}.npy") for part in PARTS}
        self.masks = {part: GrowingArray(folder / f"{part}_masks.npy") for part in PARTS}
        self.hashes: dict[str, list[bytes]] = {part: [] for part in PARTS}  # of encoded images
        self.odd_one = ""  # the place of the first image that is of another size than the first
        header: list[Any] = [list(reader.classes), source.size]
        header += ["reduced"] if source.is_reduced else []
        header += [f"scaled {source.scaled}"] if source.scaled else []
        header += [list(reader.mask_names)] if self.has_masks else []
        self.sha = hashlib.sha256(json.dumps(header).encode())

    def run(self) -> Summary:
        """Both parts, and what was seen of them."""
        totals = [self.reader.count(part) for part in PARTS]
        known = [count for count in totals if count is not None]
        total = sum(known) if len(known) == len(totals) else None
        try:
            with Progress(self.name, total) as progress, ThreadPoolExecutor() as pool:
                for part in PARTS:
                    self._part(part, pool, progress)
        finally:
            for array in (*self.pixels.values(), *self.masks.values()):
                array.close()
        self._check_whole()
        self.problems.raise_any(self.num_images)
        self._finish()
        return self.summary

    def _part(self, part: str, pool: ThreadPoolExecutor, progress: Progress) -> None:
        labels: list[int] = []
        records = self.reader.records(part)
        while piece := list(islice(records, AT_ONCE)):
            tasks = [piece[start : start + A_TASK] for start in range(0, len(piece), A_TASK)]
            done = chain.from_iterable(pool.map(self._some_decoded, tasks))
            for record, (content_hash, image) in zip(piece, done, strict=True):
                self.num_images += 1
                if isinstance(image, str):
                    self.problems.add(image, record.place)
                    continue
                self._note(image, record)
                self._hash(part, record, content_hash, image.reading)
                self.hashes[part].append(content_hash)
                labels.append(record.label)
                # What cannot be used need not be written; the other images are still looked at.
                if not self.problems and not self.odd_one:
                    self._write(part, image)
            progress.at(self.num_images)
        np.save(self.folder / f"{part}_labels.npy", np.array(labels, dtype=np.int64))

    def _some_decoded(self, records: Sequence[Encoded]) -> list[tuple[bytes, Decoded | str]]:
        return [self._decoded(record) for record in records]

    def _decoded(self, record: Encoded) -> tuple[bytes, Decoded | str]:
        """The hash of an encoded image, and the image, or why it cannot be used."""
        content_hash = hashlib.sha256(record.content).digest()
        if record.problem:
            return content_hash, record.problem
        try:
            source = self.source
            image = decode(record, source.size, scaled=source.scaled, reduced=source.is_reduced)
            return content_hash, image
        except RefusedError as error:
            return content_hash, str(error)

    def _note(self, image: Decoded, record: Encoded) -> None:
        """Count what the record of the set tells, and see whether all images have one size."""
        self.summary.modes[image.mode] += 1
        self.summary.sizes[image.size] += 1
        self.peculiar.update(image.peculiar)
        if "16 bits" in image.reading:
            self.num_deep += 1
            self.brightest = max(self.brightest, image.brightest)
        if image.mask is not None:
            self.values_seen |= np.bincount(image.mask.ravel(), minlength=256) > 0
            self._check_mask(image.mask, record.place)
        if self.source.size is None and len(self.summary.sizes) > 1:
            self.odd_one = self.odd_one or record.place

    def _check_whole(self) -> None:
        """What is wrong with the set rather than with an image of it."""
        for part in PARTS:
            if not self.hashes[part] and not self.problems:
                self.problems.add(f"the {part} part has no image")
        if self.odd_one:
            sizes = Counter({_size(size): n for size, n in self.summary.sizes.items()})
            listed = ", ".join(f"{size} ({n:,})" for size, n in counted(sizes, NAMED))
            self.problems.add(
                f"images are of {len(sizes):,} sizes: {listed}; the first of another is "
                f"{self.odd_one}. Say size=..., to scale and crop all to one size"
            )

    def _check_mask(self, mask: Pixels, place: str) -> None:
        names = self.reader.mask_names
        numbers = mask[mask != UNLABELLED]
        if names and numbers.size and numbers.max() >= len(names):
            self.problems.add(
                f"the mask has the value {numbers.max()}, and the names are of 0 to "
                f"{len(names) - 1}",
                place,
            )

    def _hash(self, part: str, record: Encoded, content_hash: bytes, reading: str) -> None:
        """Take an image into the set's digest. A plain image counts as it did in all versions."""
        self.sha.update(part.encode() + record.label.to_bytes(8, "little"))
        self.sha.update(content_hash)
        if reading:
            self.sha.update(f"read: {reading}".encode())
        if record.box is not None:
            self.sha.update(f"box: {record.box}".encode())
        if record.mask is not None:
            self.sha.update(b"mask" + hashlib.sha256(record.mask).digest())

    def _write(self, part: str, image: Decoded) -> None:
        """Append an image. The first with colour makes all before it images of three channels."""
        channels = max(len(image.pixels), self.pixels["train"].channels)
        for array in self.pixels.values():
            array.widen(channels)
        self.pixels[part].append(image.pixels)
        if image.mask is not None:
            self.masks[part].append(image.mask)

    def _finish(self) -> None:
        """Keep the hashes, name the classes of pixels, say what a user should know."""
        for part in PARTS:
            hashes = np.frombuffer(b"".join(self.hashes[part]), dtype=np.uint8).reshape(-1, 32)
            np.save(self.folder / f"{part}_sources.npy", hashes)
        if self.has_masks:
            values: list[int] = np.flatnonzero(self.values_seen).tolist()
            self.summary.mask_names, table = _classes_of_pixels(self.reader.mask_names, values)
            if table[values].tolist() != values:
                for part in PARTS:
                    _replace_values(self.folder / f"{part}_masks.npy", table)
        self.summary.digest = self.sha.hexdigest()
        self.summary.warnings += self._warnings()

    def _warnings(self) -> Iterator[str]:
        transparent, moving = self.peculiar["transparent"], self.peculiar["several frames"]
        if transparent:
            yield f"images that are partly transparent: {transparent:,}; what lies beneath is seen"
        if moving:
            yield f"images of several frames: {moving:,}; the first is read"
        if self.num_deep and self.brightest <= TWELVE_BITS:
            yield (
                f"images of 16 bits: {self.num_deep:,}, nothing in them brighter than "
                f"{self.brightest:,} of 65,535: they are nearly black"
            )
        common = set(self.hashes["train"]) & set(self.hashes["test"])
        if common:
            num_known = sum(content_hash in common for content_hash in self.hashes["test"])
            yield f"test images that are, byte for byte, in the training part: {num_known:,}"


def _classes_of_pixels(
    names: Sequence[str], values: Sequence[int]
) -> tuple[tuple[str, ...], Pixels]:
    """Names of the classes of pixels, and for each value of a mask its number among them: [256].

    Without names: 0 and 255, or 0 and 1, are background and foreground; else each value that occurs
    is a class, but for 255, which is none.
    """
    table = np.full(256, UNLABELLED, dtype=np.uint8)
    if names:
        kept = [value for value, name in enumerate(names) if name.lower() not in NO_CLASS]
        found = tuple(names[value] for value in kept)
    elif set(values) <= {0, 255} or set(values) <= {0, 1}:
        kept, found = [0, max([1, *values])], BINARY
    else:
        kept = [value for value in values if value != UNLABELLED]
        found = tuple(map(str, kept))
    table[kept] = np.arange(len(kept))
    return found, table


def _replace_values(path: Path, table: Pixels) -> None:
    """Replace each value of an array in a file by the table's, piece by piece."""
    array = np.load(path, mmap_mode="r+")
    for start in range(0, len(array), AT_ONCE):
        array[start : start + AT_ONCE] = table[array[start : start + AT_ONCE]]
    array.flush()


class GrowingArray:
    """A .npy file of images [N, C, H, W] that is appended to, so that neither their number nor
    their channels need be known before they are read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: io.BufferedWriter | None = None
        self._shape: tuple[int, ...] = ()  # of one image
        self._wanted = 0  # channels
        self._count = 0

    @property
    def channels(self) -> int:
        """Channels of the images so far; 0 before the first."""
        return self._shape[0] if self._shape else self._wanted

    def append(self, image: Pixels) -> None:
        """One more image [C, H, W], the size of the others; a grey one has its channel repeated
        where the others have three.
        """
        channels = max(self._wanted, len(image))
        if self._file is None:
            self._file = open(self.path, "wb")  # noqa: SIM115 - closed in close()
            self._shape = (channels, *image.shape[1:])
            self._file.write(self._header())
        self._file.write(np.broadcast_to(image, (channels, *image.shape[1:])).tobytes())
        self._count += 1

    def widen(self, channels: int) -> None:
        """From now on images have this many channels, and so do those that are there."""
        self._wanted = max(self._wanted, channels)
        if self._file is None or self._shape[0] == self._wanted:
            return
        self.close()
        narrow = np.load(self.path, mmap_mode="r")
        os.unlink(self.path)  # the map holds what was in it
        self._file, self._count = None, 0
        for image in narrow:
            self.append(image)

    def close(self) -> None:
        """Write how many images there are, and close the file."""
        if self._file is None or self._file.closed:
            return
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()

    def _header(self) -> bytes:
        """The file's header, as long for one number of images as for any other: numpy leaves room
        in it for the first axis to grow.
        """
        buffer = io.BytesIO()
        about = {"descr": "|u1", "fortran_order": False, "shape": (self._count, *self._shape)}
        np.lib.format.write_array_header_1_0(buffer, about)
        return buffer.getvalue()


class Problems:
    """What is wrong with the images of a set, grouped by reason."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._places: dict[str, list[str]] = {}  # by reason: the first few
        self._counts: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, reason: str, place: str = "") -> None:
        """One image with a problem; without a place, the set itself."""
        self._counts[reason] += 1
        places = self._places.setdefault(reason, [])
        if place and len(places) < NAMED:
            places.append(place)

    def raise_any(self, num_images: int) -> None:
        """Raise DataError with every reason, where there is any."""
        if not self._counts:
            return
        lines = []
        for reason, count in self._counts.most_common():
            places = self._places[reason]
            # Planning shows the lines of several sets together, so each has its set's name.
            line = f"{self._name}: {reason}"
            if places:
                more = f" and {count - len(places):,} more" if count > len(places) else ""
                line += f" ({count:,} of {num_images:,} images): {'; '.join(places)}{more}"
            lines.append(line)
        raise DataError(f"{self._name} cannot be used:", lines)


class Progress:
    """A line on stderr about work that takes longer than a moment: on a terminal always the same
    line, else a new one now and then.
    """

    SILENT = 1.5  # seconds
    EVERY = 0.2  # seconds between two lines on a terminal
    SELDOM = 10.0  # seconds between two lines off one

    def __init__(self, name: str, total: int | None) -> None:
        self._name, self._total = name, total
        self._began = self._told = time.monotonic()
        self._has_told = False
        self._on_terminal = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def at(self, count: int) -> None:
        """So many images are done."""
        now = time.monotonic()
        pause = self.EVERY if self._on_terminal else self.SELDOM
        if now - self._began < self.SILENT or (self._has_told and now - self._told < pause):
            return
        self._told, self._has_told = now, True
        of = f" of {self._total:,}" if self._total else ""
        rate = count / (now - self._began)
        words = f"{self._name}: {count:,}{of} images decoded, {rate:,.0f} a second"
        # \033[K clears what a longer line has left.
        sys.stderr.write(f"\r{words}\033[K" if self._on_terminal else f"{words}\n")
        sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        if self._has_told and self._on_terminal:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def counted(counts: Mapping[str, int], most: int = SIZES_KEPT) -> tuple[tuple[str, int], ...]:
    """Counts as pairs, the most frequent first; where there are many, the rest as `others`."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(count for _, count in ranked[most:])
    return (*ranked[:most], *((("others", rest),) if rest else ()))
