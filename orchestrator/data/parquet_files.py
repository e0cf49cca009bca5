"""Image sets in the Parquet layout of Hugging Face's `datasets`, from a folder or from an address
that pyarrow.fs knows.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from orchestrator.data.folders import num_tested
from orchestrator.data.readers import Encoded
from orchestrator.errors import DataError, MissingDataError, nearest
from orchestrator.spec.datasets import Source

ROWS_AT_ONCE = 1024
MASK_NAMES = b"mask_names"  # key of the schema's metadata
ONLY_CLASS = ("all",)  # of a set with masks and without labels

_VALIDATION = re.compile(r"(validation|(valid|val)(?![a-z]))", re.IGNORECASE)


class ParquetReader:
    """Reads `train*.parquet` and `test*.parquet` (without a test part, `validation*.parquet` or
    `val*.parquet`), at any depth, in the order of their names.

    Raises DataError for columns that are missing, or whose type cannot be meant.
    """

    def __init__(self, location: str, source: Source) -> None:
        self.location = location
        self.image = source.options.get("image", "image")  # names of columns
        self.label: str | None = source.options.get("label", "label")
        self.mask = source.options.get("mask")
        self.box = source.box
        self._fraction = source.test
        self.warnings: list[str] = []
        if "://" in location:
            self._fs, top = fs.FileSystem.from_uri(location)
        else:
            self._fs, top = fs.LocalFileSystem(), location
        self.parts = self._parts(top)
        self._schema = self._file(self.parts["train"][0]).schema_arrow
        if self.mask and "label" not in source.options and "label" not in self._schema.names:
            self.label = None  # pixels are what is learned
        self._features = _features(self._schema)
        self.where = self._conditions(source.where)
        self.columns = self._columns()
        self.mask_names = _mask_names(self._schema) if self.mask else ()

    def _columns(self) -> list[str]:
        """The columns that are read. Raises DataError for all at once that are not there."""
        wanted = [self.image, self.label, self.mask, *(self.box.columns if self.box else ())]
        columns = [column for column in (*wanted, *self.where) if column is not None]
        problems = []
        for part, paths in self.parts.items():  # a test part may lack what the training part has
            there = self._file(paths[0]).schema_arrow.names
            where = self.location if part == "train" else paths[0]
            problems += [
                f"{where} has no column {column!r}. {nearest(column, there)}"
                for column in columns
                if column not in there
            ]
        if len(problems) == 1:
            raise DataError(problems[0])
        if problems:
            raise DataError(f"{self.location} cannot be read as described:", problems)
        return columns

    def _conditions(self, where: Mapping[str, str]) -> dict[str, Any]:
        """What other columns must hold, as they hold it."""
        return {
            column: _stored_value(self._features, column, value, self.location)
            for column, value in where.items()
        }

    @cached_property
    def files(self) -> list[Any]:
        """Path, size and time of change of every file, for noticing that one changed."""
        infos = self._fs.get_file_info([path for paths in self.parts.values() for path in paths])
        return [[i.path, i.size, i.mtime_ns] for i in infos]

    def _parts(self, top: str) -> dict[str, list[str]]:
        """Paths of the files of each part, sorted; with a fraction those of `train` alone."""
        try:
            infos = self._fs.get_file_info(fs.FileSelector(top, recursive=True))
        except (OSError, pa.ArrowException) as error:
            raise MissingDataError(f"{self.location} cannot be listed: {error}") from error
        files = [info.path for info in infos if info.type == fs.FileType.File]
        paths = sorted(path for path in files if _is_visible(path.removeprefix(top)))

        def of(part: str) -> list[str]:
            return [path for path in paths if _is_of(path.removeprefix(top), part)]

        parts = {"train": of("train"), "test": of("test")}
        if both := sorted(set(parts["train"]) & set(parts["test"])):
            raise DataError(f"{both[0]} is of both parts, train and test, by its path")
        spare = [path for path in of("validation") if path not in parts["train"] + parts["test"]]
        spare_names = ", ".join(PurePosixPath(path).name for path in spare[:3])
        if self._fraction is not None:
            if parts.pop("test"):
                raise DataError(
                    f"{self.location} has files test*.parquet, so test={self._fraction:g} is not "
                    "needed"
                )
        elif spare and not parts["test"]:
            parts["test"], spare = spare, []
            self.warnings.append(f"there is no test part: {spare_names} is used as one")
        if spare:
            self.warnings.append(f"{spare_names} is not used")
        for part, chosen in parts.items():
            if not chosen:
                listed = ", ".join(PurePosixPath(path).name for path in paths[:6]) or "none"
                advice = "; parquet(..., test=0.25) makes a test part" if part == "test" else ""
                raise MissingDataError(
                    f"{self.location} has no file {part}*.parquet; Parquet files there: "
                    f"{listed}{advice}"
                )
        return parts

    # ------------------------------------------------------------------ labels

    @cached_property
    def _label_type(self) -> Any:
        """What the labels are, as values: a dictionary (pandas' Category) has those of its entries.
        Raises DataError for what can be no label.
        """
        kind = self._schema.field(self.label).type
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        can_be_label = (
            _is_text(value)
            or pa.types.is_integer(value)
            or pa.types.is_floating(value)
            or pa.types.is_boolean(value)
            or pa.types.is_null(value)  # each of these rows is told
        )
        if not can_be_label:
            raise DataError(
                f"{self.location}: column {self.label!r} is of type {kind}, and a label is a whole "
                "number or a name"
            )
        return value

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names from the schema, or else the labels that occur, sorted: names as text,
        numbers as numbers.
        """
        if self.label is None:
            return ONLY_CLASS
        names = self._features.get(self.label, {}).get("names")
        if names:
            return tuple(str(name) for name in names)
        if _is_text(self._label_type):
            return tuple(sorted(self._labels_seen))
        return tuple(str(label) for label in sorted(self._labels_seen))

    @cached_property
    def _labels_seen(self) -> frozenset[Any]:
        """Every label that can be a class."""
        seen: set[Any] = set()
        for path in [path for paths in self.parts.values() for path in paths]:
            for chunk in self._file(path).read([self.label])[self.label].chunks:
                plain = chunk.dictionary_decode() if _is_encoded(chunk) else chunk
                seen.update(plain.unique().drop_null().to_pylist())
        if _is_text(self._label_type):
            return frozenset(seen)
        whole = [_whole(label) for label in seen]
        return frozenset(label for label in whole if label is not None and label >= 0)

    @cached_property
    def _positions(self) -> dict[Any, int]:
        """The number of the class for each value of a label."""
        names = self._features.get(str(self.label), {}).get("names")
        if _is_text(self._label_type):
            return {name: position for position, name in enumerate(self.classes)}
        values = range(len(names)) if names else sorted(self._labels_seen)
        return {value: position for position, value in enumerate(values)}

    def _number(self, label: Any) -> int | None:
        """A label as the number of its class; None for one that is of none."""
        if self.label is None:
            return 0
        value = label if isinstance(label, str) or label is None else _whole(label)
        return self._positions.get(value)

    # ------------------------------------------------------------------ rows

    def _file(self, path: str) -> Any:
        try:
            return pq.ParquetFile(self._fs.open_input_file(path))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} is not a whole Parquet file: {error}") from error

    def count(self, part: str) -> int | None:
        """How many images a part has; None where that depends on what rows hold."""
        if self.where or self._fraction is not None:
            return None
        return sum(int(self._file(path).metadata.num_rows) for path in self.parts[part])

    def records(self, part: str) -> Iterator[Encoded]:
        """The rows of a part, in their order."""
        if self._fraction is None:
            yield from self._rows(part)
            return
        tested = self._tested
        for row, record in enumerate(self._rows("train")):
            if (row in tested) == (part == "test"):
                yield record

    @cached_property
    def _tested(self) -> frozenset[int]:
        """Where the set is split by a fraction: which of the rows that are kept are to test. Of
        each class the first in the order of a hash of their number.
        """
        assert self._fraction is not None
        of_class: dict[int, list[int]] = {}
        for row, label in enumerate(self._labels()):
            of_class.setdefault(label, []).append(row)
        tested: set[int] = set()
        for label, rows in of_class.items():
            hashes = {}
            for number, row in enumerate(rows):
                hashes[row] = hashlib.sha256(f"{label}/{number}".encode()).digest()
            in_order = sorted(rows, key=hashes.__getitem__)
            tested.update(in_order[: num_tested(len(rows), self._fraction)])
        return frozenset(tested)

    def _labels(self) -> Iterator[int]:
        """The class of each row that is kept, -1 for one of none; reads no image."""
        columns = [c for c in (self.label, *self.where) if c is not None] or [self.columns[-1]]
        for path in self.parts["train"]:
            for batch in self._batches(path, columns):
                for values in batch.to_pylist():
                    if self._is_kept(values):
                        number = self._number(values.get(self.label))
                        yield -1 if number is None else number

    def _batches(self, path: str, columns: Sequence[str]) -> Iterator[Any]:
        row = 0
        try:
            for batch in self._file(path).iter_batches(ROWS_AT_ONCE, columns=list(columns)):
                yield batch
                row += len(batch)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} cannot be read behind row {row}: {error}") from error

    def _is_kept(self, values: Mapping[str, Any]) -> bool:
        return all(values[name] == value for name, value in self.where.items())

    def _rows(self, part: str) -> Iterator[Encoded]:
        """The rows of a part's files that fulfil the conditions."""
        for path in self.parts[part]:
            name, row = PurePosixPath(path).name, 0
            for batch in self._batches(path, self.columns):
                for values in batch.to_pylist():
                    if self._is_kept(values):
                        yield self._encoded(values, f"{name}, row {row}")
                    row += 1

    def _encoded(self, values: Mapping[str, Any], place: str) -> Encoded:
        """A row with whatever is wrong with it."""
        problems = []
        content = _bytes(values[self.image])
        if content is None:
            problems.append(f"column {self.image!r} holds no encoded image")
        label = self._number(values.get(self.label) if self.label else None)
        if label is None:
            problems.append(
                f"label {values[self.label or '']!r} is none of the {len(self.classes)} classes"
            )
        mask = _bytes(values[self.mask]) if self.mask else None
        if self.mask and mask is None:
            problems.append(f"column {self.mask!r} holds no encoded mask")
        box = None
        if self.box is not None:
            box = _corners([values[c] for c in self.box.columns], self.box.with_corners)
            if box is None:
                problems.append(f"{', '.join(self.box.columns)}: no box of four numbers")
        problem = "; ".join(problems)
        return Encoded(content or b"", -1 if label is None else label, place, mask, box, problem)


