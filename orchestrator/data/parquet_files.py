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

    def __init__(self, place: str, source: Source) -> None:
        self.place = place
        self.image, self.label = (
            source.options.get("image", "image"),
            source.options.get("label", "label"),
        )
        self._fs, top = (
            fs.FileSystem.from_uri(place) if "://" in place else (fs.LocalFileSystem(), place)
        )
        self.parts = _parts(self._fs, top, place)
        schema = self._file(self.parts["train"][0]).schema_arrow
        columns = [self.image, self.label, *source.where]
        if missing := [c for c in columns if c not in schema.names]:
            raise DataError(
                f"{place} has no column {missing[0]!r}. {nearest(missing[0], schema.names)}"
            )
        features = _features(schema)
        self.where = {
            column: _wanted(features, column, value, place)
            for column, value in source.where.items()
        }
        self._by_name = pa.types.is_string(
            schema.field(self.label).type
        ) or pa.types.is_large_string(schema.field(self.label).type)
        self.classes = self._classes(features)

    @property
    def files(self) -> list[Any]:
        """Path, size and time of change of every file, for noticing that one changed."""
        infos = self._fs.get_file_info([p for paths in self.parts.values() for p in paths])
        return [[i.path, i.size, i.mtime_ns] for i in infos]

    def _classes(self, features: Mapping[str, Any]) -> tuple[str, ...]:
        if names := features.get(self.label, {}).get("names"):
            return tuple(str(n) for n in names)
        seen = pa.concat_arrays(
            [
                c
                for paths in self.parts.values()
                for p in paths
                for c in self._file(p).read([self.label])[self.label].chunks
            ]
        )
        if self._by_name:
            return tuple(sorted(pc.unique(seen).drop_null().to_pylist()))
        return tuple(str(i) for i in range(1 + (pc.max(seen).as_py() or 0)))

    def _file(self, path: str) -> Any:
        try:
            return pq.ParquetFile(self._fs.open_input_file(path))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} is not a whole Parquet file: {error}") from error

    def records(self, part: str) -> Iterator[Encoded]:
        for path in self.parts[part]:
            file, row = self._file(path), 0
            try:
                for batch in file.iter_batches(
                    ROWS_AT_ONCE, columns=[self.image, self.label, *self.where]
                ):
                    yield from self._rows(batch, path, row)
                    row += len(batch)
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{path} cannot be read behind row {row}: {error}") from error

    def _rows(self, batch: Any, path: str, first: int) -> Iterator[Encoded]:
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        for i, (image, label) in enumerate(
            zip(columns[self.image], columns[self.label], strict=True)
        ):
            place = f"{path}, row {first + i}"
            if any(columns[c][i] != v for c, v in self.where.items()):
                continue
            content = image.get("bytes") if isinstance(image, dict) else image
            if not isinstance(content, bytes):
                raise DataError(f"{place}: column {self.image!r} holds no encoded image")
            number = self.classes.index(label) if self._by_name and label in self.classes else label
            if not isinstance(number, int) or not 0 <= number < len(self.classes):
                raise DataError(
                    f"{place}: label {label!r} is none of the {len(self.classes)} classes"
                )
            yield Encoded(content, number, place)


def _parts(system: Any, top: str, place: str) -> dict[str, list[str]]:
    try:
        infos = system.get_file_info(fs.FileSelector(top, recursive=True))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{place} cannot be listed: {error}") from error
    paths = sorted(
        i.path for i in infos if i.type == fs.FileType.File and i.path.endswith(".parquet")
    )
    found = {
        part: [p for p in paths if _is_of(p.removeprefix(top), part)]
        for part in ("train", "test", "validation")
    }
    found["test"] = found["test"] or found.pop("validation")
    for part in ("train", "test"):
        if not found[part]:
            listed = ", ".join(PurePosixPath(p).name for p in paths[:6]) or "none"
            raise DataError(f"{place} has no file {part}*.parquet; Parquet files there: {listed}")
    return {part: found[part] for part in ("train", "test")}


def _is_of(path: str, part: str) -> bool:
    """By the file's name (`train-00000-of-00002.parquet`), or by a folder's (`train/0000.parquet`),
    as the Hub writes them.
    """
    return any(piece.startswith(part) for piece in PurePosixPath(path).parts)


def _features(schema: Any) -> Mapping[str, Any]:
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return dict(found.get("info", {}).get("features", {}))
    except ValueError:
        return {}


def _wanted(features: Mapping[str, Any], column: str, value: str, place: str) -> Any:
    """A condition's value as the column holds it: a class label by its number."""
    names = features.get(column, {}).get("names")
    if names is None:
        return int(value) if value.lstrip("-").isdigit() else value
    if value not in names:
        raise DataError(
            f"{place}: column {column!r} has no value {value!r}. {nearest(value, names)}"
        )
    return names.index(value)
