"""A database that we write ourselves appears with all of its tables, or not at all.

MLflow makes them in some fifty steps. Two processes that do so at once, such as those of two sweeps
in a new home, stumble over each other, and one that is killed on the way leaves what no MLflow
opens.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from mlflow import MlflowClient

from orchestrator.tracking.moved_homes import path_of_database


def make_database(tracking: str) -> None:
    """Make the file of an address of SQLite's where there is none; whoever is first wins. Of any
    other address nothing.
    """
    database = path_of_database(tracking)
    if database is None or database.exists() or "?" in tracking:
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=database.parent, prefix=".mlflow-") as folder:
        made = Path(folder) / database.name
        MlflowClient(f"sqlite:///{made}")
        # Where the file system has no links, MLflow makes the tables in their place.
        with contextlib.suppress(OSError):
            os.link(made, database)
