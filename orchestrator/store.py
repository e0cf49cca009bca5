"""The store: results by key, blobs by hash, on a folder that may be shared. What is here is true; everything else is rebuilt from it.

    results/ab/<key>/result.json     one trial's result; written last, never changed; the first to be written stands
    blobs/ab/<sha256>                weights and matrices, named by their content
    failures/<key>.json              the last exception of a trial that has no result
    data/<name>.json                 what planning has to know of a data set

Nothing is ever half there: bytes are complete before the first is written, go to a temporary file beside the target, are forced to the disk, and
appear under their name in one step.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pyarrow import fs

from orchestrator.canonical import canonical_json, digest
from orchestrator.errors import CorruptError, StoreError
from orchestrator.task import DataRecord

FORMAT = 1


class Store:
    """A store at a local folder, made at first use. Raises StoreError that names the path for whatever the disk refuses."""

    def __init__(self, address: str | Path) -> None:
        if "://" in str(address):
            raise StoreError(f"the store {str(address)!r} is an address; this version keeps stores in a local folder")
        self.root = Path(address).expanduser().absolute()
        self._fs = fs.LocalFileSystem()

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def prepare(self) -> None:
        """Make the folder, or check its format. Raises StoreError where it cannot be written."""
        self.publish("format.json", canonical_json({"format": FORMAT}).encode())
        found = self._json("format.json")
        if found != {"format": FORMAT}:
            raise StoreError(f"{self.root} is a store of another format ({found}); this version reads format {FORMAT}")
        probe = f".probe-{uuid.uuid4().hex}"
        self.publish(probe, b"")
        (self.root / probe).unlink(missing_ok=True)

    # ------------------------------------------------------------------ results

    def commit(self, record: Mapping[str, Any]) -> bool:
        """Write a result; False where one stood already (then that one counts). Its blobs must have been put before."""
        body = {"sha256": digest(record), "record": record}
        return self.publish(_result_path(record["key"]), canonical_json(body).encode())

    def find(self, key: str) -> dict[str, Any] | None:
        """The record of a finished trial, or None. Raises CorruptError where it is torn or altered."""
        path = _result_path(key)
        body = self._json(path)
        if body is None:
            return None
        record = body.get("record") if isinstance(body, dict) else None
        if not isinstance(record, dict) or body.get("sha256") != digest(record) or record.get("key") != key:
            raise CorruptError(f"{self.root / path} is not the record that was written. Remove that file and run again: the trial is trained anew")
        return record

    def finished(self) -> Iterator[str]:
        """Keys of all finished trials."""
        selector = fs.FileSelector(str(self.root / "results"), recursive=True, allow_not_found=True)
        yield from (Path(i.path).parent.name for i in self._fs.get_file_info(selector) if i.base_name == "result.json")

    # ------------------------------------------------------------------ blobs

    def put_blob(self, content: bytes) -> str:
        """Keep bytes under their SHA-256, which is returned."""
        name = hashlib.sha256(content).hexdigest()
        self.publish(_blob_path(name), content)
        return name

    def blob(self, name: str) -> bytes:
        """The bytes under a SHA-256, verified. Raises CorruptError where they are missing or altered."""
        path = _blob_path(name)
        content = self._read(path)
        if content is None:
            raise CorruptError(f"{self.root / path} is missing though a result names it")
        if hashlib.sha256(content).hexdigest() != name:
            raise CorruptError(f"{self.root / path} has been altered: its content does not hash to its name. Remove it and the results that name it")
        return content

    # ------------------------------------------------------------------ failures and data

    def put_failure(self, key: str, failure: Mapping[str, Any]) -> None:
        """Remember how the last try of a trial failed."""
        self.publish(f"failures/{key}.json", json.dumps(failure).encode(), replace=True)

    def failure(self, key: str) -> dict[str, Any] | None:
        """How the last try failed, or None."""
        found = self._json(f"failures/{key}.json")
        return found if isinstance(found, dict) else None

    def forget_failure(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.root / f"failures/{key}.json").unlink()

    def data(self, name: str) -> DataRecord | None:
        """The record of a data set seen before, or None."""
        found = self._json(f"data/{name}.json")
        return DataRecord.from_json(found) if isinstance(found, dict) else None

    def put_data(self, record: DataRecord) -> None:
        self.publish(f"data/{record.name}.json", canonical_json(record.to_json()).encode())

    # ------------------------------------------------------------------ bytes

    def publish(self, path: str, content: bytes, *, replace: bool = False) -> bool:
        """Put ready bytes at a path in one step. The first wins (False for who comes later) unless `replace`."""
        target = self.root / path
        if not replace and target.exists():
            return False
        temporary = target.with_name(f".{target.name[:40]}.{uuid.uuid4().hex}")
        try:
            self._fs.create_dir(str(target.parent), recursive=True)
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
            raise StoreError(f"the store {self.root} cannot be written ({path}): {reason}. Choose another folder with --store") from error

    def _read(self, path: str) -> bytes | None:
        try:
            with self._fs.open_input_file(str(self.root / path)) as stream:
                return bytes(stream.read())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"{self.root / path} cannot be read: {error}") from error

    def _json(self, path: str) -> Any:
        content = self._read(path)
        if content is None:
            return None
        try:
            return json.loads(content)
        except ValueError as error:
            raise CorruptError(f"{self.root / path} is not JSON ({error}). Remove that file and run again") from error


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _link(temporary: Path, target: Path) -> bool:
    """Give the finished file its name unless the name is taken: linking fails where renaming would replace."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        os.replace(temporary, target)  # a file system without hard links; both writers hold the same bits
    return True


def _result_path(key: str) -> str:
    return f"results/{key[:2]}/{key}/result.json"


def _blob_path(name: str) -> str:
    return f"blobs/{name[:2]}/{name}"
