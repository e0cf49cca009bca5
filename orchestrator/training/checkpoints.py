"""Where a running trial leaves what it needs to go on after it was killed. Local, disposable, gone
when the result is committed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from orchestrator.errors import StoreError
from orchestrator.store.files import file_name


class Checkpoints:
    """Checkpoints of one trial, a file a stage; without a folder nothing is ever saved. `stamp`
    names the code that wrote them: those of other code are thrown away, not continued.

    Saving is by time: a state is written when `every` seconds have passed since the last, so short
    trials write none.
    """

    def __init__(self, folder: Path | None, stamp: str = "", every: float = 60.0) -> None:
        self.folder, self.every = folder, every
        self._last = time.monotonic()
        self._stamp = stamp
        if folder is not None and folder.is_dir() and _text(folder / "stamp") != stamp:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self.folder is not None and time.monotonic() - self._last >= self.every

    def save(self, stage: str, state: dict[str, Any]) -> None:
        """Write a stage's state in one step, replacing the one before."""
        assert self.folder is not None
        path = self._path(stage)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "stamp").write_text(self._stamp)
            torch.save({"stage": stage, "state": state}, temporary)
            os.replace(temporary, path)  # a kill leaves the state before or this one, never half
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise StoreError(f"a checkpoint cannot be written to {self.folder}: {error}") from error
        self._last = time.monotonic()

    def load(self, stage: str) -> dict[str, Any] | None:
        """The last state of a stage, or None. One that cannot be read, or that is another stage's,
        counts as none: the stage is trained again, to the same bits.
        """
        if self.folder is None or not self._path(stage).exists():
            return None
        try:
            saved = torch.load(self._path(stage), map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return None
        if not isinstance(saved, dict) or saved.get("stage") != stage:
            return None
        state = saved.get("state")
        return state if isinstance(state, dict) else None

    def clear(self) -> None:
        """Throw everything away."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, stage: str) -> Path:
        assert self.folder is not None
        return self.folder / (file_name(stage) + ".pt")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
