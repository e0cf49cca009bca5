"""Finished runs into MLflow's own SQLite database, many in one transaction.

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
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.tracking.finished_run import FinishedRun, put_files

Row = tuple[object, ...]

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


class SqliteWriter:
    """Writes runs of one experiment. Raises sqlite3.Error where the database refuses; then nothing
    of that batch is there.
    """

    def __init__(self, database: Path, experiment: str, artifacts: Path) -> None:
        self._database, self._experiment, self._artifacts = database, int(experiment), artifacts

    @staticmethod
    def knows_tables_of(database: Path) -> bool:
        """Whether the database has the tables that this writes, column by column."""
        try:
            with contextlib.closing(sqlite3.connect(database)) as connection:
                return all(
                    _columns(connection, table) == set(columns) for table, columns in TABLES.items()
                )
        except sqlite3.Error:
            return False

    def write(self, runs: Sequence[FinishedRun]) -> list[str]:
        """Put runs in, all or none; their new ids. Artifacts are written first: a run that is there
        is complete.
        """
        ids = [uuid.uuid4().hex for _ in runs]  # as MLflow makes its own
        rows: dict[str, list[Row]] = {table: [] for table in TABLES}
        for run_id, run in zip(ids, runs, strict=True):
            folder = self._artifacts / run_id / "artifacts"
            put_files(folder, run.files)
            rows["runs"].append(self._run_row(run_id, run, folder.as_uri()))
            rows["params"] += [(name, value, run_id) for name, value in run.params.items()]
            tags = {"mlflow.runName": run.name, **run.tags}
            rows["tags"] += [(name, value, run_id) for name, value in tags.items()]
            rows["metrics"] += _metric_rows(run_id, run)
            rows["latest_metrics"] += _latest_metric_rows(run_id, run)
        self._insert(rows)
        return ids

    def _run_row(self, run_id: str, run: FinishedRun, artifact_uri: str) -> Row:
        values = {
            "run_uuid": run_id,
            "name": run.name,
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "user_id": "unknown",
            "status": "FINISHED",
            "start_time": run.began,
            "end_time": run.ended,
            "source_version": "",
            "lifecycle_stage": "active",
            "artifact_uri": artifact_uri,
            "experiment_id": self._experiment,
            "deleted_time": None,
        }
        return tuple(values[column] for column in TABLES["runs"])

    def _insert(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Rows of all tables in one transaction."""
        # MLflow's UI may hold the lock for a moment
        connected = contextlib.closing(sqlite3.connect(self._database, timeout=60))
        # The second `connection` is the transaction: committed
        # at the end, or rolled back as a whole.
        with connected as connection, connection:
            for table, columns in TABLES.items():
                marks = ", ".join("?" * len(columns))
                statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
                connection.executemany(statement, rows[table])


def _metric_rows(run_id: str, run: FinishedRun) -> list[Row]:
    points = dict.fromkeys(run.points)  # MLflow keeps the very same point once
    return [(name, value, when, run_id, step, False) for name, value, when, step in points]


def _latest_metric_rows(run_id: str, run: FinishedRun) -> list[Row]:
    """Of every metric the point with the highest step, and of those the last."""
    latest: dict[str, tuple[int, int, float]] = {}
    for name, value, when, step in run.points:
        point = (step, when, value)
        latest[name] = max(latest.get(name, point), point)
    rows: list[Row] = []
    for name, point in latest.items():
        step, when, value = point
        rows.append((name, value, when, step, False, run_id))
    return rows


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
