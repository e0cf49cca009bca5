"""Small sets of images as users have them: folders and Parquet, each image another one."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def pixels(number: int, *, height: int = 8, width: int = 8, grey: bool = False) -> np.ndarray:
    """Random pixels [H, W, 3] or [H, W]."""
    shape = (height, width) if grey else (height, width, 3)
    return np.random.RandomState(number).randint(0, 256, shape, dtype=np.uint8)


def encoded(image: Any, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file: of an array, or of Pillow's image."""
    buffer = io.BytesIO()
    made = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    made.save(buffer, kind, **options)
    return buffer.getvalue()


def write_folders(root: Path, counts: Mapping[str, int], **options: Any) -> Path:
    """Folders of PNG files: `{"train/cat": 3}`; 0 makes an empty one. Returns the root."""
    number = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            number += 1
            (root / name / f"{i}.png").write_bytes(encoded(pixels(number, **options)))
    return root


def write_table(
    folder: Path, part: str, *, about: Mapping[bytes, Any] | None = None, **columns: Any
) -> Path:
    """A Parquet file of a part, with images unless there are some; `about` is metadata, as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(next(iter(columns.values())))
    columns.setdefault("image", [encoded(pixels(number)) for number in range(count)])
    table = pa.table(columns)
    if about:
        table = table.replace_schema_metadata({k: json.dumps(v) for k, v in about.items()})
    path = folder / f"{part}.parquet"
    pq.write_table(table, path)
    return path


def write_tables(folder: Path, **columns: Any) -> Path:
    """Both parts of a Parquet set with the same rows. Returns the folder."""
    for part in ("train", "test"):
        write_table(folder, part, **columns)
    return folder
