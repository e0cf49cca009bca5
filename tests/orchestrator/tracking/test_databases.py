"""The database of a new home, which two sweeps may want at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning"),
]  # MLflow's own dependencies warn


@pytest.fixture
def making(_migrated_database, monkeypatch):
    """`making(meanwhile)`: MLflow makes its tables, and while it does something else happens."""
    from orchestrator.tracking import databases

    def made(meanwhile):
        def client(address):
            meanwhile()
            shutil.copy(_migrated_database, address.removeprefix("sqlite:///"))

        monkeypatch.setattr(databases, "MlflowClient", client)
        return databases.make_database

    return made


def test_a_new_database_has_all_tables_when_it_appears(making, tmp_path):
    database = tmp_path / "home/mlflow.db"
    make_database = making(lambda: pytest.fail("too early") if database.exists() else None)
    make_database(f"sqlite:///{database}")
    assert [path.name for path in database.parent.iterdir()] == ["mlflow.db"]
    from mlflow import MlflowClient

    assert [one.name for one in MlflowClient(f"sqlite:///{database}").search_experiments()] == [
        "Default"
    ]


def test_of_two_that_make_a_database_at_once_the_first_one_wins(making, tmp_path):
    database = tmp_path / "mlflow.db"
    making(lambda: database.write_text("of another"))(f"sqlite:///{database}")
    assert database.read_text() == "of another"
    # Nor is one touched that is there.
    making(lambda: pytest.fail("made again"))(f"sqlite:///{database}")
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_whoever_dies_on_the_way_leaves_no_database(making, tmp_path):
    database = tmp_path / "mlflow.db"

    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        making(killed)(f"sqlite:///{database}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["http://tracker:5000", "postgresql://h/d", "sqlite://"])
def test_no_other_database_is_made(making, address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    making(lambda: pytest.fail("made"))(address)
    assert not list(Path.cwd().iterdir())
