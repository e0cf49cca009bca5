"""A finished run as MLflow is to have it, made of the store's record and nothing else: whoever
writes it, and however often, writes the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from orchestrator.analysis.figures import matrix_svg
from orchestrator.errors import StoreError
from orchestrator.parts.matrix import Matrix
from orchestrator.store.records import Record
from orchestrator.store.store import Store
from orchestrator.tracking.names import LONGEST_PARAM, LONGEST_TAG, fit_name, fit_text

if TYPE_CHECKING:
    from orchestrator.tracking.manifest import RunEntry

LAYOUT = "2"  # how a sweep's runs are laid out; those of another layout are written anew

Point = tuple[str, float, int, int]
"""Name, value, time in milliseconds since 1970, step."""


@dataclass(frozen=True)
class FinishedRun:
    """All that a finished run has: times in milliseconds since 1970, artifacts by path; `joined`
    are the references of the components that its matrices are about.
    """

    name: str
    began: int
    ended: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: Sequence[Point]
    files: Mapping[str, bytes] = field(default_factory=dict)
    joined: frozenset[str] = frozenset()


def finished_run(entry: RunEntry, record: Record, store: Store) -> FinishedRun:
    """The run of a cell or of a needed training. Its tag `spolia.result` holds the record's
    digest; `spolia.try` tells of which try its curves are.
    """
    began, ended = (int(record["timings"][moment] * 1000) for moment in ("began", "ended"))
    tags = {
        "spolia.id": entry["id"],
        "spolia.layout": LAYOUT,
        "spolia.role": entry["role"],
        "spolia.key": record["key"],
        "spolia.try": name_of_try(record["timings"]["began"]),
        "spolia.outcome": record["outcome"],
        "spolia.result": record.digest,
    }
    if record["reason"]:
        tags["spolia.reason"] = record["reason"]
    matrices = _matrices(record, store)
    return FinishedRun(
        name=entry["name"],
        began=began,
        ended=ended,
        params=params_of(entry["params"]),
        tags=tags_of(tags),
        points=[*_metric_points(record, ended), *curve_points(record["curves"])],
        files=_files(record, matrices),
        joined=frozenset(
            one for matrix, _ in matrices.values() for one in _components(matrix) if one
        ),
    )


def name_of_try(began: float) -> str:
    """One try at a trial, as told from another by when it began (seconds since 1970)."""
    return str(round(began, 3))


def tags_of(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as they fit into MLflow."""
    return {fit_name(name): fit_text(value, LONGEST_TAG) for name, value in tags.items()}


def params_of(params: Mapping[str, str]) -> dict[str, str]:
    """Params as they fit into MLflow."""
    return {fit_name(name): fit_text(value, LONGEST_PARAM) for name, value in params.items()}


def _metric_points(record: Mapping[str, Any], when: int) -> Iterator[Point]:
    """Final metrics, named with their labels' values: `accuracy/a`."""
    for metric in record["metrics"]:
        if metric["value"] is not None:
            yield metric_name(metric), metric["value"], when, 0
    for name, value in costs_of(record):
        yield name, value, when, 0


def metric_name(metric: Mapping[str, Any]) -> str:
    """A metric with its labels' values: `accuracy/a`."""
    return fit_name("/".join([metric["name"], *metric["labels"].values()]))


def costs_of(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """What a trial took, as metrics."""
    yield "cost.seconds", float(record["timings"]["seconds"])
    for name, number in record.get("memory", {}).items():
        yield fit_name(f"cost.{name}_mib"), number / 2**20


def curve_points(points: Iterable[Sequence[Any]]) -> Iterator[Point]:
    """Curves with the record's own times; a value that was not finite is left out."""
    for name, step, value, when in points:
        if value is not None and math.isfinite(value):
            yield fit_name(name), value, int(when * 1000), step


Matrices = Mapping[str, tuple[Matrix, bytes]]
"""Matrices by name, each with the Parquet that it was read from."""


def _matrices(record: Mapping[str, Any], store: Store) -> Matrices:
    found = {}
    for entry in record["matrices"]:
        content = store.blob(entry["blob"], of=record["key"])
        found[entry["name"]] = Matrix.from_parquet(content), content
    return found


def _components(matrix: Matrix) -> Iterator[str]:
    """References of what rows and columns stand for; empty where one stands for nothing."""
    for side in matrix.components or ():
        yield from side


def _files(record: Mapping[str, Any], matrices: Matrices) -> dict[str, bytes]:
    """Every matrix as Parquet and as a picture, and what made the result. At the root: MLflow's
    comparison of runs looks nowhere else.
    """
    # Not some fifty digests (`code` is the digest of them all), nor somebody's folders.
    told = {k: v for k, v in record["provenance"].items() if k not in ("modules", "files")}
    files = {"provenance.json": json.dumps(told, indent=1).encode()}
    for called, (matrix, content) in matrices.items():
        name = file_name(called)
        files[f"{name}.parquet"] = content
        files[f"{name}.svg"] = matrix_svg(matrix).encode()
    return files


def file_name(name: str) -> str:
    """One file of a run, whatever a record calls what is in it."""
    return quote(name, safe=" ")


def put_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write an artifact folder that lies on this machine; nothing where there are no files. Raises
    StoreError for a name that leads out of it.
    """
    for name, content in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise StoreError(f"{name!r} is no path within an artifact folder; nothing is written")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
