"""Records of finished trials as the store keeps them: verified as they were written, and read once
for many trials.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from orchestrator.spec.canonical import canonical_json, digest

if TYPE_CHECKING:
    import pyarrow as pa

# The body of a result is canonical JSON: {"record":{...},"sha256":"<64 digits>"}.
_HEAD, _MIDDLE, _END = b'{"record":', b',"sha256":"', b'"}'
_AFTER_RECORD = len(_MIDDLE) + 64 + len(_END)
# Members of a record in their order: {"components":[...],"curves":[...],"frozen":{...},...}.
_CURVES, _BEHIND_CURVES = b',"curves":[', b'],"frozen":'


class Record(Mapping[str, Any]):
    """What a finished trial left: a mapping of names to JSON values, which nobody changes.

    `digest` is the SHA-256 that it was committed with, by which one result of a trial is told from
    another. The item `curves` is most of its bytes, and is parsed (or read again) when it is first
    asked for.
    """

    def __init__(
        self, fields: Mapping[str, Any], digest: str, curves: Callable[[], Any] | None = None
    ) -> None:
        self.digest = digest
        self._fields, self._read_curves = fields, curves

    def __getitem__(self, name: str) -> Any:
        return self._curves if name == "curves" and self._read_curves else self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted([*self._fields, *(["curves"] if self._read_curves else [])]))

    def __len__(self) -> int:
        return len(self._fields) + bool(self._read_curves)

    def __contains__(self, name: object) -> bool:
        return name in self._fields or (name == "curves" and self._read_curves is not None)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Record):
            return self.digest == other.digest
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as for any other mapping of values

    def __repr__(self) -> str:
        return f"<Record of {self.get('key', '?')[:12]}: {self.get('outcome')}>"

    @cached_property
    def _curves(self) -> Any:
        assert self._read_curves is not None
        return self._read_curves()

    def without_curves(self, read: Callable[[], Any]) -> Record:
        """The same record with nothing of its curves in memory: `read` gives them."""
        return Record(self._fields, self.digest, read if self._read_curves else None)


class Records(Mapping[str, Record]):
    """The records of those of some trials that are finished, by key, each read once."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._by_key: dict[str, Record] = {}
        shared: dict[str, Any] = {}
        for record in records:
            _share_modules(record, shared)
            self._by_key[record["key"]] = record

    def __getitem__(self, key: str) -> Record:
        return self._by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def __repr__(self) -> str:
        return f"<Records of {len(self)} trials>"

    @cached_property
    def metrics(self) -> pa.Table:
        """One row a trial, metric and label; see `metrics_of`."""
        return metrics_of(self.values())


def metrics_of(records: Iterable[Mapping[str, Any]]) -> pa.Table:
    """One row a record, metric and label: `key`, `outcome`, `metric`, `label` (`task=a`), `value`
    (null where it was not finite), and whether it is a `timing`.
    """
    import pyarrow as pa

    logged = [(record, entry) for record in records for entry in record["metrics"]]
    text = pa.dictionary(pa.int32(), pa.string())
    return pa.table(
        {
            "key": pa.array([record["key"] for record, _ in logged], text),
            "outcome": pa.array([record["outcome"] for record, _ in logged], text),
            "metric": pa.array([entry["name"] for _, entry in logged], text),
            "label": pa.array([label_text(entry["labels"]) for _, entry in logged], text),
            "value": pa.array([entry["value"] for _, entry in logged], pa.float64()),
            "timing": pa.array([bool(entry.get("timing")) for _, entry in logged], pa.bool_()),
        }
    )


def _share_modules(record: Record, shared: dict[str, Any]) -> None:
    """Keep the modules of records made with the same code once: they are half of what is left
    without the curves. `shared` has them by the digest of the code.
    """
    made_by = record.get("provenance", {})
    if "code" in made_by and "modules" in made_by:
        modules = shared.setdefault(made_by["code"], made_by["modules"])
        if modules == made_by["modules"]:
            made_by["modules"] = modules


def label_text(labels: Mapping[str, str]) -> str:
    """What a value is logged by, as tables have it: `task=a`."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def body_of(record: Mapping[str, Any]) -> bytes:
    """The body of a result: the record with its own SHA-256. Blobs have theirs in their names, this
    name is the trial's.
    """
    plain = dict(record)
    return canonical_json({"sha256": digest(plain), "record": plain}).encode()


def record_in(body: bytes) -> Record | None:
    """The record in the body of a result, or None where it does not hash to what was written.
    Raises ValueError where the body is no JSON.
    """
    raw = _as_written(body)
    if raw is None:
        return _in_any_form(json.loads(body))
    sha256 = body[-len(_END) - 64 : -len(_END)].decode()
    parted = _without_curves(raw)
    if parted is not None:
        fields, curves = parted
        return Record(fields, sha256, partial(json.loads, curves))
    return _record_of(json.loads(raw), sha256)


def _as_written(body: bytes) -> bytes | None:
    """The bytes of the record, where they are the ones that were hashed when it was committed."""
    raw, behind = body[len(_HEAD) : -_AFTER_RECORD], body[-_AFTER_RECORD:]
    is_framed = body.startswith(_HEAD) and behind.startswith(_MIDDLE) and behind.endswith(_END)
    is_intact = hashlib.sha256(raw).hexdigest().encode() == behind[len(_MIDDLE) : -len(_END)]
    return raw if is_framed and is_intact else None


def _in_any_form(body: Any) -> Record | None:
    """The same of a body that is JSON of another form, such as with spaces in it."""
    if not isinstance(body, dict):
        return None
    record, sha256 = body.get("record"), body.get("sha256")
    if not isinstance(record, dict) or sha256 != digest(record):
        return None
    return _record_of(record, sha256)


def _record_of(record: Any, sha256: str) -> Record | None:
    if not isinstance(record, dict):
        return None
    fields = dict(record)
    curves = fields.pop("curves", None)
    return Record(fields, sha256, None if curves is None else lambda: curves)


def _without_curves(raw: bytes) -> tuple[dict[str, Any], bytes] | None:
    """A record's fields but for its curves, and the bytes of these; None where they cannot be told
    by their neighbours.
    """
    # Quotes inside of texts have a backslash before them, so what is found is no part of a text. It
    # could be inside of another object: then what is left on either side is no JSON.
    start = raw.find(_CURVES)
    end = raw.find(_BEHIND_CURVES, start + len(_CURVES) - 1)
    if start < 0 or end < 0:
        return None
    try:
        before = json.loads(raw[:start] + b"}")
        after = json.loads(b"{" + raw[end + 2 :])
    except ValueError:
        return None
    return {**before, **after}, raw[start + len(_CURVES) - 1 : end + 1]
