"""Where the files of a working folder lie: store, MLflow database, tables, scratch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import StoreError

DEFAULT_HOME = "spolia-home"  # a folder in the current one
_UNWRITABLE = "cannot be written. Choose another folder with --home"


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
        """Where MLflow's artifacts go with a database of our own, as a file:// address; None where
        a server decides.
        """
        if self.tracking is None or not self.tracking.startswith("sqlite:"):
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
            raise StoreError(f"the home {self.root} {_UNWRITABLE}") from error
        if not os.access(self.root, os.W_OK):
            raise StoreError(f"the home {self.root} {_UNWRITABLE}")

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
    """Where a store is looked for when nobody says: SPOLIA_STORE, or the folder `store` in the home
    that SPOLIA_HOME names, or in `spolia-home` here.
    """
    folder = Path(os.environ.get("SPOLIA_HOME") or DEFAULT_HOME)
    return os.environ.get("SPOLIA_STORE") or str(folder / "store")
