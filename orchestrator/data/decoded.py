"""Decoded images, once a node: .npy files in the user's cache, mapped into memory by every worker,
so that all share the same pages.

A folder of the cache (a generation of a set) is named by what was decoded: data set, options,
files with sizes and times. It appears whole, and may be thrown away when no process holds it: that
happens to those that were not used for longest, once there are too many.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from orchestrator.data.readers import PARTS, Labels, Pixels
from orchestrator.errors import DataError
from orchestrator.spec.canonical import digest
from orchestrator.store import cache_limit
from orchestrator.store.files import cache_folder

FORMAT = 2  # of what is decoded: another format, other folders
ABOUT = "about.json"
# Linux's MAP_NORESERVE, which Python's mmap does not name before 3.13.
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)

_Answer = TypeVar("_Answer")


def home() -> Path:
    """The folder of all generations."""
    return cache_folder() / "decoded"


def folder_of(stamp: Any) -> Path:
    """Where the set with this stamp is kept, once it has been decoded."""
    return home() / digest([FORMAT, stamp])[:32]


def decoded(stamp: Any, build: Callable[[Path], dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    """The folder for a stamp and what `build` said of it; made by the first process on this machine
    that asks, while the others wait. This process holds it to its end.

    `build(folder)` writes `train.npy`, `train_labels.npy`, `test.npy` and `test_labels.npy`. Raises
    DataError where the cache cannot be written.
    """
    target = folder_of(stamp)
    with told_as_data_error():
        while not (is_whole(target) and _hold(target)):
            home().mkdir(parents=True, exist_ok=True)
            with _locked(_lock_path(target.name)):
                if not is_whole(target):
                    _build(target, build)
                    _thin_out(but=target)
        return target, json.loads((target / ABOUT).read_text())


def is_whole(folder: Path) -> bool:
    """Whether all files that were written of a set are there, whatever is in them: whoever cleans
    up temporary files may have removed some.
    """
    try:
        about = json.loads((folder / ABOUT).read_text())
    except (FileNotFoundError, ValueError):  # gone, or cut short
        return False
    # A set that was decoded before they were noted has these, and masks that nobody tells of.
    files = about.get("files", [f"{part}{rest}.npy" for part in PARTS for rest in ("", "_labels")])
    return all((folder / name).is_file() for name in files)


def built_again(build: Callable[[Path], _Answer]) -> _Answer:
    """What `build` says of a set that it decodes into a folder that goes away afterwards."""
    with told_as_data_error():
        home().mkdir(parents=True, exist_ok=True)
        name = f"again-{os.getpid()}"
        with _locked(_lock_path(name)):
            temporary = Path(tempfile.mkdtemp(dir=home(), prefix=f".{name}."))
            try:
                return build(temporary)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def told_as_data_error() -> Iterator[None]:
    """What goes wrong with files of the cache, as a DataError that says what to do."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"decoded images cannot be kept in {home()}: {reason}. "
            "Set SPOLIA_CACHE to a folder with room, or see `spolia data gc`"
        ) from error


# ---------------------------------------------------------------------- held and not held

_held: dict[Path, int] = {}  # descriptors of this process, each with a shared lock


def _hold(folder: Path) -> bool:
    """See to it that nobody removes a generation while this process lives; False where there is
    none. The system lets go when the process ends, however it ends.
    """
    about = folder / ABOUT
    if folder not in _held:
        try:
            _held[folder] = os.open(about, os.O_RDONLY)
        except FileNotFoundError:
            return False
        fcntl.flock(_held[folder], fcntl.LOCK_SH)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(_held[folder]), os.stat(about)):
            cache_limit.note_use(about)
            return True
    os.close(_held.pop(folder))  # a lock on what somebody removed locks nothing
    return False


def is_held(folder: Path) -> bool:
    """Whether a process on this machine uses a generation."""
    return folder in _held or _is_locked(folder / ABOUT)


def is_being_built(temporary: Path) -> bool:
    """Whether a process on this machine writes into a folder that has not got its name yet."""
    return _is_locked(_lock_path(temporary.name.split(".")[1]))


