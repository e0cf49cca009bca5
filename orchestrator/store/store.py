"""The store: results by key, blobs by hash, in a folder that may be shared or in an object store.
What it holds is true; everything else is rebuilt from it.

    format.json                      the number of the format
    identity.txt                     by which this store is told from any other; made once
    results/ab/<key>/result.json     a trial's result: written last, never changed, the first wins
    retired/<key>-<digest>.json      a result that another one has replaced since (`--stale rerun`)
    equal/<digest>.json              code that was tried and computes the bits of other code
    blobs/ab/<sha256>                weights and matrices, named by their content
    failures/<key>.json              the last exception of a trial that has no result
    progress/<key>.json              curves of a trial under way
    logs/<key>.txt                   what a trial printed
    checkpoints/<key>/<code>/        copies of the checkpoints of a long trial under way
    sweeps/<name>.json               which file a sweep's name belongs to
    data/<name>.json                 what planning has to know of a data set
    runs/<run>                       written every minute while a driver lives
    probes/<run>                     by which machines see whether they share the store
    tune/<run>/, checks/<run>/       what Ray Tune and `--stale check` need while a run lasts

Two drivers may use one store at once: at worst a trial is trained twice and one of two true results
stands.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.errors import CorruptError, InputError, StoreError, call, option
from orchestrator.spec.canonical import canonical_json, digest
from orchestrator.spec.task import DataRecord
from orchestrator.store.files import (
    READERS,
    Cached,
    Entry,
    Files,
    Layered,
    below,
    cache_folder,
    file_name,
    files_at,
    layered,
    split_layer,
)
from orchestrator.store.origin import came_from
from orchestrator.store.records import Record, Records, body_of, record_in

FORMAT = 2
FEW = 8  # records for which no listing is worth its time


class Store:
    """A store in a folder (made at first use) or at an s3:// or gs:// address.

    Whatever cannot be read or written raises StoreError, which names the store; what was altered
    since it was written raises CorruptError.
    """

    def __init__(self, address: str | Path) -> None:
        layer, plain = split_layer(str(address))
        files = files_at(plain)
        if not files.is_local:
            files = Cached(files, cache_folder() / "stores")
        self._files: Files = Layered(files, layer) if layer else files
        self._is_checked = False
        self._plain = files.address
        self._layer = layer
        self.address, self.name = self._files.address, self._files.name
        self.is_local = files.is_local

    def __repr__(self) -> str:
        return f"Store({self.name!r})"

    @property
    def exists(self) -> bool:
        """Whether anybody has written here; asking makes nothing."""
        return self._files.read("format.json") is not None

    def prepare(self) -> None:
        """Make the store, or check its format, and that it can be written."""
        # Stays, where there is one.
        self._files.publish("format.json", canonical_json({"format": FORMAT}).encode())
        self.identity()
        self._is_checked = False
        self._check_format()
        # A store that was made before may be read-only by now.
        probe = uuid.uuid4().hex
        self.leave_probe(probe)
        self.take_probe(probe)

    def identity(self) -> str:
        """By what this store is told from any other, wherever it is seen from; a copy has that of
        its original. Made where there is none yet.
        """
        name = "identity.txt"
        if self._files.read(name) is None:
            self._files.publish(name, uuid.uuid4().hex.encode())
        # Read back: somebody else's may have been first.
        return (self._files.read(name) or b"").decode(errors="replace")

    def _check_format(self) -> None:
        """Raises StoreError for a store whose results this version does not understand."""
        if self._is_checked:
            return
        stored = self._json("format.json")
        if stored not in (None, {"format": FORMAT}):
            number = stored.get("format") if isinstance(stored, dict) else stored
            raise StoreError(
                f"{self.name} is a store of format {number} and this version of Spolia works with "
                f"format {FORMAT}: name another store ({option('store')}) and run the sweeps "
                "again, or use the version that made it"
            )
        self._is_checked = True

    def layer(self, name: str) -> Store:
        """This store as it is, with a layer over it, the folder `name` in it, that takes all that
        is written.
        """
        return Store(layered(self._plain, name))

    def folder(self, name: str) -> str:
        """The address of a folder in the store (in its layer, where it has one)."""
        return below(self._plain, f"{self._layer}/{name}" if self._layer else name)

    def leave_probe(self, name: str) -> None:
        """Write a small file, by which others see whether they look at the same store."""
        self._files.publish(f"probes/{name}", name.encode(), replace=True)

    def sees_probe(self, name: str) -> bool:
        """Whether a probe that somebody left is in this store."""
        return self._files.read(f"probes/{name}") == name.encode()

    def take_probe(self, name: str) -> None:
        """Remove a probe."""
        self._files.remove(f"probes/{name}")

    # ------------------------------------------------------------------ results

    def commit(self, record: Mapping[str, Any], *, replaces: str = "") -> bool:
        """Write a result, whose blobs must have been put before. Returns False where its trial has
        one already, which stands.

        `replaces` is the digest of a record that is outdated: the new one takes its place in one
        step, and the old one is put aside. Any other record stands.
        """
        path = _result_path(record["key"])
        content = body_of(record)
        old = self._files.read(path) if replaces else None
        if old is None:
            return self._files.publish(path, content)
        # Somebody has replaced it already.
        if _digest_in(old) != replaces:
            return False
        # First put aside, then replaced: killed in between, both stand.
        self._files.publish(_retired_path(record["key"], replaces), old)
        return self._files.publish(path, content, replace=True)

    def find(self, key: str) -> Record | None:
        """The record of a finished trial, or None where there is none. Raises CorruptError where it
        is torn or altered, StoreError where the store is of another format.
        """
        return self._find(key)

    def _find(self, key: str, *, as_listed: bool = False) -> Record | None:
        self._check_format()
        path = _result_path(key)
        body = self._files.read(path, as_listed=as_listed)
        if body is None:
            return None
        try:
            record = record_in(body)
        except ValueError as error:
            raise self._no_json(path, error) from error
        if record is None or record.get("key") != key:
            raise CorruptError(
                f"{self.name}/{path} is not the record that was written. "
                "Remove that file and run again: the trial is trained anew where it is needed"
            )
        return record

    def records(self, keys: Iterable[str]) -> Records:
        """The records of those of the trials that are finished, read once, in the order given.
        Their curves stay in the store until they are asked for.
        """
        return Records(self.find_all(keys))

    def find_all(self, keys: Iterable[str]) -> Iterator[Record]:
        """The same, one after another."""
        for record in self._found(list(keys)):
            # Curves are most of a record, and few commands look at them.
            yield record.without_curves(partial(self._curves, record["key"], record.digest))

    def _found(self, wanted: Sequence[str]) -> Iterator[Record]:
        if self.is_local or len(wanted) <= FEW:
            yield from filter(None, map(self.find, wanted))
            return
        # A request to an object store takes tens of milliseconds, nearly all of them waiting: one
        # listing spares those for trials that are not finished, threads wait for the others at
        # once.
        finished = set(self.finished())
        with ThreadPoolExecutor(READERS) as pool:
            as_listed = partial(self._find, as_listed=True)
            yield from filter(None, pool.map(as_listed, [k for k in wanted if k in finished]))

    def replaced(self, key: str) -> list[Record]:
        """The records that the one of a finished trial has taken the place of, oldest first. Raises
        CorruptError where one is torn or altered.
        """
        found = []
        for entry in self._files.entries("retired"):
            if Path(entry.path).name.startswith(f"{key}-"):
                body = self._files.read(entry.path)
                record = None if body is None else record_in(body)
                if record is None:
                    raise CorruptError(
                        f"{self.name}/{entry.path} is not the record that was written"
                    )
                found.append(record)
        return sorted(found, key=lambda record: float(record["timings"]["began"]))

    def _curves(self, key: str, digest: str) -> Any:
        """The curves of the record of a trial that has this digest, whether or not another one has
        taken its place since.
        """
        # Whatever a listing showed: the digest says whether it is the one.
        for path in (_result_path(key), _retired_path(key, digest)):
            body = self._files.read(path, as_listed=True)
            if body is not None and _digest_in(body) == digest:
                record = record_in(body)
                assert record is not None, "its digest was just found"
                return record["curves"]
        raise CorruptError(
            f"{self.name}/{_result_path(key)} has been removed or altered since it was read"
        )

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
        if not known and not self.exists:
            raise StoreError(f"there is no store at {self.name}: nothing has run there yet")
        if not matching:
            raise StoreError(
                f"no finished, failed or running trial in {self.name} has a key that begins with "
                f"{start!r}; {call('list SWEEP', 'trials()')} lists keys"
            )
        if len(matching) > 1:
            listed = ", ".join(key[:12] for key in matching[:5])
            raise StoreError(
                f"{len(matching)} trials have keys that begin with {start!r}: {listed}. "
                "Give more digits"
            )
        return matching[0]

    def put_equal(self, entry: Mapping[str, Any]) -> None:
        """Remember that some code was tried and computes the bits of other code; see
        `orchestrator.planning.kinds`.
        """
        content = canonical_json(entry).encode()
        self._files.publish(f"equal/{digest(entry)}.json", content)

    def equals(self) -> list[dict[str, Any]]:
        """All that `put_equal` was told."""
        paths = [entry.path for entry in self._files.entries("equal")]
        return [self._json(path) for path in paths if path.endswith(".json")]

    # ------------------------------------------------------------------ blobs

    def put_blob(self, content: bytes) -> str:
        """Keep bytes under their SHA-256, which is returned. They are as young as new ones
        afterwards, so that `spolia gc` leaves them to the result that is going to name them.
        """
        name = hashlib.sha256(content).hexdigest()
        self._files.refresh(_blob_path(name), content)
        return name

    def has_blob(self, name: str) -> bool:
        """Whether there are bytes under a SHA-256; `blob` verifies them."""
        return self._files.entry(_blob_path(name)) is not None

    def blob(self, name: str, *, of: str = "") -> bytes:
        """The bytes under a SHA-256, verified; `of` is the key of the result that names them.
        Raises CorruptError, which tells how to go on, where they are missing or altered.
        """
        path = _blob_path(name)
        content = self._files.read(path)
        namer = f"{self.name}/{_result_path(of)}" if of else "the result that names it"
        again = "and run again: the trial is trained anew where it is needed"
        if content is None:
            raise CorruptError(
                f"{self.name}/{path} is missing though a result names it. Remove {namer} {again}"
            )
        if hashlib.sha256(content).hexdigest() != name:
            # The blob, too: what is there under a name is not written again.
            raise CorruptError(
                f"{self.name}/{path} has been altered: its content does not hash to its name. "
                f"Remove it and {namer} {again}"
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

    def put_checkpoint(self, key: str, code: str, name: str, content: bytes) -> None:
        """Keep a copy of a checkpoint that some code wrote, in place of the one before."""
        self._files.publish(f"checkpoints/{key}/{code}/{name}", content, replace=True)

    def checkpoint(self, key: str, code: str, name: str) -> bytes | None:
        """A copy of a checkpoint, or None where there is none."""
        return self._files.read(f"checkpoints/{key}/{code}/{name}")

    def checkpoints(self, key: str, code: str) -> list[str]:
        """Names of the copies of a trial's checkpoints that this code wrote."""
        paths = [entry.path for entry in self._files.entries(f"checkpoints/{key}/{code}")]
        names = [path.rpartition("/")[2] for path in paths]
        return [name for name in names if not name.startswith(".")]  # being written just now

    def clear_checkpoints(self, key: str) -> None:
        """Remove all copies of a trial's checkpoints, as far as that can be done."""
        with contextlib.suppress(StoreError):
            self.clear(f"checkpoints/{key}")

    def claim_sweep(self, name: str, file: Path) -> None:
        """Remember which file a sweep's name belongs to. Raises InputError where another sweep of
        this machine has it: tables and MLflow go by name.

        A file that was moved or copied keeps its name: another sweep is one whose file is still
        there and says something else.
        """
        path, claiming = f"sweeps/{name}.json", came_from(file.absolute())
        owner = self.file_of_sweep(name)
        if owner == claiming:
            return
        if owner and owner.is_file() and owner.read_bytes() != file.read_bytes():
            raise InputError(
                f"another sweep is called {name!r}: {owner}. "
                "Rename one of the two files: results and MLflow runs go by this name"
            )
        self._files.publish(path, json.dumps({"file": str(claiming)}).encode(), replace=True)

    def file_of_sweep(self, name: str) -> Path | None:
        """The file that has run here under this name; None where none has."""
        claim = self._json(f"sweeps/{name}.json")
        return Path(claim["file"]) if isinstance(claim, dict) else None

    def refuse_claimed(self, name: str) -> None:
        """Raise InputError where a sweep file that is still there has this name, which a sweep
        without a file is about to use.
        """
        owner = self.file_of_sweep(name)
        if owner is not None and owner.is_file():
            raise InputError(
                f"a sweep file is called {name!r}: {owner}. Open that file, "
                f"Session({str(owner)!r}), or give this sweep another name: results and MLflow "
                "runs go by it"
            )

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

    def discard(self, path: str) -> bool:
        """Remove a file that no result needs; see `orchestrator.store.garbage`. Returns whether it
        was there.
        """
        return self._files.remove(path)

    def discard_unchanged(self, entry: Entry) -> bool:
        """Remove a file if it is as a listing showed it. Returns whether it was removed."""
        # Time and size as listed: a blob that a run has put again since is as young as a new one.
        return self._files.entry(entry.path) == entry and self.discard(entry.path)

    def clear(self, folder: str) -> None:
        """Remove a folder that holds no results, as far as that can be done."""
        if self.is_local:
            shutil.rmtree(self.folder(folder), ignore_errors=True)
            return
        # Listed before anything goes: a listing must not change under us.
        for entry in list(self._files.entries(folder)):
            self._files.remove(entry.path)

    def show_life(self, run: str) -> None:
        """Write the heartbeat of a run; see `orchestrator.store.heartbeat`."""
        self._files.publish(f"runs/{run}", run.encode(), replace=True)

    def _names(self, folder: str) -> set[str]:
        """Names of the JSON files in a folder, without `.json`."""
        paths = [entry.path for entry in self._files.entries(folder)]
        return {p.split("/")[-1].removesuffix(".json") for p in paths if p.endswith(".json")}

    def _json(self, path: str, *, as_listed: bool = False) -> Any:
        """The value of a JSON file, or None where there is no file."""
        content = self._files.read(path, as_listed=as_listed)
        if content is None:
            return None
        try:
            return json.loads(content)
        except ValueError as error:
            raise self._no_json(path, error) from error

    def _no_json(self, path: str, error: ValueError) -> CorruptError:
        return CorruptError(
            f"{self.name}/{path} is not JSON ({error}). Remove that file and run again"
        )


def record_digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of a whole record, by which one result of a trial is told from another."""
    return record.digest if isinstance(record, Record) else digest(record)


def _digest_in(body: bytes) -> str | None:
    """The digest of the record in the body of a result, or None where that is torn or altered."""
    try:
        record = record_in(body)
    except ValueError:
        return None
    return None if record is None else record.digest


def _result_path(key: str) -> str:
    return f"results/{key[:2]}/{key}/result.json"


def _retired_path(key: str, digest: str) -> str:
    return f"retired/{key}-{digest[:12]}.json"


def _blob_path(name: str) -> str:
    return f"blobs/{name[:2]}/{name}"


def _data_path(name: str) -> str:
    return f"data/{file_name(name)}.json"