def _is_of(path: str, part: str) -> bool:
    """By the file's name (`train-00000-of-00002.parquet`), or by a folder's (`train/0000.parquet`),
    as the Hub writes them.
    """
    pieces = PurePosixPath(path).parts
    if part == "validation":
        return any(_VALIDATION.match(piece) for piece in pieces)
    return any(piece.startswith(part) for piece in pieces)


def _is_visible(path: str) -> bool:
    """Whether a file is one to read: Parquet, and in no hidden folder (`.ipynb_checkpoints`)."""
    pieces = PurePosixPath(path).parts
    return path.endswith(".parquet") and not any(piece.startswith(".") for piece in pieces)


def _is_text(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_encoded(chunk: Any) -> bool:
    return bool(pa.types.is_dictionary(chunk.type))


def _whole(label: Any) -> int | None:
    """A number without a fraction (2, 2.0, True) as an int, else None."""
    if isinstance(label, float) and not label.is_integer():  # NaN, too
        return None
    return int(label)


def _bytes(value: Any) -> bytes | None:
    """The encoded image of a cell: a struct of `bytes` and `path`, or binary."""
    content = value.get("bytes") if isinstance(value, dict) else value
    return content if isinstance(content, bytes) else None


def _corners(values: Sequence[Any], with_corners: bool) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of a box of four numbers, in one cell or in four."""
    numbers = values[0] if len(values) == 1 else values
    if isinstance(numbers, dict):
        numbers = list(numbers.values())
    if not isinstance(numbers, list | tuple) or len(numbers) != 4:
        return None
    if not all(isinstance(n, int | float) and np.isfinite(n) for n in numbers):
        return None
    left, top, third, fourth = map(float, numbers)
    if with_corners:
        return left, top, third, fourth
    return left, top, left + third, top + fourth


def _features(schema: Any) -> Mapping[str, Any]:
    """What `datasets` noted of the columns in the schema, above all the names of classes."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return dict(noted.get("info", {}).get("features", {}))
    except ValueError:
        return {}


def _mask_names(schema: Any) -> tuple[str, ...]:
    """Names of the classes of pixels, by number; empty where the schema has none."""
    try:
        names = json.loads((schema.metadata or {}).get(MASK_NAMES, b"[]"))
    except ValueError:
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _stored_value(features: Mapping[str, Any], column: str, value: str, location: str) -> Any:
    """A condition's value as the column holds it: a class label by its number."""
    names = features.get(column, {}).get("names")
    if names is None:
        return int(value) if value.lstrip("-").isdigit() else value
    if value not in names:
        raise DataError(
            f"{location}: column {column!r} has no value {value!r}. {nearest(value, names)}"
        )
    return names.index(value)
