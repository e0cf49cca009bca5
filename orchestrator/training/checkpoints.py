"""Where a running trial leaves what it needs to go on after it was killed. Local, with copies in
the store for long trials; disposable, and gone when the result is committed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from orchestrator.store.files import file_name
from orchestrator.training import copies
from orchestrator.training.copies import Copies

TRIES = "tries.json"  # beside the states: when the first try began, and what all of them took


class Checkpoints:
    """Checkpoints of one trial, a file a stage; without a folder nothing is ever saved. `stamp`
    names the code that wrote them: those of other code are thrown away, not continued.

    They also keep count of time: `began` is when the first try of the trial did, in seconds since
    1970, and `spent` the seconds of all tries.

    Saving is by time: a state is written when `every` seconds have passed since the last, so short
    trials write none. Of a trial that takes minutes `kept` has copies, too; where those are of a
    longer training than what lies here, as after a move to another machine, they are fetched.

    `is_abandoned` says whether nobody waits for the trial any more: then a state is due at once.
    """

    def __init__(
        self,
        folder: Path | None,
        stamp: str = "",
        every: float = 60.0,
        kept: Copies | None = None,
        is_abandoned: Callable[[], bool] = lambda: False,
    ) -> None:
        self.folder, self.every, self.is_abandoned = folder, every, is_abandoned
        self._last = time.monotonic()
        self._has_warned = False
        self._stamp = stamp
        # Going on with other code would give a result that no code ever computed.
        if folder is not None and folder.is_dir() and _text(folder / "stamp") != stamp:
            shutil.rmtree(folder, ignore_errors=True)
        self._copies = kept
        self._uncopied: set[Path] | None = None  # states; None: all that there are
        self._try_began = time.time()
        self.began, self._spent_before = self._earlier_tries() or (self._try_began, 0.0)
        self._last_copied = self._last - self._spent_before

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
            self._copy(path)
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

    def _copy(self, written: Path) -> None:
        """Copy to the store what was written since the last copies, if those are old enough."""
        assert self.folder is not None
        if self._uncopied is not None:
            self._uncopied.add(written)
        if self._copies is None or time.monotonic() - self._last_copied < copies.EVERY:
            return
        self._last_copied = time.monotonic()
        states = self.folder.glob("*.pt") if self._uncopied is None else self._uncopied
        # The count of time last: it says that there are copies, and how far they are.
        if problem := self._copies.put([*sorted(states), self.folder / TRIES]):
            print(f"a copy of a checkpoint cannot be put into the store: {problem}")
        else:
            self._uncopied = set()

    def _earlier_tries(self) -> tuple[float, float] | None:
        """When the first try began (since 1970) and the seconds of all earlier ones, or None where
        there was none. The checkpoints of the longer training are those that are here then.
        """
        if self.folder is None:
            return None
        here = _tries(_text(self.folder / TRIES))
        if self._copies is None:
            return here
        theirs = _tries((self._copies.read(TRIES) or b"").decode(errors="replace"))
        if theirs is None or (here is not None and here[1] >= theirs[1]):
            return here
        self._copies.fetch(self.folder)
        with contextlib.suppress(OSError):  # without it they would be thrown away next time
            (self.folder / "stamp").write_text(self._stamp)
        return theirs

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
        if self._copies is not None:
            self._copies.clear()

    def _path(self, stage: str) -> Path:
        assert self.folder is not None
        return self.folder / (file_name(stage) + ".pt")


def _tries(noted: str) -> tuple[float, float] | None:
    """When the first try began and the seconds of all of them. What cannot be read counts as none:
    nothing but times rests on it.
    """
    try:
        tries = json.loads(noted)
        return float(tries["began"]), float(tries["spent"])
    except (ValueError, TypeError, KeyError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
