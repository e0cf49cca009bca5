"""The mean matrices of settings as MLflow shows them: pictures in its grid of images, which a
slider goes through, and tables that its comparison of runs reads.

The files are those that MLflow's `log_image` and `log_table` write, but under names that stay: a
state takes the place of the one before, where these two would put it beside it.
"""

from __future__ import annotations

import io
import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.analysis.matrix_png import Scale, matrix_png, scale_of
from orchestrator.spec.canonical import digest
from orchestrator.tracking.finished_run import file_name
from orchestrator.tracking.names import image_key

if TYPE_CHECKING:
    from orchestrator.analysis.groups import Group
    from orchestrator.analysis.mean_matrix import MeanMatrix
    from orchestrator.tracking.manifest import SettingEntry

MOST = 500  # pictures in the sweep's own run; a browser loads the list of all of them
ROWS = 4096  # of a table: matrices of more entries are pictures and Parquet only
IMAGES, TABLES = "mlflow.loggedImages", "mlflow.loggedArtifacts"

Files = dict[str, bytes]


class SettingPictures:
    """Draws matrices by name on one scale each, from 0 to 1 or as far as any setting has reached;
    `num_settings` is how many there are.
    """

    def __init__(self, num_settings: int) -> None:
        self.scales: dict[str, Scale] = {}
        self._in_sweep = MOST // max(1, num_settings)  # matrices of each setting

    def widen(self, group: Group, names: Sequence[str]) -> bool:
        """Have the scales reach as far as a setting's means; whether one has grown by it."""
        has_grown = False
        for name, mean in _means(group, names):
            known = self.scales.get(name, (0.0, 1.0))
            self.scales[name] = scale_of(mean.values, known)
            has_grown = has_grown or self.scales[name] != known
        return has_grown

    def marks(self, entry: SettingEntry, names: Sequence[str], sweep: str) -> str:
        """What tells a setting's pictures on today's scales, and where they are, from others:
        `sweep` is the sweep's own run, which has them, too.
        """
        scales = [[name, *self.scales.get(name, (0.0, 1.0))] for name in names]
        place = [entry["name"], entry["series"], entry["step"]]
        return digest([scales, place, sweep if names else ""])[:8]

    def in_sweep(self, entry: SettingEntry, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Of the matrices that are pictures in the sweep's run, too, the names with the series."""
        for name in names[: self._in_sweep]:
            yield name, "/".join(filter(None, [name, entry["series"]]))

    def of(self, entry: SettingEntry, group: Group, names: Sequence[str]) -> tuple[Files, Files]:
        """Files for the run of a setting, and for that of its sweep."""
        own: Files = {}
        of_sweep: Files = {}
        series = dict(self.in_sweep(entry, names))
        for name, mean in _means(group, names):
            title = f"{entry['name']} (mean of n = {int(mean.n.max(initial=0))})"
            picture = matrix_png(mean, f"{_words(name)}: {title}", self.scales[name], mean.half)
            preview = _preview(picture)
            own.update(image_files(name, 0, picture, preview))
            if mean.values.size <= ROWS:
                own[f"{file_name(name)}.json"] = _table(mean)
            if name in series:
                of_sweep.update(image_files(series[name], entry["step"], picture, preview))
        return own, of_sweep


def tags_of_files(files: Mapping[str, bytes]) -> dict[str, str]:
    """What tells MLflow's pages of the pictures and tables among a run's files."""
    tables = [{"path": name, "type": "table"} for name in files if name.endswith(".json")]
    tags = {TABLES: json.dumps(tables)} if tables else {}
    if any(name.startswith("images/") for name in files):
        tags[IMAGES] = "True"
    return tags


def _means(group: Group, names: Sequence[str]) -> Iterator[tuple[str, MeanMatrix]]:
    for name in names:
        mean = group.matrix(name)
        # A single number is no picture.
        if mean is not None and mean.values.size > 1:
            yield name, mean


def image_files(key: str, step: int, picture: bytes, preview: bytes) -> Files:
    """A picture as `log_image(key=..., step=...)` files it; the same key and step give the same
    names, so that MLflow has one picture there.
    """
    path = image_path(key, step)
    return {f"{path}.png": picture, f"{path}+compressed.webp": preview}


def image_path(key: str, step: int) -> str:
    """Where a picture is, but for its endings."""
    key = image_key(key)
    one = uuid.uuid5(uuid.NAMESPACE_URL, f"spolia:{key}")
    return f"images/{key.replace('/', '~')}+step+{step}+timestamp+1+{one}"


def _preview(picture: bytes) -> bytes:
    """What MLflow shows until somebody looks closely."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture)).save(buffer, format="WEBP", quality=80, method=0)
    return buffer.getvalue()


def _table(mean: MeanMatrix) -> bytes:
    """One row an entry, which pair it is and then its score: MLflow's comparison lines up rows of
    runs by the first column, and shows the second.
    """
    names = ("row", "column") if mean.axes[0] == mean.axes[1] else mean.axes
    rows: list[list[Any]] = []
    for i, row in enumerate(mean.rows):
        for j, column in enumerate(mean.columns):
            numbers = [float(mean.values[i, j]), float(mean.half[i, j])]
            known = [None if math.isnan(number) else number for number in numbers]
            rows.append([f"{row} × {column}", *known, int(mean.n[i, j]), row, column])
    heads = [" × ".join(names), "score", "ci95", "n", *names]
    return json.dumps({"columns": heads, "data": rows}).encode()


def _words(name: str) -> str:
    return name.replace("_", " ")
