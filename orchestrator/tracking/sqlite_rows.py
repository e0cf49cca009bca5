"""Whole runs into MLflow's own SQLite database, many in one transaction.

MLflow's client needs some twenty milliseconds a run, which is more than the shortest trials take;
there is no request for several runs. Here a run is half a millisecond. Only for a database whose
tables are exactly those that this was written for: any other, and any server, is written through
the client (`orchestrator.tracking.levelling`), to the same effect, which a test compares field by
field.
"""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path

from orchestrator.tracking.finished_run import WholeRun, put_files

# The tables of MLflow 3.5 to 3.17, as far as a finished run touches them.
TABLES = {
    "runs": (
        "run_uuid",
        "name",
        "source_type",
        "source_name",
        "entry_point_name",
        "user_id",
        "status",
        "start_time",
        "end_time",
        "source_version",
        "lifecycle_stage",
        "artifact_uri",
        "experiment_id",
        "deleted_time",
    ),
    "params": ("key", "value", "run_uuid"),
    "metrics": ("key", "value", "timestamp", "run_uuid", "step", "is_nan"),
    "latest_metrics": ("key", "value", "timestamp", "step", "is_nan", "run_uuid"),
    "tags": ("key", "value", "run_uuid"),
}


class BulkWriter:
    """Writes runs of one experiment. Raises sqlite3.Error where the database refuses; then nothing
    of that batch is there.
    """

    def __init__(self, database: Path, experiment: str, artifacts: Path) -> None:
        self._database, self._experiment, self._artifacts = database, int(experiment), artifacts

    @staticmethod
    def fits(database: Path) -> bool:
        """Whether the database has the tables that this writes, column by column."""
        try:
            with contextlib.closing(sqlite3.connect(database)) as connection:
                return all(
                    _columns(connection, table) == set(columns) for table, columns in TABLES.items()
                )
        except sqlite3.Error:
            return False

    def write(self, runs: Sequence[WholeRun]) -> list[str]:
        """Put runs in, all or none; their new ids. Artifacts are written first: a run that is there
        is whole.
        """
        ids = [uuid.uuid4().hex for _ in runs]
        rows: dict[str, list[tuple[object, ...]]] = {table: [] for table in TABLES}
        for number, run in zip(ids, runs, strict=True):
            folder = self._artifacts / number / "artifacts"
            put_files(folder, run.files)
            rows["runs"].append(
                (
                    number,
                    run.name,
                    "UNKNOWN",
                    "",
                    "",
                    "unknown",
                    "FINISHED",
                    run.began,
                    run.ended,
                    "",
                    "active",
                    folder.as_uri(),
                    self._experiment,
                    None,
                )
            )
            rows["params"] += [(k, v, number) for k, v in run.params.items()]
            rows["tags"] += [
                (k, v, number) for k, v in {"mlflow.runName": run.name, **run.tags}.items()
            ]
            points = dict.fromkeys(run.points)  # MLflow keeps the very same point once
            rows["metrics"] += [
                (name, value, when, number, step, False) for name, value, when, step in points
            ]
            latest: dict[str, tuple[int, int, float]] = {}
            for name, value, when, step in points:
                latest[name] = max(latest.get(name, (step, when, value)), (step, when, value))
            rows["latest_metrics"] += [
                (name, value, when, step, False, number)
                for name, (step, when, value) in latest.items()
            ]
        with (
            contextlib.closing(sqlite3.connect(self._database, timeout=60)) as connection,
            connection,
        ):
            for table, columns in TABLES.items():
                marks = ", ".join("?" * len(columns))
                connection.executemany(
                    f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows[table]
                )
        return ids


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
