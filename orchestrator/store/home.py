"""Where the files of a working folder lie: store, MLflow database, tables, scratch."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError, StoreError, option

DEFAULT_HOME = "spolia-home"  # a folder in the current one
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # as addresses of MLflow begin
SITE_FILE = "spolia.toml"  # here or above


@dataclass(frozen=True)
class Home:
    """A working folder `root`, with the address of its `store` (a folder, s3:// or gs://) and of
    MLflow (`tracking`; None to track nothing). Made by `home`.
    """

    root: Path
    store: str
    tracking: str | None

    @property
    def artifacts(self) -> str | None:
        """Where MLflow's artifacts go with a database that we write ourselves, as a file://
        address; None where a server decides.
        """
        if self.tracking is None or not self.tracking.startswith(DATABASES):
            return None
        return (self.root / "mlartifacts").absolute().as_uri()

    @property
    def scratch(self) -> Path:
        """Where running trials leave their checkpoints."""
        return self.root / "scratch"

    def prepare(self) -> None:
        """Make the folder. Raises StoreError where it cannot be made or written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error.strerror or str(error)) from error
        if not os.access(self.root, os.W_OK):
            raise self._unwritable("Permission denied")

    def _unwritable(self, reason: str) -> StoreError:
        return StoreError(
            f"the home {self.root} cannot be written: {reason}. "
            f"Choose another folder with {option('home')}"
        )

    def tables(self, sweep: str) -> Path:
        """Where the tables of results of a sweep go."""
        return self.root / "tables" / sweep


def home(root: Path, store: str | None, tracking: str | None) -> Home:
    """The home in a folder. Unless `store` and `tracking` are given, the store is a folder in it
    and MLflow's database a file in it; `tracking="none"` tracks nothing.
    """
    root = root.expanduser().absolute()
    if not store:
        store = str(root / "store")
    elif "://" not in store:  # a folder; workers start elsewhere, so from the root
        store = str(Path(store).expanduser().absolute())
    tracking = tracking or f"sqlite:///{root / 'mlflow.db'}"
    return Home(root, store, None if tracking == "none" else tracking)


def default_store() -> str:
    """Where a store is looked for when nobody says: where SPOLIA_STORE says, else the site file,
    else the folder `store` in the home that SPOLIA_HOME or the site file names, or in `spolia-home`
    here. Raises InputError for a site file that cannot be read.
    """
    named = os.environ.get("SPOLIA_SITE")
    file = find_site(Path(named) if named else None)
    said = read_toml(file) if file else {}
    base = file.parent if file else Path()
    root = os.environ.get("SPOLIA_HOME") or relative_to(base, said.get("home")) or DEFAULT_HOME
    store = os.environ.get("SPOLIA_STORE") or relative_to(base, said.get("store"))
    return home(Path(root), store, None).store


def find_site(named: Path | None) -> Path | None:
    """The file named, or the nearest spolia.toml from the current folder upwards, or None. Raises
    InputError where the named one is not there.
    """
    if named is not None:
        if not named.is_file():
            raise InputError(f"there is no site file {str(named)!r}")
        return named
    current = Path.cwd()
    # The nearest wins whole; files further up add nothing to it.
    candidates = [folder / SITE_FILE for folder in (current, *current.parents)]
    return next((path for path in candidates if path.is_file()), None)


def read_toml(file: Path) -> dict[str, Any]:
    """What a site file says, not looked at yet. Raises InputError where it cannot be read."""
    try:
        return tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error


def relative_to(base: Path, folder: str | None) -> str | None:
    """A folder of a site file from here; an address stays as it is."""
    if folder is None or "://" in folder:
        return folder
    return str(base / Path(folder).expanduser())
