"""Bytes at an address: in a folder, which several machines may share, or in an object store (S3,
GCS) through pyarrow.

Both keep one promise: bytes are complete before the first is written, and appear under their name
in one step or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pyarrow as pa
from pyarrow import fs

from orchestrator.errors import StoreError, option
from orchestrator.store import cache_limit

LAYERED = "layered:"
# What file systems without hard links say to one; those in user space that it is no call of theirs.
WITHOUT_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
READERS = 16  # requests to an object store at once
SHARDS = [f"{number:02x}" for number in range(256)]  # what results and blobs are spread over
# Files in one of them from which on all are listed side by side. An answer has at most a thousand
# files, so one after another 16,000 take as many rounds as 256 shards, 16 at once.
MANY = 64


@dataclass(frozen=True)
class Entry:
    """A file as a listing shows it: its path below the address, its size in bytes, and when it last
    `changed`, in nanoseconds since 1970.
    """

    path: str
    size: int
    changed: int


class Files(Protocol):
    """What a store needs of the folder or object store that holds it."""

    address: str
    name: str  # the address for people: without the credentials that it may hold
    is_local: bool

    def read(self, path: str, *, as_listed: bool = False) -> bytes | None:
        """The bytes at a path, or None where there is no file. With `as_listed`, a copy of what the
        last listing showed will do. Raises StoreError where it cannot be read.
        """

    def publish(self, path: str, content: bytes, *, replace: bool = False) -> bool:
        """Put ready bytes at a path in one step. Returns False where a file was there already,
        which stays, unless `replace`. Raises StoreError where it cannot be written.
        """

    def refresh(self, path: str, content: bytes) -> None:
        """Publish bytes that always stand at this path. Where they do, the file is as young as a
        new one afterwards.
        """

    def remove(self, path: str) -> bool:
        """Remove a file. Returns whether it was there; raises StoreError where it cannot be."""

    def entry(self, path: str) -> Entry | None:
        """One file as a listing would show it now, or None where there is no file."""

    def entries(self, folder: str) -> Iterator[Entry]:
        """All files below a folder, at any depth; none where there is no such folder."""


def below(address: str, folder: str) -> str:
    """The address of a folder inside what lies at an address."""
    # s3://bucket/prefix?region=... keeps its query at the end
    base, question, query = address.partition("?")
    return f"{base.rstrip('/')}/{folder}{question}{query}"


def layered(address: str, layer: str) -> str:
    """The address of a store as it is, with a layer over it that takes what is written: the folder
    `layer` inside the store. What lies below the layer is never changed.
    """
    return f"{LAYERED}{layer}:{address}"


def split_layer(address: str) -> tuple[str, str]:
    """The layer of an address (empty for a plain one) and the address below it."""
    if not address.startswith(LAYERED):
        return "", address
    layer, _, plain = address.removeprefix(LAYERED).partition(":")
    return layer, plain


def files_at(address: str | Path) -> Files:
    """A folder for a path or a file:// address, an object store for s3:// and gs://. Raises
    StoreError for any other address.
    """
    text = str(address)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Folder(Path(text))
    if scheme == "file":
        return Folder(Path("/" + rest.lstrip("/")))
    try:
        system, root = fs.FileSystem.from_uri(text)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(
            f"the store's address {_public(text)!r} cannot be used: {error}. "
            "Give a folder, or s3://bucket/prefix, or gs://bucket/prefix"
        ) from error
    return Bucket(text, system, root)


class Folder:
    """A local or mounted folder. Linking a finished temporary file gives the first writer the name,
    on one machine and over NFS.
    """

    is_local = True

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.address = self.name = str(self.root)

    def read(self, path: str, *, as_listed: bool = False) -> bytes | None:
        _refuse_outside(path)
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"{self.root / path} cannot be read: {error}") from error

    def publish(self, path: str, content: bytes, *, replace: bool = False) -> bool:
        _refuse_outside(path)
        target = self.root / path
        if not replace and target.exists():  # spares writing a whole blob that is there already
            return False
        # In the same folder, since neither link nor rename goes from one file system to another.
        temporary = target.with_name(f".{target.name[:40]}.{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write(temporary, content)
                if replace:
                    os.replace(temporary, target)
                    return True
                return _link(temporary, target)
            finally:
                with contextlib.suppress(OSError):  # gone already, or never made
                    temporary.unlink()
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(
                f"the store {self.root} cannot be written ({path}): {reason}. "
                f"Choose another folder with {option('store')}"
            ) from error

    def refresh(self, path: str, content: bytes) -> None:
        _refuse_outside(path)
        if self.publish(path, content):
            return
        try:
            os.utime(self.root / path)  # now: `gc` goes by age
        except OSError:  # removed just now, or somebody else's file
            self.publish(path, content, replace=True)

    def remove(self, path: str) -> bool:
        _refuse_outside(path)
        try:
            (self.root / path).unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise StoreError(
                f"{self.root / path} cannot be removed: {error.strerror or error}"
            ) from error
        return True

    def entry(self, path: str) -> Entry | None:
        _refuse_outside(path)
        try:
            stat = (self.root / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"{self.root / path} cannot be read: {error}") from error
        return Entry(path, stat.st_size, stat.st_mtime_ns)

    def entries(self, folder: str) -> Iterator[Entry]:
        _refuse_outside(folder)
        for parent, _, names in os.walk(self.root / folder, onerror=_unless_gone):
            for name in names:
                path = str((Path(parent) / name).relative_to(self.root))
                entry = self.entry(path)
                if entry is not None:  # else removed since it was listed
                    yield entry


def _unless_gone(error: OSError) -> None:
    """Raise StoreError for a folder that is there and cannot be listed: it would look empty, and
    what it holds like something that nobody has made yet.
    """
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise StoreError(f"{error.filename} cannot be read: {error}") from error


class Bucket:
    """An object store. It has no conditional write, so two writers of one name may both believe
    they were first: the later bytes stand. That is harmless where equal names mean equal content
    (blobs) or equally true content (two results of one trial)."""

    is_local = False

    def __init__(self, address: str, system: Any, root: str) -> None:
        self.address, self.name = address, _public(address)
        self._fs, self._root = system, root.rstrip("/")

    def read(self, path: str, *, as_listed: bool = False) -> bytes | None:
        _refuse_outside(path)
        try:
            with self._fs.open_input_file(f"{self._root}/{path}") as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self.name}/{path} cannot be read: {_first_line(error)}") from error

    def publish(self, path: str, content: bytes, *, replace: bool = False) -> bool:
        _refuse_outside(path)
        target = f"{self._root}/{path}"
        try:
            # Asked before, not in one step with writing: see the class on two writers.
            if not replace and self._fs.get_file_info(target).type != fs.FileType.NotFound:
                return False
            # Ready bytes in one go: the object appears when the stream is closed, and nothing in
            # between can raise.
            with self._fs.open_output_stream(target) as stream:
                stream.write(content)
        except OSError as error:
            raise StoreError(
                f"the store {self.name} cannot be written ({path}): {_first_line(error)}. "
                f"Choose another with {option('store')}"
            ) from error
        return True

    def refresh(self, path: str, content: bytes) -> None:
        self.publish(path, content, replace=True)

    def remove(self, path: str) -> bool:
        _refuse_outside(path)
        try:
            if self._fs.get_file_info(f"{self._root}/{path}").type == fs.FileType.NotFound:
                return False
            self._fs.delete_file(f"{self._root}/{path}")
        except OSError as error:
            raise StoreError(
                f"{self.name}/{path} cannot be removed: {_first_line(error)}"
            ) from error
        return True

    def entry(self, path: str) -> Entry | None:
        _refuse_outside(path)
        try:
            info = self._fs.get_file_info(f"{self._root}/{path}")
        except OSError as error:
            raise StoreError(f"{self.name}/{path} cannot be read: {_first_line(error)}") from error
        return self._entry(info) if info.type == fs.FileType.File else None

    def _entry(self, info: Any) -> Entry:
        return Entry(info.path.removeprefix(self._root + "/"), info.size, info.mtime_ns or 0)

    def entries(self, folder: str) -> Iterator[Entry]:
        _refuse_outside(folder)
        if folder.rpartition("/")[2] not in ("results", "blobs"):
            yield from self._listed(folder)
            return
        # Names are digests, so any shard tells how many files there are in all.
        first = self._listed(f"{folder}/{SHARDS[0]}")
        if len(first) < MANY:
            yield from self._listed(folder)
            return
        yield from first
        # Listings wait in Arrow's own threads, of which there are eight unless somebody asks.
        pa.set_io_thread_count(max(READERS, pa.io_thread_count()))
        with ThreadPoolExecutor(READERS) as pool:
            for listed in pool.map(self._listed, [f"{folder}/{shard}" for shard in SHARDS[1:]]):
                yield from listed

    def _listed(self, folder: str) -> list[Entry]:
        """All files below a folder, by as many requests, one after another, as they fill."""
        selector = fs.FileSelector(f"{self._root}/{folder}", recursive=True, allow_not_found=True)
        try:
            found = self._fs.get_file_info(selector)
        except OSError as error:
            raise StoreError(
                f"{self.name}/{folder} cannot be listed: {_first_line(error)}"
            ) from error
        return [self._entry(info) for info in found if info.type == fs.FileType.File]


class Cached:
    """An object store with a local copy of what never changes: blobs, and results as long as the
    store shows them unchanged. Copies of all stores together keep to a limit.
    """

    def __init__(self, files: Files, folder: Path) -> None:
        self.address, self.name, self.is_local = files.address, files.name, files.is_local
        self._files = files
        self._cache = cache_limit.Files(folder)
        self._copies = Folder(folder / hashlib.sha256(files.address.encode()).hexdigest()[:16])
        self._seen: dict[str, Entry] = {}  # results as the last listing showed them, by path

    def read(self, path: str, *, as_listed: bool = False) -> bytes | None:
        copy = self._copy_path(path, as_listed)
        if copy is None:
            return self._files.read(path)
        content = self._read_copy(copy)
        if content is None:
            content = self._files.read(path)
            if content is not None:
                with contextlib.suppress(StoreError):  # a full or read-only cache only costs time
                    self._copies.publish(copy, content, replace=True)
                    self._cache.written(len(content))
        return content

    def _copy_path(self, path: str, as_listed: bool) -> str | None:
        """Where the local copy of a file lies, or None where it may have none. That of a result
        carries time and size of what the last listing showed, so a replaced one is read again.
        """
        # Named by their content, so a copy can be verified and never grows old.
        if path.startswith("blobs/"):
            return path
        entry = self._seen.get(path) if as_listed else None
        return f"{path}.{entry.changed}.{entry.size}" if entry else None

    def _read_copy(self, copy: str) -> bytes | None:
        """A local copy, or None where there is none that can be trusted."""
        try:
            content = self._copies.read(copy)
        except StoreError:
            return None
        if content is not None and copy.startswith("blobs/") and not _hashes_to(content, copy):
            return None
        if content is not None:
            cache_limit.note_use(self._copies.root / copy)
        return content

    def publish(self, path: str, content: bytes, *, replace: bool = False) -> bool:
        self._seen.pop(path, None)
        return self._files.publish(path, content, replace=replace)

    def refresh(self, path: str, content: bytes) -> None:
        self._files.refresh(path, content)

    def remove(self, path: str) -> bool:
        self._seen.pop(path, None)
        return self._files.remove(path)

    def entry(self, path: str) -> Entry | None:
        return self._files.entry(path)

    def entries(self, folder: str) -> Iterator[Entry]:
        for entry in self._files.entries(folder):
            if folder == "results":
                self._seen[entry.path] = entry
            yield entry


class Layered:
    """A store's files with a layer over them: everything is written to the layer, a folder of the
    same store, and nothing below it changes. What lies below is read first.
    """

    def __init__(self, files: Files, layer: str) -> None:
        self.address, self.name = layered(files.address, layer), f"{files.name}/{layer}"
        self.is_local = files.is_local
        self._files, self._layer = files, layer

    def read(self, path: str, *, as_listed: bool = False) -> bytes | None:
        # First below: the layer holds what is tried beside the store, never instead of it.
        content = self._files.read(path, as_listed=as_listed)
        return self._files.read(self._upper(path)) if content is None else content

    def publish(self, path: str, content: bytes, *, replace: bool = False) -> bool:
        return self._files.publish(self._upper(path), content, replace=replace)

    def refresh(self, path: str, content: bytes) -> None:
        self._files.refresh(self._upper(path), content)

    def remove(self, path: str) -> bool:
        return self._files.remove(self._upper(path))

    def entry(self, path: str) -> Entry | None:
        return self._files.entry(path) or self._files.entry(self._upper(path))

    def entries(self, folder: str) -> Iterator[Entry]:
        """Those of the layer."""
        for entry in self._files.entries(self._upper(folder)):
            path = entry.path.removeprefix(f"{self._layer}/")
            yield Entry(path, entry.size, entry.changed)

    def _upper(self, path: str) -> str:
        return f"{self._layer}/{path}"


def cache_folder() -> Path:
    """Where copies lie that this user can do without: SPOLIA_CACHE, or `spolia` in the folder that
    the system keeps for caches.
    """
    chosen = os.environ.get("SPOLIA_CACHE")
    if chosen:
        return Path(chosen)
    system = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(system) / "spolia"


LONGEST_NAME = 200  # characters of a file's name without its ending; file systems take 255 bytes


def file_name(text: str) -> str:
    """A text as the name of one file, different for different texts, and never a path: what is
    neither letter, digit nor one of `_.-~` is escaped as in an address, and a long text ends in a
    digest. `joint/1` becomes `joint%2F1`.
    """
    # "." and ".." are names of folders, and a dot in front hides a file.
    quoted = quote(text, safe="")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if len(quoted) <= LONGEST_NAME:
        return quoted
    # No quoted text has "%-" in it, so none is called like a shortened one.
    ending = "%-" + hashlib.sha256(text.encode()).hexdigest()
    return quoted[: LONGEST_NAME - len(ending)] + ending


def _refuse_outside(path: str) -> None:
    """Raise StoreError for a path that leads out of the store, whatever name it was made of."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise StoreError(f"{path!r} is no place in a store: it leads out of it")


def _hashes_to(content: bytes, path: str) -> bool:
    return hashlib.sha256(content).hexdigest() == path.rsplit("/", 1)[-1]


def _public(address: str) -> str:
    """An address without its query and its user part, which may hold credentials."""
    scheme, separator, rest = address.partition("?")[0].partition("://")
    return scheme + separator + rest.rpartition("@")[2]


@contextlib.contextmanager
def appears_whole(path: Path) -> Iterator[Path]:
    """A file beside `path` to be written, which takes its name at the end. Where that fails the
    file goes away, and `path` stays as it was. For what people look at; a store publishes.
    """
    # Beside it: a rename works within one file system only.
    temporary = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _link(temporary: Path, target: Path) -> bool:
    """Give the finished file its name unless the name is taken: linking fails where renaming would
    replace.
    """
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LINKS:
            raise
        # A file system without hard links. Two writers at once replace each other's file, which
        # does no harm: see Bucket.
        os.replace(temporary, target)
    return True
