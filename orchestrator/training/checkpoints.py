"""Where a running trial leaves what it needs to go on after it was killed. Local, disposable, gone
when the result is committed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from orchestrator.store.files import file_name

TRIES = "tries.json"  # beside the states: when the first try began, and what all of them took


class Checkpoints:
    """Checkpoints of one trial, a file a stage; without a folder nothing is ever saved. `stamp`
    names the code that wrote them: those of other code are thrown away, not continued.

    They also keep count of time: `began` is when the first try of the trial did, in seconds since
    1970, and `spent` the seconds of all tries.

    Saving is by time: a state is written when `every` seconds have passed since the last, so short
    trials write none.
    """

    def __init__(self, folder: Path | None, stamp: str = "", every: float = 60.0) -> None:
        self.folder, self.every = folder, every
        self._last = time.monotonic()
        self._has_warned = False
        self._stamp = stamp
        # Going on with other code would give a result that no code ever computed.
        if folder is not None and folder.is_dir() and _text(folder / "stamp") != stamp:
            shutil.rmtree(folder, ignore_errors=True)
        self._try_began = time.time()
        self.began, self._spent_before = _earlier_tries(folder) or (self._try_began, 0.0)

    @property
    def spent(self) -> float:
        """Seconds that this try and those before it took, those up to their last checkpoints."""
        return self._spent_before + time.time() - self._try_began

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self.folder is not None and time.monotonic() - self._last >= self.every

    def save(self, stage: str, state: dict[str, Any]) -> None:
        """Write a stage's state in one step, replacing the one before. Where it cannot be written
        training goes on without, says so once, and tries again when the next one is due.
        """
        assert self.folder is not None
        self._last = time.monotonic()
        path = self._path(stage)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Before the state: one whose stamp is missing would be thrown away.
            (self.folder / "stamp").write_text(self._stamp)
            torch.save({"stage": stage, "state": state}, temporary)
            os.replace(temporary, path)  # a kill leaves the state before or this one, never half
            self._note_tries()
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            # A checkpoint is a convenience: a full disk costs it, and not the trial.
            if not self._has_warned:
                print(
                    f"a checkpoint cannot be written to {self.folder}, so a killed trial would "
                    f"begin anew: {error}"
                )
            self._has_warned = True

    def _note_tries(self) -> None:
        assert self.folder is not None
        temporary = self.folder / f"tries.{os.getpid()}.tmp"
        temporary.write_text(json.dumps({"began": self.began, "spent": self.spent}))
        os.replace(temporary, self.folder / TRIES)

    def load(self, stage: str) -> dict[str, Any] | None:
        """The last state of a stage, or None. One that cannot be read, or that is another stage's,
        counts as none: the stage is trained again, to the same bits.
        """
        if self.folder is None or not self._path(stage).exists():
            return None
        try:
            # On the CPU: the trial may go on where there is no
            # GPU, and whoever loads this copies it over.
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


def _earlier_tries(folder: Path | None) -> tuple[float, float] | None:
    """When the first try began (since 1970) and the seconds of all earlier ones, or None where
    there was none. What cannot be read counts as none: nothing but times rests on it.
    """
    try:
        noted = json.loads(_text(folder / TRIES)) if folder is not None else None
        return (float(noted["began"]), float(noted["spent"])) if noted else None
    except (ValueError, TypeError, KeyError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
