"""Copies of a trial's checkpoints in its store: what is left of a long trial when its machine goes
away, and its scratch folder with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from orchestrator.errors import StoreError
from orchestrator.store.store import Store

EVERY = 300.0  # seconds of training between two copies; a shorter trial leaves none


class Copies:
    """The copies of the checkpoints of one trial, under the `stamp` of the code that wrote them:
    other code does not even see them.

    None of it is worth a trial: where the store cannot be read or written, there is no copy.
    """

    def __init__(self, store: Store, key: str, stamp: str) -> None:
        self._store, self._key, self._stamp = store, key, stamp
        self._is_any = False

    def read(self, name: str) -> bytes | None:
        """The content of a copy, or None where there is none."""
        try:
            content = self._store.checkpoint(self._key, self._stamp, name)
        except StoreError:
            return None
        self._is_any |= content is not None
        return content

    def fetch(self, folder: Path) -> None:
        """Put all copies into a folder, as far as both can be used. Each appears whole; of which
        moment it is does not matter, since every stage goes on from where it is.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in self._store.checkpoints(self._key, self._stamp):
                content = self.read(name)
                if content is not None:
                    temporary = folder / f"fetched.{os.getpid()}.tmp"
                    temporary.write_bytes(content)
                    os.replace(temporary, folder / name)
        except (OSError, StoreError):
            pass  # what is missing is trained again, to the same bits

    def put(self, files: Iterable[Path]) -> str:
        """Copy files, in this order; why that could not be done, or an empty string."""
        self._is_any = True
        try:
            for file in files:
                content = file.read_bytes()
                self._store.put_checkpoint(self._key, self._stamp, file.name, content)
        except (OSError, StoreError) as error:
            return str(error)
        return ""

    def clear(self) -> None:
        """Remove all copies of the trial, where there may be any."""
        if self._is_any:
            self._store.clear_checkpoints(self._key)
