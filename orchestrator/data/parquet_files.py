"""Image sets in the Parquet layout of Hugging Face's `datasets`, from a folder or from an address
that pyarrow.fs knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from orchestrator.data.readers import Encoded
from orchestrator.errors import DataError, nearest
from orchestrator.spec.datasets import Source

ROWS_AT_ONCE = 1024


class ParquetReader:
    """Reads `train*.parquet` and `test*.parquet` (without a test part, `validation*.parquet`), at
    any depth, in the order of their names.
    """

    def __init__(self, location: str, source: Source) -> None:
        self.image = source.options.get("image", "image")  # names of columns
        self.label = source.options.get("label", "label")
        if "://" in location:
            self._fs, top = fs.FileSystem.from_uri(location)
        else:
            self._fs, top = fs.LocalFileSystem(), location
        self.parts = _parts(self._fs, top, location)
        schema = self._file(self.parts["train"][0]).schema_arrow
        columns = [self.image, self.label, *source.where]
        if missing := [c for c in columns if c not in schema.names]:
            raise DataError(
                f"{location} has no column {missing[0]!r}. {nearest(missing[0], schema.names)}"
            )
        features = _features(schema)
        self.where = {
            column: _stored_value(features, column, value, location)
            for column, value in source.where.items()
        }
        label_type = schema.field(self.label).type
        self._by_name = pa.types.is_string(label_type) or pa.types.is_large_string(label_type)
        self.classes = self._classes(features)

    @property
    def files(self) -> list[Any]:
        """Path, size and time of change of every file, for noticing that one changed."""
        infos = self._fs.get_file_info(self._paths())
        return [[i.path, i.size, i.mtime_ns] for i in infos]

    def _paths(self) -> list[str]:
        return [*self.parts["train"], *self.parts["test"]]

    def _classes(self, features: Mapping[str, Any]) -> tuple[str, ...]:
        if names := features.get(self.label, {}).get("names"):
            return tuple(str(n) for n in names)
        chunks: list[Any] = []
        for path in self._paths():
            chunks += self._file(path).read([self.label])[self.label].chunks
        seen = pa.concat_arrays(chunks)
        if self._by_name:
            return tuple(sorted(pc.unique(seen).drop_null().to_pylist()))
        return tuple(str(i) for i in range(1 + (pc.max(seen).as_py() or 0)))

    def _file(self, path: str) -> Any:
        try:
            return pq.ParquetFile(self._fs.open_input_file(path))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} is not a whole Parquet file: {error}") from error

    def records(self, part: str) -> Iterator[Encoded]:
        columns = [self.image, self.label, *self.where]
        for path in self.parts[part]:
            file, row = self._file(path), 0
            try:
                for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
                    yield from self._rows(batch, path, row)
                    row += len(batch)
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{path} cannot be read behind row {row}: {error}") from error

    def _rows(self, batch: Any, path: str, first: int) -> Iterator[Encoded]:
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        for i in range(len(batch)):
            if any(columns[name][i] != value for name, value in self.where.items()):
                continue
            place = f"{path}, row {first + i}"
            image = columns[self.image][i]
            content = image.get("bytes") if isinstance(image, dict) else image
            if not isinstance(content, bytes):
                raise DataError(f"{place}: column {self.image!r} holds no encoded image")
            yield Encoded(content, self._number(columns[self.label][i], place), place)

    def _number(self, label: Any, place: str) -> int:
        """A label as the number of its class."""
        number = self.classes.index(label) if self._by_name and label in self.classes else label
        if not isinstance(number, int) or not 0 <= number < len(self.classes):
            raise DataError(f"{place}: label {label!r} is none of the {len(self.classes)} classes")
        return number


def _parts(system: Any, top: str, location: str) -> dict[str, list[str]]:
    """Paths of the files of each part, sorted."""
    try:
        infos = system.get_file_info(fs.FileSelector(top, recursive=True))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{location} cannot be listed: {error}") from error
    files = [info.path for info in infos if info.type == fs.FileType.File]
    paths = sorted(path for path in files if path.endswith(".parquet"))

    def of(part: str) -> list[str]:
        return [path for path in paths if _is_of(path.removeprefix(top), part)]

    parts = {"train": of("train"), "test": of("test") or of("validation")}
    for part, chosen in parts.items():
        if not chosen:
            listed = ", ".join(PurePosixPath(path).name for path in paths[:6]) or "none"
            raise DataError(
                f"{location} has no file {part}*.parquet; Parquet files there: {listed}"
            )
    return parts


def _is_of(path: str, part: str) -> bool:
    """By the file's name (`train-00000-of-00002.parquet`), or by a folder's (`train/0000.parquet`),
    as the Hub writes them.
    """
    return any(piece.startswith(part) for piece in PurePosixPath(path).parts)


def _features(schema: Any) -> Mapping[str, Any]:
    """What `datasets` noted of the columns in the schema, above all the names of classes."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return dict(noted.get("info", {}).get("features", {}))
    except ValueError:
        return {}


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
