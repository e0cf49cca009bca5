"""Why a trial has no result, or not the one that was expected: its identity held against the
nearest record's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import InputError
from orchestrator.planning.plan import Plan
from orchestrator.spec.trial import Trial
from orchestrator.store.store import Store


@dataclass(frozen=True)
class Difference:
    """A field in which a trial and a record differ: `ours` as planned, `theirs` as stored; None
    where one side lacks it.
    """

    field: str
    ours: Any
    theirs: Any


@dataclass(frozen=True)
class Explanation:
    """What is known of a trial: `state`, and the nearest record of another trial of its method with
    what differs.
    """

    trial: Trial
    state: str
    nearest: str | None
    differences: tuple[Difference, ...]


def explain(plan: Plan, store: Store, start: str) -> Explanation:
    """Explain the one trial of a plan whose key begins so. Raises InputError where none or several
    do.
    """
    found = [t for key, t in plan.trials.items() if key.startswith(start)]
    if len(found) != 1:
        listed = (
            ", ".join(k[:12] for k in list(plan.trials)[:5])
            if not found
            else ", ".join(t.key[:12] for t in found[:5])
        )
        what = "no trial" if not found else f"{len(found)} trials"
        raise InputError(
            f"{what} of {plan.name} with a key that begins with {start!r}: {listed}, ... (`spolia status --json` lists all)"
        )
    trial = found[0]
    near = nearest_record(trial, store)
    return Explanation(
        trial, _state(plan, trial), near[0] if near else None, tuple(near[1]) if near else ()
    )


def _state(plan: Plan, trial: Trial) -> str:
    if trial.key in plan.stale:
        return f"done, but stale: {plan.stale[trial.key]}"
    if trial.key in plan.outcomes:
        return f"{plan.outcomes[trial.key]}: its result is in the store"
    if trial.key in plan.failures:
        return f"failed last time: {plan.failures[trial.key].splitlines()[0]}"
    waiting = [name for name, need in trial.needs.items() if need.key not in plan.outcomes]
    return f"not run; needs that are not done: {', '.join(waiting)}" if waiting else "not run"


def nearest_record(trial: Trial, store: Store) -> tuple[str, list[Difference]] | None:
    """The record, of another trial of the same method, that differs in the fewest fields."""
    best: tuple[str, list[Difference]] | None = None
    for record in store.find_all(list(store.finished())):
        if record["identity"]["method"] != trial.method.name or record["key"] == trial.key:
            continue
        found = list(differences(trial.identity, record["identity"]))
        if best is None or len(found) < len(best[1]):
            best = record["key"], found
    return best


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[Difference]:
    """Fields of two identities that differ, leaf by leaf."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in dict.fromkeys([*ours, *theirs]):
            yield from differences(ours.get(name), theirs.get(name), f"{path}.{name}".lstrip("."))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(a, b, f"{path}[{i}]")
    elif ours != theirs:
        yield Difference(path, ours, theirs)
