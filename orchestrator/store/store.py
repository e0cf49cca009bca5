"""The store: results by key, blobs by hash, in a folder that may be shared or in an object store.
What it holds is true; everything else is rebuilt from it.

    format.json                      the number of the format
    results/ab/<key>/result.json     a trial's result: written last, never changed, the first wins
    retired/<key>-<digest>.json      a result that was made again since (`--stale rerun`)
    blobs/ab/<sha256>                weights and matrices, named by their content
    failures/<key>.json              the last exception of a trial that has no result
    progress/<key>.json              curves of a trial under way
    logs/<key>.txt                   what a trial printed
    sweeps/<name>.json               which file a sweep's name belongs to
    data/<name>.json                 what planning has to know of a data set
    probes/<name>                    left for a moment, to see whether machines share the store

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
FEW = 8  # records for which no listing is worth its time


class Store:
    """A store in a folder (made at first use) or at an s3:// or gs:// address.

    Whatever cannot be read or written raises StoreError, which names the store; what was altered
    since it was written raises CorruptError.
    """

    def __init__(self, address: str | Path) -> None:
        files = files_at(address)
        self._files = files if files.is_local else Cached(files, cache_folder() / "stores")
        self.address, self.name, self.is_local = files.address, files.name, files.is_local

    def __repr__(self) -> str:
        return f"Store({self.name!r})"

    @property
    def exists(self) -> bool:
        """Whether anybody has written here; asking makes nothing."""
        return self._files.read("format.json") is not None

    def prepare(self) -> None:
        """Make the store, or check its format, and that it can be written."""
        self._files.publish("format.json", canonical_json({"format": FORMAT}).encode())
        stored = self._json("format.json")
        if stored != {"format": FORMAT}:
            raise StoreError(
                f"{self.name} is a store of another format ({stored}); "
                f"this version reads format {FORMAT}"
            )
        # A store that was made before may be read-only by now.
        probe = uuid.uuid4().hex
        self.leave_probe(probe)
        self.take_probe(probe)

    def leave_probe(self, name: str) -> None:
        """Write a small file, by which others see whether they look at the same store."""
        self._files.publish(f"probes/{name}", name.encode())

    def sees_probe(self, name: str) -> bool:
        """Whether a probe that somebody left is in this store."""
        return self._files.read(f"probes/{name}") == name.encode()

    def take_probe(self, name: str) -> None:
        """Remove a probe."""
        self._files.remove(f"probes/{name}")

    # ------------------------------------------------------------------ results

    def commit(self, record: Mapping[str, Any]) -> bool:
        """Write a result, whose blobs must have been put before. Returns False where its trial has
        one already, which stands.
        """
        body = {"sha256": digest(record), "record": record}
        return self._files.publish(_result_path(record["key"]), canonical_json(body).encode())

    def find(self, key: str) -> dict[str, Any] | None:
        """The record of a finished trial, or None where there is none. Raises CorruptError where it
        is torn or altered.
        """
        path = _result_path(key)
        body = self._json(path)
        if body is None:
            return None
        record = _intact_record(body)
        if record is None or record.get("key") != key:
            raise CorruptError(
                f"{self.name}/{path} is not the record that was written. "
                f"Remove that file and run again: the trial is trained anew"
            )
        return record

    def find_all(self, keys: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The records of those of the trials that are finished, in the order given."""
        wanted = list(keys)
        if self.is_local or len(wanted) <= FEW:
            yield from filter(None, map(self.find, wanted))
            return
        # A request to an object store takes tens of milliseconds, nearly all of them waiting: one
        # listing spares those for trials that are not finished, threads wait for the others at
        # once.
        finished = set(self.finished())
        with ThreadPoolExecutor(READERS) as pool:
            yield from filter(None, pool.map(self.find, [k for k in wanted if k in finished]))

    def finished(self) -> Iterator[str]:
        """Keys of all finished trials."""
        for entry in self._files.entries("results"):
            if entry.path.endswith("/result.json"):
                yield entry.path.split("/")[-2]

    def resolve_key(self, start: str) -> str:
        """The key that begins with `start`, of a trial that has finished, failed or is under way.
        Raises StoreError where there is none, or more than one.
        """
        known = sorted({*self.finished(), *self.failures(), *self.under_way()})
        matching = [key for key in known if key.startswith(start)]
        if not matching:
            raise StoreError(
                f"no finished, failed or running trial in {self.name} has a key that begins with "
                f"{start!r}; `spolia status --json` lists keys"
            )
        if len(matching) > 1:
            listed = ", ".join(key[:12] for key in matching[:5])
            raise StoreError(
                f"{len(matching)} trials have keys that begin with {start!r}: {listed}. "
                f"Give more digits"
            )
        return matching[0]

    def retire(self, key: str) -> None:
        """Put a result aside, so that its trial runs again. Its blobs stay until `spolia gc`."""
        content = self._files.read(_result_path(key))
        if content is not None:
            name = f"{key}-{hashlib.sha256(content).hexdigest()[:12]}"
            self._files.publish(f"retired/{name}.json", content)
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
                f"{self.name}/{path} has been altered: its content does not hash to its name. "
                f"Remove it and the results that name it"
            )
        return content

    # ------------------------------------------------------------------ what is not a result

    def put_failure(self, key: str, failure: Mapping[str, Any]) -> None:
        """Remember how the last try of a trial failed."""
        self._files.publish(f"failures/{key}.json", json.dumps(failure).encode(), replace=True)

    def failure(self, key: str) -> dict[str, Any] | None:
        """How the last try of a trial failed, or None."""
        failure = self._json(f"failures/{key}.json")
        return failure if isinstance(failure, dict) else None

    def failures(self) -> set[str]:
        """Keys of all trials whose last try failed."""
        return self._names("failures")

    def forget_failure(self, key: str) -> None:
        """Forget how a trial failed: it has a result now, or is tried again."""
        self._files.remove(f"failures/{key}.json")

    def put_progress(self, key: str, progress: Mapping[str, Any] | None) -> None:
        """Write what a trial under way has reached, or remove it (None) when the trial has
        ended.
        """
        if progress is None:
            self._files.remove(f"progress/{key}.json")
        else:
            self._files.publish(f"progress/{key}.json", json.dumps(progress).encode(), replace=True)

    def progress(self, key: str) -> dict[str, Any] | None:
        """What a trial under way has reached, or None. Torn or strange files count as none: nothing
        rests on them.
        """
        try:
            progress = self._json(f"progress/{key}.json")
        except StoreError:
            return None
        return progress if isinstance(progress, dict) else None

    def under_way(self) -> set[str]:
        """Keys of trials that have left progress and have not ended."""
        return self._names("progress")

    def put_log(self, key: str, text: str) -> None:
        """Write what a trial printed in its last try."""
        self._files.publish(f"logs/{key}.txt", text.encode(), replace=True)

    def log(self, key: str) -> str:
        """What a trial printed, or an empty string."""
        return (self._files.read(f"logs/{key}.txt") or b"").decode(errors="replace")

    def claim_sweep(self, name: str, file: Path) -> None:
        """Remember which file a sweep's name belongs to. Raises InputError where another sweep of
        this machine has it: tables and MLflow go by name.

        A file that was moved or copied keeps its name: another sweep is one whose file is still
        there and says something else.
        """
        path, claiming = f"sweeps/{name}.json", file.absolute()
        claim = self._json(path)
        owner = Path(claim["file"]) if isinstance(claim, dict) else None
        if owner == claiming:
            return
        if owner and owner.is_file() and owner.read_bytes() != claiming.read_bytes():
            raise InputError(
                f"another sweep is called {name!r}: {owner}. "
                f"Rename one of the two files: results and MLflow runs go by this name"
            )
        self._files.publish(path, json.dumps({"file": str(claiming)}).encode(), replace=True)

    def data(self, name: str) -> DataRecord | None:
        """The record of a data set seen before, or None."""
        record = self._json(_data_path(name))
        return DataRecord.from_json(record) if isinstance(record, dict) else None

    def data_records(self) -> list[DataRecord]:
        """All data sets that planning can resolve without their images, by name."""
        paths = [e.path for e in self._files.entries("data") if e.path.endswith(".json")]
        records = [DataRecord.from_json(self._json(path)) for path in paths]
        return sorted(records, key=lambda record: record.name)

    def put_data(self, record: DataRecord, *, replace: bool = False) -> None:
        """Write the record of a data set; one that is there stays, unless `replace`."""
        content = canonical_json(record.to_json()).encode()
        self._files.publish(_data_path(record.name), content, replace=replace)

    # ------------------------------------------------------------------ housekeeping

    def entries(self, folder: str) -> Iterator[Entry]:
        """All files below one of the store's folders."""
        return self._files.entries(folder)

    def discard(self, path: str) -> None:
        """Remove a file that no result needs; see `orchestrator.store.garbage`."""
        self._files.remove(path)

    def _names(self, folder: str) -> set[str]:
        """Names of the JSON files in a folder, without `.json`."""
        paths = [entry.path for entry in self._files.entries(folder)]
        return {p.split("/")[-1].removesuffix(".json") for p in paths if p.endswith(".json")}

    def _json(self, path: str) -> Any:
        """The value of a JSON file, or None where there is no file."""
        content = self._files.read(path)
        if content is None:
            return None
        try:
            return json.loads(content)
        except ValueError as error:
            raise CorruptError(
                f"{self.name}/{path} is not JSON ({error}). Remove that file and run again"
            ) from error


def _intact_record(body: Any) -> dict[str, Any] | None:
    """The record in the body of a result, or None where it does not hash to what was written."""
    if not isinstance(body, dict):
        return None
    record = body.get("record")
    return record if isinstance(record, dict) and body.get("sha256") == digest(record) else None


def _result_path(key: str) -> str:
    return f"results/{key[:2]}/{key}/result.json"


def _blob_path(name: str) -> str:
    return f"blobs/{name[:2]}/{name}"


def _data_path(name: str) -> str:
    return f"data/{quote(name, safe='')[:200]}.json"
