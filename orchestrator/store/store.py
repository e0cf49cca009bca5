"""The store: results by key, blobs by hash, in a folder that may be shared or in an object store.
What is here is true; everything else is rebuilt from it.

    results/ab/<key>/result.json     one trial's result; written last, never changed; the first to
    be written stands retired/<key>-<digest>.json      a result that was made with other code and
    has been replaced since (`--stale rerun`) blobs/ab/<sha256>                weights and matrices,
    named by their content failures/<key>.json              the last exception of a trial that has
    no result progress/<key>.json              curves of a trial under way logs/<key>.txt
    what a trial printed sweeps/<name>.json               which file a sweep's name belongs to
    data/<name>.json                 what planning has to know of a data set

Two drivers may use one store at once: at worst a trial is trained twice and one of two true results
stands.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestrator.errors import CorruptError, InputError, StoreError
from orchestrator.spec.canonical import canonical_json, digest
from orchestrator.spec.task import DataRecord
from orchestrator.store.files import Cached, Entry, cache_folder, files_at

FORMAT = 1
READERS = 16  # requests to an object store at once


class Store:
    """A store at a folder (made at first use) or at an s3:// or gs:// address. Raises StoreError
    that names the place for whatever it refuses.
    """

    def __init__(self, address: str | Path) -> None:
        files = files_at(address)
        self._files = files if files.is_local else Cached(files, cache_folder() / "stores")
        self.address, self.name, self.is_local = files.address, files.name, files.is_local

    def __repr__(self) -> str:
        return f"Store({self.name!r})"

    def prepare(self) -> None:
        """Make the store, or check its format. Raises StoreError where it cannot be written."""
        self._files.publish("format.json", canonical_json({"format": FORMAT}).encode())
        found = self._json("format.json")
        if found != {"format": FORMAT}:
            raise StoreError(
                f"{self.name} is a store of another format ({found}); this version reads format {FORMAT}"
            )
        self.leave_probe(probe := uuid.uuid4().hex)
        self.take_probe(probe)

    def leave_probe(self, name: str) -> None:
        """Write a small file, for others to see whether they look at the same store."""
        self._files.publish(f"probes/{name}", name.encode())

    def sees_probe(self, name: str) -> bool:
        return self._files.read(f"probes/{name}") == name.encode()

    def take_probe(self, name: str) -> None:
        self._files.remove(f"probes/{name}")

    # ------------------------------------------------------------------ results

    def commit(self, record: Mapping[str, Any]) -> bool:
        """Write a result; False where one stood already (then that one counts). Its blobs must have
        been put before.
        """
        body = {"sha256": digest(record), "record": record}
        return self._files.publish(_result_path(record["key"]), canonical_json(body).encode())

    def find(self, key: str) -> dict[str, Any] | None:
        """The record of a finished trial, or None. Raises CorruptError where it is torn or
        altered.
        """
        path = _result_path(key)
        body = self._json(path)
        if body is None:
            return None
        record = body.get("record") if isinstance(body, dict) else None
        if (
            not isinstance(record, dict)
            or body.get("sha256") != digest(record)
            or record.get("key") != key
        ):
            raise CorruptError(
                f"{self.name}/{path} is not the record that was written. Remove that file and run again: the trial is trained anew"
            )
        return record

    def find_all(self, keys: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The records of those trials that are finished. One listing of an object store spares a
        request a trial.
        """
        wanted = list(keys)
        if self.is_local or len(wanted) <= 8:
            yield from (record for key in wanted if (record := self.find(key)) is not None)
            return
        there = set(self.finished())
        with ThreadPoolExecutor(
            READERS
        ) as pool:  # a request takes tens of milliseconds, nearly all of them waiting
            yield from filter(None, pool.map(self.find, (key for key in wanted if key in there)))

    def finished(self) -> Iterator[str]:
        """Keys of all finished trials."""
        yield from (
            e.path.split("/")[-2]
            for e in self._files.entries("results")
            if e.path.endswith("/result.json")
        )

    def resolve_key(self, start: str) -> str:
        """The one key of a trial that has finished, failed or is under way and begins so. Raises
        StoreError where there is none or more than one.
        """
        known = sorted({*self.finished(), *self.failures(), *self.under_way()})
        found = [key for key in known if key.startswith(start)]
        if len(found) == 1:
            return found[0]
        if found:
            raise StoreError(
                f"{len(found)} trials have keys that begin with {start!r}: {', '.join(k[:12] for k in found[:5])}. Give more digits"
            )
        raise StoreError(
            f"no finished, failed or running trial in {self.name} has a key that begins with {start!r}; `spolia status --json` lists keys"
        )

    def retire(self, key: str) -> None:
        """Put a result aside, so that its trial runs again. Its blobs stay until `spolia gc`."""
        content = self._files.read(_result_path(key))
        if content is not None:
            self._files.publish(
                f"retired/{key}-{hashlib.sha256(content).hexdigest()[:12]}.json", content
            )
            self._files.remove(_result_path(key))

    # ------------------------------------------------------------------ blobs

    def put_blob(self, content: bytes) -> str:
        """Keep bytes under their SHA-256, which is returned."""
        name = hashlib.sha256(content).hexdigest()
        self._files.publish(_blob_path(name), content)
        return name

    def blob(self, name: str) -> bytes:
        """The bytes under a SHA-256, verified. Raises CorruptError where they are missing or
        altered.
        """
        path = _blob_path(name)
        content = self._files.read(path)
        if content is None:
            raise CorruptError(f"{self.name}/{path} is missing though a result names it")
        if hashlib.sha256(content).hexdigest() != name:
            raise CorruptError(
                f"{self.name}/{path} has been altered: its content does not hash to its name. Remove it and the results that name it"
            )
        return content

    # ------------------------------------------------------------------ what is not a result

    def put_failure(self, key: str, failure: Mapping[str, Any]) -> None:
        """Remember how the last try of a trial failed."""
        self._files.publish(f"failures/{key}.json", json.dumps(failure).encode(), replace=True)

    def failure(self, key: str) -> dict[str, Any] | None:
        """How the last try failed, or None."""
        found = self._json(f"failures/{key}.json")
        return found if isinstance(found, dict) else None

    def failures(self) -> set[str]:
        """Keys of all trials whose last try failed."""
        return {
            e.path.split("/")[-1].removesuffix(".json")
            for e in self._files.entries("failures")
            if e.path.endswith(".json")
        }

    def forget_failure(self, key: str) -> None:
        self._files.remove(f"failures/{key}.json")

    def put_progress(self, key: str, progress: Mapping[str, Any] | None) -> None:
        """What a trial under way has reached; None when it has ended."""
        if progress is None:
            self._files.remove(f"progress/{key}.json")
        else:
            self._files.publish(f"progress/{key}.json", json.dumps(progress).encode(), replace=True)

    def progress(self, key: str) -> dict[str, Any] | None:
        """What a trial under way has reached, or None. Torn or strange files count as none: nothing
        rests on them.
        """
        try:
            found = self._json(f"progress/{key}.json")
        except StoreError:
            return None
        return found if isinstance(found, dict) else None

    def under_way(self) -> set[str]:
        """Keys of trials that have left progress and no result yet."""
        return {
            e.path.split("/")[-1].removesuffix(".json")
            for e in self._files.entries("progress")
            if e.path.endswith(".json")
        }

    def put_log(self, key: str, text: str) -> None:
        """What a trial printed in its last try."""
        self._files.publish(f"logs/{key}.txt", text.encode(), replace=True)

    def log(self, key: str) -> str:
        """What a trial printed, or an empty string."""
        return (self._files.read(f"logs/{key}.txt") or b"").decode(errors="replace")

    def claim_sweep(self, name: str, file: Path) -> None:
        """Remember which file a sweep's name belongs to. Raises InputError where another sweep of
        this machine has it: tables and MLflow go by name.

        A file that was moved or copied keeps its name: the file remembered must still be there and
        say something else.
        """
        path, mine = f"sweeps/{name}.json", file.absolute()
        known = self._json(path)
        before = Path(known["file"]) if isinstance(known, dict) else mine
        if before != mine and before.is_file() and before.read_bytes() != mine.read_bytes():
            raise InputError(
                f"another sweep is called {name!r}: {before}. Rename one of the two files: results and MLflow runs go by this name"
            )
        if not isinstance(known, dict) or before != mine:
            self._files.publish(path, json.dumps({"file": str(mine)}).encode(), replace=True)

    def data(self, name: str) -> DataRecord | None:
        """The record of a data set seen before, or None."""
        found = self._json(_data_path(name))
        return DataRecord.from_json(found) if isinstance(found, dict) else None

    def data_records(self) -> list[DataRecord]:
        """All data sets that planning can resolve without their images, by name."""
        paths = [e.path for e in self._files.entries("data") if e.path.endswith(".json")]
        return sorted(
            (DataRecord.from_json(self._json(path)) for path in paths), key=lambda r: r.name
        )

    def put_data(self, record: DataRecord, *, replace: bool = False) -> None:
        self._files.publish(
            _data_path(record.name), canonical_json(record.to_json()).encode(), replace=replace
        )

    # ------------------------------------------------------------------ housekeeping

    def entries(self, folder: str) -> Iterator[Entry]:
        """All files below one of the store's folders."""
        return self._files.entries(folder)

    def discard(self, path: str) -> None:
        """Remove a file that nothing names any more; see `orchestrator.store.garbage`."""
        self._files.remove(path)

    def _json(self, path: str) -> Any:
        content = self._files.read(path)
        if content is None:
            return None
        try:
            return json.loads(content)
        except ValueError as error:
            raise CorruptError(
                f"{self.name}/{path} is not JSON ({error}). Remove that file and run again"
            ) from error


def _result_path(key: str) -> str:
    return f"results/{key[:2]}/{key}/result.json"


def _blob_path(name: str) -> str:
    return f"blobs/{name[:2]}/{name}"


def _data_path(name: str) -> str:
    return f"data/{quote(name, safe='')[:200]}.json"
