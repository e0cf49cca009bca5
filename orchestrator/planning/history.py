"""What the store knows of the trials of a plan: outcomes, failures, times, and which results are
stale.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from orchestrator.errors import PlanError
from orchestrator.planning.kinds import Kind, KnownEqual, kind_of
from orchestrator.spec.trial import Trial
from orchestrator.store.code import code_of, listed
from orchestrator.store.content import content_digest
from orchestrator.store.meaning import marks_of_another
from orchestrator.store.records import Record, Records
from orchestrator.store.store import Store

NOTHING = Records()


@dataclass(frozen=True, kw_only=True)
class History:
    """What a store knows of some trials, by key.

    `outcomes` and `stale` (why a result might come out otherwise today) leave out what is
    `outdated`: results that were asked to be made again, and those that rest on one, with the
    digests of their records. `kinds` are those of the stale results that were made with other code.
    `failures` are the last exceptions of trials without a result; those that went away with their
    machine are `lost`. `reasons` say why results are not `done`. `seconds` is how long every known
    result took, and `span` when the first of them began and the last ended, in seconds since 1970.
    `records` are those of all results, outdated or not.
    """

    records: Records
    outcomes: Mapping[str, str]
    failures: Mapping[str, str]
    lost: frozenset[str]
    reasons: Mapping[str, str]
    seconds: Mapping[str, float]
    stale: Mapping[str, str]
    kinds: Mapping[str, Kind]
    outdated: Mapping[str, str]
    span: tuple[float, float]


def history_of(
    trials: Mapping[str, Trial],
    store: Store,
    *,
    rerun_stale: bool = False,
    retry: Collection[str] = (),
    outdated: Mapping[str, str] = MappingProxyType({}),
    known: Records = NOTHING,
) -> History:
    """The history of trials that are given by key, needs first. Records that are `known` are not
    read again.

    With `rerun_stale`, stale results are outdated; so are results whose outcome is among `retry`,
    and records whose digest is the one that `outdated` names for their key. Raises PlanError
    that lists every result that is of another thing than its key means today: made with a default
    that has changed since, or by a class of the same name from another module.
    """
    records = _own_records(trials, store, known)
    judge = _Judge(trials, store, records)
    outcomes: dict[str, str] = {}
    replaced: dict[str, str] = {}
    reasons: dict[str, str] = {}
    # Records come in the order of the trials, so a result is judged after those that it rests on.
    for key, record in records.items():
        outcome = record["outcome"]
        rests_on_outdated = any(need.key in replaced for need in trials[key].needs.values())
        # The judge is asked first, and always: it notes what is stale for those that rest on it.
        is_asked_for = (judge.is_stale(record) and rerun_stale) or outcome in retry
        # By digest: where somebody has replaced the record since, this is done already.
        if is_asked_for or outdated.get(key) == record.digest or rests_on_outdated:
            replaced[key] = record.digest
        else:
            outcomes[key], reasons[key] = outcome, record["reason"]
    failures = _failures(trials, outcomes, store)
    return History(
        records=records,
        outcomes=outcomes,
        failures={key: str(failure.get("reason", "")) for key, failure in failures.items()},
        lost=frozenset(key for key, failure in failures.items() if failure.get("kind") == "lost"),
        reasons={key: reason for key, reason in reasons.items() if outcomes[key] != "done"},
        seconds={key: record["timings"]["seconds"] for key, record in records.items()},
        # What is to be made again is no longer stale but open.
        stale={key: why for key, why in judge.stale.items() if key in outcomes},
        kinds={key: kind for key, kind in judge.kinds.items() if key in outcomes},
        outdated=replaced,
        span=_span(records),
    )


def _span(records: Records) -> tuple[float, float]:
    """From when the first began to when the last ended; zeros where there is none."""
    timings = [record["timings"] for record in records.values()]
    first = min((times["began"] for times in timings), default=0.0)
    return first, max((times["ended"] for times in timings), default=0.0)


def _own_records(trials: Mapping[str, Trial], store: Store, known: Records) -> Records:
    """The records of the trials that are finished, in the order of the trials. Raises PlanError
    that lists every one that is of another thing than its key means today.
    """
    new = store.records(key for key in trials if key not in known)
    records = Records((new.get(key) or known[key]) for key in trials if key in new or key in known)
    others = [mark for key in records for mark in marks_of_another(trials[key], records[key])]
    if others:
        raise PlanError("the store has results under keys that now mean something else:", others)
    return records


def _failures(
    trials: Mapping[str, Trial], outcomes: Mapping[str, str], store: Store
) -> dict[str, dict[str, Any]]:
    """How trials without a result failed when they were last tried."""
    failed = store.failures()  # one listing instead of a look-up a trial
    failures = {}
    for key in trials:
        if key in failed and key not in outcomes:
            # None where another driver has just removed it.
            failures[key] = store.failure(key) or {}
    return failures


class _Judge:
    """Says of results, given in the order of their needs, why they might come out otherwise today:
    `stale`, by key; `kinds` are those of results that were made with other code.
    """

    def __init__(self, trials: Mapping[str, Trial], store: Store, records: Records) -> None:
        self.stale: dict[str, str] = {}
        self.kinds: dict[str, Kind] = {}
        self._trials, self._store, self._records = trials, store, records
        self._contents: dict[str, str] = {}  # what each result that is a need says now, by key

    def is_stale(self, record: Record) -> bool:
        """Whether a result might come out otherwise; the reason is noted."""
        reason = self._other_code(record) or self._other_needs(record)
        if reason is not None:
            self.stale[record["key"]] = reason
        return reason is not None

    def _other_code(self, record: Record) -> str | None:
        trial = self._trials[record["key"]]
        code = code_of(trial)
        kind = kind_of(trial, record, code)
        if kind is None or self._known_equal.has(kind, code):
            return None
        self.kinds[trial.key] = kind
        return f"made with other code: {listed(kind.modules)}"

    @cached_property
    def _known_equal(self) -> KnownEqual:
        """Read where something was made with other code, and not before."""
        return KnownEqual(self._store.equals())

    def _other_needs(self, record: Record) -> str | None:
        for name, need in record["needs"].items():
            key, content_then = need["key"], need["content"]
            # The first reason will do; it passes down from need to user.
            if key in self.stale:
                if "need" in self.stale[key]:  # a reason that is itself about a need
                    return f"something that its need {name!r} needs is stale"
                return f"its need {name!r} was {self.stale[key]}"
            # By what the need found, not by when: made again to the same bits, it leaves its users
            # as they are. A need that is gone from the store cannot differ.
            if key in self._records and self._content_now(key) != content_then:
                return f"made from another result of its need {name!r}"
        return None

    def _content_now(self, key: str) -> str:
        if key not in self._contents:
            self._contents[key] = content_digest(self._records[key])
        return self._contents[key]
