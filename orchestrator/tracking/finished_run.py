"""A finished run as MLflow is to have it, made of the store's record and nothing else: whoever
writes it, and however often, writes the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.analysis.figures import matrix_svg
from orchestrator.parts.matrix import Matrix
from orchestrator.store.store import Store

LONGEST_PARAM, LONGEST_TAG = 6000, 5000
Point = tuple[str, float, int, int]
"""Name, value, time in milliseconds since 1970, step."""


@dataclass(frozen=True)
class WholeRun:
    """All that a finished run has: times in milliseconds since 1970, points as (name, value, time,
    step), artifacts by path.
    """

    name: str
    began: int
    ended: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: Sequence[Point]
    files: Mapping[str, bytes] = field(default_factory=dict)


def whole_run(
    sheet: Mapping[str, Any],
    record: Mapping[str, Any],
    store: Store,
    about: Mapping[str, str],
    mark: str,
) -> WholeRun:
    """The run of a cell or of a needed training; `about` are tags of the sweep, `mark` the record's
    digest, by which a whole run is known.
    """
    began, ended = (int(record["timings"][k] * 1000) for k in ("began", "ended"))
    tags = {
        "spolia.id": sheet["id"],
        "spolia.role": sheet["role"],
        "spolia.key": record["key"],
        "spolia.outcome": record["outcome"],
        **about,
    }
    tags |= {"spolia.reason": record["reason"][:LONGEST_TAG]} if record["reason"] else {}
    tags |= {f"spolia.{k}": str(v) for k, v in record["provenance"].items()}
    tags |= {f"spolia.memory.{k}": str(v) for k, v in record.get("memory", {}).items()}
    finals = [
        ("/".join([m["name"], *m["labels"].values()]), m["value"], ended, 0)
        for m in record["metrics"]
        if m["value"] is not None
    ]
    points = [*finals, *curve_points(record["curves"])]
    return WholeRun(
        sheet["name"],
        began,
        ended,
        params_of(sheet),
        {**tags, "spolia.written": mark},
        points,
        _files(record, store, sheet["headline"]),
    )


def params_of(sheet: Mapping[str, Any]) -> dict[str, str]:
    """Params as they fit into MLflow, which would cut longer ones silently."""
    return {k: str(v)[:LONGEST_PARAM] for k, v in sheet["params"].items()}


def curve_points(points: Iterable[Sequence[Any]]) -> Iterator[Point]:
    """Curves with the record's own times; a value that was not finite is left out."""
    for name, step, value, when in points:
        if value is not None and math.isfinite(value):
            yield name, value, int(when * 1000), step


def _files(record: Mapping[str, Any], store: Store, headline: str | None) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for entry in record["matrices"]:
        content = store.blob(entry["blob"])
        files[f"matrices/{entry['name']}.parquet"] = content
        if entry["name"] == headline:
            files[f"matrices/{entry['name']}.svg"] = matrix_svg(
                Matrix.from_parquet(content)
            ).encode()
    return files


def put_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write an artifact folder that lies on this machine; nothing where there are no files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
