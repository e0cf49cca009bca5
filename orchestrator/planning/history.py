"""What the store knows of the trials of a plan: outcomes, failures, times, and which results are
stale.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import PlanError
from orchestrator.spec.canonical import canonical_json
from orchestrator.spec.trial import Trial
from orchestrator.store.code import sources_digest
from orchestrator.store.content import content_digest
from orchestrator.store.store import Store


@dataclass(frozen=True, kw_only=True)
class History:
    """What a store knows of some trials, by key.

    `outcomes` and `stale` (why a result might come out otherwise today) leave out what is
    `outdated`: results that were asked to be made again, and those that rest on one. `failures` are
    the last exceptions of trials without a result; those that went away with their machine are
    `lost`. `reasons` say why results are not `done`. `seconds` is how long every known result took,
    and `span` when the first of them began and the last ended, in seconds since 1970.
    """

    outcomes: Mapping[str, str]
    failures: Mapping[str, str]
    lost: frozenset[str]
    reasons: Mapping[str, str]
    seconds: Mapping[str, float]
    stale: Mapping[str, str]
    outdated: frozenset[str]
    span: tuple[float, float]


def history_of(
    trials: Mapping[str, Trial], store: Store, *, rerun_stale: bool, retry: Collection[str]
) -> History:
    """The history of trials that are given by key, needs first.

    With `rerun_stale`, stale results are outdated; so are results whose outcome is among `retry`.
    Raises PlanError where a result was made with a default that has changed since.
    """
    outcomes: dict[str, str] = {}
    reasons: dict[str, str] = {}
    seconds: dict[str, float] = {}
    stale: dict[str, str] = {}
    contents: dict[str, str] = {}
    began: list[float] = []
    ended: list[float] = []
    # Records come in the order of the trials, so a result is judged after those that it rests on.
    for record in store.find_all(trials):
        key = record["key"]
        _refuse_changed_defaults(trials[key], record["trial"])
        outcomes[key], contents[key] = record["outcome"], content_digest(record)
        if record["outcome"] != "done":
            reasons[key] = record["reason"]
        began.append(record["timings"]["began"])
        ended.append(record["timings"]["ended"])
        seconds[key] = ended[-1] - began[-1]
        reason = _why_stale(trials[key], record, contents, stale)
        if reason is not None:
            stale[key] = reason
    again = {key for key, outcome in outcomes.items() if outcome in retry}
    outdated = _outdated(trials, outcomes, again | stale.keys() if rerun_stale else again)
    outcomes = {key: outcome for key, outcome in outcomes.items() if key not in outdated}
    failures = _failures(trials, outcomes, store)
    return History(
        outcomes=outcomes,
        failures={key: str(failure.get("reason", "")) for key, failure in failures.items()},
        lost=frozenset(key for key, failure in failures.items() if failure.get("kind") == "lost"),
        reasons={key: reason for key, reason in reasons.items() if key in outcomes},
        seconds=seconds,
        stale={key: reason for key, reason in stale.items() if key not in outdated},
        outdated=outdated,
        span=(min(began, default=0.0), max(ended, default=0.0)),
    )


def _outdated(
    trials: Mapping[str, Trial], outcomes: Mapping[str, str], again: Collection[str]
) -> frozenset[str]:
    """The results to be made `again`, and with them every result that rests on one."""
    outdated: set[str] = set()
    for key in outcomes:  # needs first
        needs = trials[key].needs.values()
        if key in again or any(need.key in outdated for need in needs):
            outdated.add(key)
    return frozenset(outdated)


def _failures(
    trials: Mapping[str, Trial], outcomes: Mapping[str, str], store: Store
) -> dict[str, dict[str, Any]]:
    """How trials without a result failed when they were last tried."""
    failed = store.failures()
    failures = {}
    for key in trials:
        if key in failed and key not in outcomes:
            # None where another driver has just removed it.
            failures[key] = store.failure(key) or {}
    return failures


def _why_stale(
    trial: Trial, record: Mapping[str, Any], contents: Mapping[str, str], stale: Mapping[str, str]
) -> str | None:
    """Why a result might come out otherwise today, or None.

    `contents` and `stale` tell of the results that it rests on: what they say now, and which of
    them are stale.
    """
    if record["provenance"]["sources"] != sources_digest(type(trial.method)):
        return f"made with other code of {trial.method.name}"
    for name, need in record["needs"].items():
        key, content_then = need["key"], need["content"]
        if key in stale:
            if "need" in stale[key]:  # a reason that is itself about a need
                return f"something that its need {name!r} needs is stale"
            return f"its need {name!r} was {stale[key]}"
        if contents.get(key, content_then) != content_then:
            return f"made from another result of its need {name!r}"
    return None


def _refuse_changed_defaults(trial: Trial, stored: Mapping[str, Any]) -> None:
    """Raise PlanError where a stored trial of the same key has other settings in full: a default
    that changed without a new revision must not pass as the same trial.
    """
    planned = trial.to_json()
    pairs = [(trial.method.name, planned["method"], stored["method"])]
    if planned["network"] and stored["network"]:
        pairs.append((planned["network"]["name"], planned["network"], stored["network"]))
    for owner, now, then in pairs:
        for name, new, old in _changes(now["settings"], then["settings"]):
            raise PlanError(
                f"{owner}.{name}: the store's result {trial.key[:12]} was made with {old!r}, "
                f"the same key now means {new!r}. A default changed; raise the revision"
            )


def _changes(new: Any, old: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name, new and old value of each setting that both sides have and that differs, those of
    methods inside settings included. Where a method is imported from does not count.
    """
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        for inner in new:
            if inner in old and inner != "path":
                yield from _changes(new[inner], old[inner], f"{name}.{inner}".lstrip("."))
    elif isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        for i, (new_value, old_value) in enumerate(zip(new, old, strict=True)):
            yield from _changes(new_value, old_value, f"{name}[{i}]")
    elif canonical_json(new) != canonical_json(old):
        yield name, new, old
