"""Image sets as folders: `train/CLASS/*.jpg` and `test/CLASS/*.jpg`, or `CLASS/*.jpg` alone, of
which a test part is made.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.data.readers import Encoded, file_stamp
from orchestrator.errors import DataError, MissingDataError
from orchestrator.spec.datasets import Source
from orchestrator.spec.wording import first_few

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
VALIDATION = ("validation", "valid", "val")  # what a part is called that is neither
NO_CLASSES = ("__MACOSX", "__pycache__")  # beside hidden folders, which are none either
LAYOUTS = (
    "images lie in train/CLASS/ and test/CLASS/, or in CLASS/ alone where a test part is to be "
    "made of them: image_folder(..., test=0.25)"
)


class FolderReader:
    """Reads a folder of images; a class is a folder that has images to train on, in the order of
    their names.

    Raises DataError where the layout is another, or where a class has images to test only.
    """

    mask_names: tuple[str, ...] = ()

    def __init__(self, location: str, source: Source) -> None:
        self.root = Path(location)
        self._fraction = source.test
        self.warnings: list[str] = []
        try:
            self._folders = self._parts()
            self._images = {part: self._listed(folder) for part, folder in self._folders.items()}
        except OSError as error:
            raise DataError(f"{error.filename} cannot be listed: {error.strerror}") from error
        self.classes = tuple(self._classes())
        if self._fraction is not None:
            self._images = self._split(self._images["train"], self._fraction)

    def _parts(self) -> dict[str, Path]:
        """The folder of each part; with a fraction that of `train` alone."""
        there = set(_visible_folders(self.root))
        named = sorted(there & {"train", "test", *VALIDATION})
        spare = [name for name in VALIDATION if name in there]
        if "train" not in there:
            # A folder `test` or `val` here says that these are parts, and `train` is called
            # otherwise: taken for classes, they would be trained on.
            if self._fraction is None or named:
                besides = f" (it has {first_few(sorted(there))})" if there else ""
                raise MissingDataError(f"{self.root} has no folder 'train'{besides}; {LAYOUTS}")
            return {"train": self.root}
        parts = {"train": self.root / "train"}
        if self._fraction is not None:
            if "test" in there:
                raise DataError(
                    f"{self.root} has a folder 'test', so test={self._fraction:g} is not needed"
                )
        elif "test" in there:
            parts["test"] = self.root / "test"
        # Told, because whoever has a validation part may expect it to be held out and not tested
        # on.
        elif spare:
            parts["test"] = self.root / spare[0]
            self.warnings.append(f"there is no test part: {spare.pop(0)}/ is used as one")
        else:
            raise MissingDataError(f"{self.root} has no folder 'test'; {LAYOUTS}")
        self.warnings += [f"{name}/ is not used" for name in spare]
        return parts

    def _listed(self, folder: Path) -> dict[str, list[Path]]:
        """Image files by class; what lies there besides is told."""
        listed = {}
        stray = [path.name for path in folder.iterdir() if _is_image(path.name) and path.is_file()]
        if stray:
            place = folder.relative_to(self.root.parent)
            self.warnings.append(
                f"{place}/: {first_few(sorted(stray))} not read: in no class's folder"
            )
        for name in _visible_folders(folder):
            with os.scandir(folder / name) as entries:  # of a million files none is looked at
                inner = [entry for entry in entries if not entry.name.startswith(".")]
            files = sorted(entry.name for entry in inner if not entry.is_dir())
            deeper = sorted(entry.name for entry in inner if entry.is_dir())
            others = [file for file in files if not _is_image(file)]
            listed[name] = [folder / name / file for file in files if _is_image(file)]
            place = (folder / name).relative_to(self.root)
            if others:
                self.warnings.append(
                    f"{place}/: {first_few(others)} not read: no image by the name"
                )
            if deeper:
                self.warnings.append(f"{place}/: what lies deeper is not read: {first_few(deeper)}")
        return listed

    def _classes(self) -> list[str]:
        """Names of the folders with images to train on; an empty one is told and is no class."""
        train, test = self._images["train"], self._images.get("test", {})
        classes = [name for name in sorted(train) if train[name]]
        if not classes:
            raise DataError(
                f"{self._folders['train']} has no folder of a class with images; {LAYOUTS}"
            )
        # Labels are numbered by the classes to train on, so such an image would have none.
        if extra := sorted(name for name in test if test[name] and name not in classes):
            raise DataError(
                f"{self._folders['test']} has the class {extra[0]!r}, which is not in train: "
                f"{', '.join(classes)}"
            )
        empty = [name for name in sorted(train) if not train[name]]
        if empty:
            self.warnings.append(f"no class, since without images: {first_few(empty)}")
        return classes

    def _split(
        self, images: Mapping[str, list[Path]], fraction: float
    ) -> dict[str, dict[str, list[Path]]]:
        """Images of each class in two parts: those to test are the first in the order of hashes of
        their names, so a file more or less moves one other at most.
        """
        parts: dict[str, dict[str, list[Path]]] = {"train": {}, "test": {}}
        for name in self.classes:
            paths = images[name]
            wanted = num_tested(len(paths), fraction)
            # Of class and file name, not of the path: the same set in another folder is split
            # alike.
            hashes = {p: hashlib.sha256(f"{name}/{p.name}".encode()).digest() for p in paths}
            chosen = set(sorted(paths, key=hashes.__getitem__)[:wanted])
            # Both in the order of their names, in which a folder with parts of its own is read,
            # too.
            parts["test"][name] = [path for path in paths if path in chosen]
            parts["train"][name] = [path for path in paths if path not in chosen]
        return parts

    @cached_property
    def files(self) -> list[Any]:
        """Path, size and time of change of every file, for noticing that one changed."""
        return [
            _stamp(path)
            for part in self._images.values()
            for paths in part.values()
            for path in paths
        ]

    def count(self, part: str) -> int | None:
        """How many images a part has."""
        return sum(map(len, self._images[part].values()))

    def records(self, part: str) -> Iterator[Encoded]:
        """The images of a part, class by class."""
        for label, name in enumerate(self.classes):
            for path in self._images[part].get(name, ()):
                place = str(path.relative_to(self.root))
                try:
                    yield Encoded(path.read_bytes(), label, place)
                except OSError as error:
                    # Told with the record and not raised: who decodes lists all bad images at once.
                    problem = f"the file cannot be read: {error.strerror}"
                    yield Encoded(b"", label, place, problem=problem)


def num_tested(count: int, fraction: float) -> int:
    """How many of a class's images are to test: some and not all, if there are two."""
    return min(max(round(fraction * count), 1), count - 1)


def _stamp(path: Path) -> list[Any]:
    """As `file_stamp`; of a link that leads nowhere the path alone. It is told when it is read."""
    try:
        return file_stamp(path)
    except OSError:
        return [str(path)]


def _is_image(name: str) -> bool:
    """Whether a file is one of images by its name."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _visible_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder that may be classes or parts."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in NO_CLASSES
    )
