"""Plans: a sweep held against the store. What is to be run, what is shared, what is done, what it
will cost. Nothing is started here.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from orchestrator.data.resolve import resolve_task
from orchestrator.errors import PlanError, SpoliaError
from orchestrator.spec.canonical import canonical_json
from orchestrator.spec.grid import Dropped
from orchestrator.spec.sweep import Sweep
from orchestrator.spec.task import Task
from orchestrator.spec.trial import Cell, Trial
from orchestrator.store.code import sources_digest
from orchestrator.store.content import content_digest
from orchestrator.store.store import Store

DEEPEST = 200  # longest chain of needs; a deeper one is taken for an endless one


@dataclass(frozen=True)
class Plan:
    """Cells, every distinct trial behind them in an order that respects needs, and what the store
    knows of each. `stale` says of trials that are done why running them again might give something
    else; `outdated` are results that were asked to be made again: they do not count any more."""

    name: str
    question: str
    cells: tuple[Cell, ...]
    axes: tuple[str, ...]
    dropped: tuple[Dropped, ...]
    trials: Mapping[str, Trial]
    outcomes: Mapping[str, str]
    failures: Mapping[str, str]
    seconds: Mapping[str, float]
    stale: Mapping[str, str]
    outdated: frozenset[str] = frozenset()
    claims: Sequence[Any] = ()
    span: tuple[float, float] = (
        0.0,
        0.0,
    )  # when the first of the known results began and the last ended, in seconds since 1970

    @cached_property
    def users(self) -> Mapping[str, int]:
        """How many cells and trials use each trial directly."""
        uses = Counter(cell.trial.key for cell in self.cells)
        uses.update(need.key for trial in self.trials.values() for need in trial.needs.values())
        return uses

    @property
    def cell_keys(self) -> set[str]:
        return {cell.trial.key for cell in self.cells}

    @property
    def todo(self) -> list[Trial]:
        """Trials without a result that the unfinished cells call for, needs first."""
        wanted: set[str] = set()
        waiting = [cell.trial for cell in self.cells]
        while waiting:
            trial = waiting.pop()
            if trial.key not in wanted and trial.key not in self.outcomes:
                wanted.add(trial.key)
                waiting += trial.needs.values()
        return [trial for key, trial in self.trials.items() if key in wanted]

    @property
    def is_complete(self) -> bool:
        """Whether every cell has a result."""
        return not self.todo

    def cost(self, trial: Trial) -> float | None:
        """Estimated seconds of a trial: its own if it ran before, else the mean of its method's
        finished trials, else None.
        """
        if trial.key in self.seconds:
            return self.seconds[trial.key]
        return self._mean_by_method.get(trial.method.name)

    @cached_property
    def _mean_by_method(self) -> Mapping[str, float]:
        groups: dict[str, list[float]] = {}
        for key, seconds in self.seconds.items():
            groups.setdefault(self.trials[key].method.name, []).append(seconds)
        return {name: sum(many) / len(many) for name, many in groups.items()}

    def unshared(self) -> int:
        """Trials that would be run if every cell were run from scratch by itself."""
        sizes: dict[str, int] = {}

        def size(trial: Trial) -> int:
            if trial.key not in sizes:
                sizes[trial.key] = 1 + sum(size(need) for need in trial.needs.values())
            return sizes[trial.key]

        return sum(size(cell.trial) for cell in self.cells)


def make_plan(
    name: str, sweep: Sweep, store: Store, *, rerun_stale: bool = False, retry: Collection[str] = ()
) -> Plan:
    """Plan a sweep against a store; with `rerun_stale`, results that are stale do not count, nor do
    those whose outcome is among `retry`. Raises PlanError (or DataError) that lists every reason
    why cells cannot run."""
    problems: dict[str, int] = {}
    tasks: dict[Task, Task] = {}
    cells: list[Cell] = []
    trials: dict[str, Trial] = {}
    for cell in sweep.trials():
        try:
            for task in cell.trial.tasks:
                if task not in tasks:
                    tasks[task] = resolve_task(task, store)
            trial = replace(cell.trial, tasks=tuple(tasks[t] for t in cell.trial.tasks))
            for one in _walk(trial, known=trials):
                trials[one.key] = one
            cells.append(replace(cell, trial=trial))
        except SpoliaError as error:
            for problem in getattr(error, "problems", ()) or (str(error),):
                problems[problem] = problems.get(problem, 0) + 1
    if problems:
        total = len(sweep.cells)
        raise PlanError(
            f"{name}: cells that cannot run as written:",
            (f"{p} ({n} of {total} cells)" for p, n in problems.items()),
        )
    question = inspect.cleandoc(sweep.question or "")
    return Plan(
        name,
        question,
        tuple(cells),
        sweep.axes,
        sweep.cells.dropped,
        trials,
        claims=tuple(sweep.claims),
        **_known(trials, store, rerun_stale, retry),
    )


def _walk(trial: Trial, known: Mapping[str, Trial], above: Sequence[Trial] = ()) -> Iterable[Trial]:
    """A trial and its needs, needs first. Raises PlanError for a cycle, an endless chain, or a
    trial that cannot run.
    """
    if len(above) > DEEPEST:
        raise PlanError(
            f"{above[0].method.name} needs a chain of more than {DEEPEST} trials; does its `needs` come to an end?"
        )
    if trial in above:
        loop = " -> ".join(t.method.name for t in [*above[above.index(trial) :], trial])
        raise PlanError(f"a trial needs itself: {loop}. Look at `needs` of {trial.method.name}")
    problems = trial.problems()
    if problems:
        behind = f" (needed by {above[-1].method.name})" if above else ""
        raise PlanError("", [problem + behind for problem in problems])
    found: list[Trial] = []
    for need in trial.needs.values():
        found += _walk(need, known, [*above, trial])
    if trial.key in known:
        return []
    return [*found, trial]


def _known(
    trials: Mapping[str, Trial], store: Store, rerun_stale: bool, retry: Collection[str]
) -> dict[str, Any]:
    """Outcomes, last failures, seconds and staleness of the trials that the store knows."""
    outcomes: dict[str, str] = {}
    seconds: dict[str, float] = {}
    stale: dict[str, str] = {}
    contents: dict[str, str] = {}
    times: list[tuple[float, float]] = []
    for record in store.find_all(trials):  # needs come first, as in the plan
        key = record["key"]
        compare(trials[key], record["trial"])
        outcomes[key], contents[key] = record["outcome"], content_digest(record)
        times.append((record["timings"]["began"], record["timings"]["ended"]))
        seconds[key] = times[-1][1] - times[-1][0]
        if why := _why_stale(trials[key], record, contents, stale):
            stale[key] = why
    outdated: set[str] = set()
    for (
        key,
        outcome,
    ) in (
        outcomes.items()
    ):  # needs first: what rests on a result that is made again is made again, too
        behind = any(need.key in outdated for need in trials[key].needs.values())
        if behind or outcome in retry or (rerun_stale and key in stale):
            outdated.add(key)
    outcomes = {key: outcome for key, outcome in outcomes.items() if key not in outdated}
    stale = {key: why for key, why in stale.items() if key not in outdated}
    failed = store.failures()
    failures = {
        key: str((store.failure(key) or {}).get("reason", ""))
        for key in trials
        if key in failed and key not in outcomes
    }
    return {
        "outcomes": outcomes,
        "failures": failures,
        "seconds": seconds,
        "stale": stale,
        "outdated": frozenset(outdated),
        "span": (min((b for b, _ in times), default=0.0), max((e for _, e in times), default=0.0)),
    }


def _why_stale(
    trial: Trial, record: Mapping[str, Any], contents: Mapping[str, str], stale: Mapping[str, str]
) -> str | None:
    """Why a result might come out otherwise today, or None."""
    if record["provenance"]["sources"] != sources_digest(type(trial.method)):
        return f"made with other code of {trial.method.name}"
    for name, need in record["needs"].items():
        if need["key"] in stale:
            behind = stale[need["key"]]
            return (
                f"something that its need {name!r} needs is stale"
                if "need" in behind
                else f"its need {name!r} was {behind}"
            )
        if contents.get(need["key"], need["content"]) != need["content"]:
            return f"made from another result of its need {name!r}"
    return None


def compare(trial: Trial, stored: Mapping[str, Any]) -> None:
    """A hit counts only with the same settings in full: a default that changed without a new
    revision must not pass as the same trial.
    """
    ours = trial.to_json()
    pairs = [(trial.method.name, ours["method"], stored["method"])]
    if ours["network"] and stored["network"]:
        pairs.append((ours["network"]["name"], ours["network"], stored["network"]))
    for owner, mine, theirs in pairs:
        if found := _first_difference(mine["settings"], theirs["settings"], ""):
            name, new, old = found
            raise PlanError(
                f"{owner}.{name}: the store's result {trial.key[:12]} was made with {old!r}, the same key now means {new!r}. A default "
                f"changed; raise the revision"
            )


def _first_difference(ours: Any, theirs: Any, path: str) -> tuple[str, Any, Any] | None:
    """The first setting that differs, methods inside settings included; settings that only one side
    has are none.
    """
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        inner = ((k, ours[k], theirs[k]) for k in ours if k in theirs and k != "path")
        return next(
            (d for k, a, b in inner if (d := _first_difference(a, b, f"{path}.{k}".lstrip(".")))),
            None,
        )
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return next(
            (
                d
                for i, (a, b) in enumerate(zip(ours, theirs, strict=True))
                if (d := _first_difference(a, b, f"{path}[{i}]"))
            ),
            None,
        )
    return None if canonical_json(ours) == canonical_json(theirs) else (path, ours, theirs)
