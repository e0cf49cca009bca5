"""A store from whatever somebody has at hand who wants to look into one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from orchestrator.errors import InputError
from orchestrator.store.home import Home, default_store
from orchestrator.store.store import Store


class HasStore(Protocol):
    """A session, results, or the result of a trial."""

    @property
    def store(self) -> Store: ...


AnyStore = Store | HasStore | Home | str | Path


def opened(given: AnyStore | None) -> Store:
    """The store that is given, or at a folder or address, or of a session or a result; of a home
    the store in it; of None the usual one, see `default_store`. Raises InputError for anything
    else.
    """
    if given is None or given == "":
        return Store(default_store())
    if isinstance(given, str | Path):
        return _at(given)
    own = given if isinstance(given, Store) else getattr(given, "store", None)
    if isinstance(own, Store):
        return own
    if isinstance(own, str):  # of a home, whose store is an address
        return Store(own)
    raise InputError(
        "a store is given as its folder or address, as a Store, or as a session, not as a "
        f"{type(given).__name__}"
    )


def _at(place: str | Path) -> Store:
    """The store in a folder or at an address; where there is none, and the folder is a home, that
    of the home.
    """
    store = Store(place)
    if store.is_local and not store.exists:
        of_home = Store(Path(place) / "store")
        if of_home.exists:
            return of_home
    return store
