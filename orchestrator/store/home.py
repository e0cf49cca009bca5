"""Where everything of a working folder lies, unless placed elsewhere: store, MLflow database and
artifacts, tables, scratch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """`store` is a folder or an address, `tracking` an MLflow address or None to track nothing."""

    root: Path
    store: str
    tracking: str | None

    @property
    def artifacts(self) -> str | None:
        """Where artifacts go with a database of our own; a server decides for itself."""
        own = self.tracking is not None and self.tracking.startswith("sqlite:")
        return (self.root / "mlartifacts").absolute().as_uri() if own else None

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    def tables(self, sweep: str) -> Path:
        return self.root / "tables" / sweep


def home(root: Path, store: str | None, tracking: str | None) -> Home:
    """`tracking` is an MLflow address, `none` to track nothing, or nothing for a database in
    `root`.
    """
    root = root.expanduser().absolute()
    place = (
        store
        if store and "://" in store
        else str(Path(store).expanduser().absolute() if store else root / "store")
    )
    address = tracking or f"sqlite:///{root / 'mlflow.db'}"
    return Home(root, place, None if address == "none" else address)