def _is_locked(path: Path) -> bool:
    """Whether somebody has a lock on a file, shared or not."""
    try:
        with open(path, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # locked, or not ours to lock
        return True
    return False


def discard(folder: Path) -> bool:
    """Remove a generation, or what is left of one, unless a process holds it."""
    if folder in _held:
        return False
    try:
        with open(folder / ABOUT, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(file.name)  # whoever comes now finds none, and makes a new one
    except FileNotFoundError:
        pass
    except OSError:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _build(target: Path, build: Callable[[Path], dict[str, Any]]) -> None:
    temporary = Path(tempfile.mkdtemp(dir=home(), prefix=f".{target.name}."))
    try:
        about = build(temporary)
        files = sorted(entry.name for entry in os.scandir(temporary))
        (temporary / ABOUT).write_text(json.dumps({**about, "format": FORMAT, "files": files}))
        shutil.rmtree(target, ignore_errors=True)  # what is left of a generation that was removed
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _thin_out(*, but: Path) -> None:
    """Remove what was not used for longest and is held by nobody, until the rest is within the
    limit of the cache. One generation stays: its maker is about to hold it.
    """
    folders = [path for path in home().glob("[!.]*") if path.is_dir()]
    kept = [_kept(folder) for folder in folders if folder != but]
    own = sum(entry.stat().st_size for entry in os.scandir(but))
    cache_limit.thin_out(filter(None, kept), cache_limit.limit(home()) - own)


def _kept(folder: Path) -> cache_limit.Kept | None:
    """A generation as something that can go; None where it has gone meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        size = sum(entry.stat().st_size for entry in os.scandir(folder))
        used = (folder / ABOUT).stat().st_mtime
        return cache_limit.Kept(used, size, lambda: discard(folder))
    return None


def _lock_path(name: str) -> Path:
    return home() / f"{name}.lock"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of this name, alone on this machine."""
    with _lock_file(path) as file:
        try:
            yield
        finally:
            # While the lock is still held: whoever waits for this file sees below that it has gone.
            with contextlib.suppress(OSError):
                os.unlink(file.name)


def _lock_file(path: Path) -> IO[str]:
    """The file of a lock, locked. One that somebody removed between opening and locking it locks
    nothing, since the next comer makes another: then once more.
    """
    while True:
        file = open(path, "w")  # noqa: SIM115 - the caller closes it, which ends the lock
        fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()


def mapped(folder: Path, part: str) -> tuple[Pixels, Labels]:
    """Pixels and labels of a part, mapped copy-on-write: shared by all processes, and nobody's
    writing reaches the file.
    """
    return _mapped(folder / f"{part}.npy"), np.load(folder / f"{part}_labels.npy")


def _mapped(path: Path) -> Pixels:
    """As numpy maps with `mmap_mode="c"`, but without room in memory being set aside for a copy of
    all of it, which the system refuses for a file larger than its memory.
    """
    with open(path, "rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        start = file.tell()
        memory = mmap.mmap(
            file.fileno(),
            0,
            flags=mmap.MAP_PRIVATE | _NO_RESERVE,
            prot=mmap.PROT_READ | mmap.PROT_WRITE,
        )
    return np.frombuffer(memory, dtype, offset=start).reshape(shape)


def folder_digest(folder: Path) -> str:
    """SHA-256 over the decoded pixels and labels, as `spolia data verify` compares it."""
    sha = hashlib.sha256()
    for part in PARTS:
        paths = [folder / f"{part}.npy", folder / f"{part}_labels.npy"]
        masks = folder / f"{part}_masks.npy"
        for path in [*paths, masks] if masks.exists() else paths:
            with open(path, "rb") as file:
                sha.update(hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()


def write_arrays(folder: Path, part: str, x: Pixels, y: Labels) -> None:
    """A part that is in memory already."""
    np.save(folder / f"{part}.npy", np.ascontiguousarray(x))
    np.save(folder / f"{part}_labels.npy", y.astype(np.int64))
