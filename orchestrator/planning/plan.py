"""Plans: a sweep held against the store. What is to be run, what is shared, what is done, what it
will cost. Nothing is started here.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

from orchestrator.errors import PlanError, SpoliaError
from orchestrator.planning import standing
from orchestrator.planning.checks import Checks
from orchestrator.planning.durations import Durations, size_of
from orchestrator.planning.history import NOTHING, history_of
from orchestrator.planning.kinds import Kind
from orchestrator.planning.preparation_notes import notes_of
from orchestrator.spec.claim import Claim
from orchestrator.spec.formatting import html_table
from orchestrator.spec.grid import Dropped
from orchestrator.spec.labels import Axes
from orchestrator.spec.sweep import Sweep
from orchestrator.spec.task import Task
from orchestrator.spec.trial import Cell, Trial, needs_first
from orchestrator.store.records import Records
from orchestrator.store.store import Store

BY_ITSELF = ("done", "open", "failed", "lost")
"""Standings that are no matter of a need."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Plan:
    """A sweep's cells, every distinct trial behind them, and what the store knows of each trial."""

    name: str
    """The sweep's name: its file without `.py`."""
    question: str
    """What the sweep asks, without indentation."""
    cells: tuple[Cell, ...]
    """The cells in the order of the grid, their tasks resolved."""
    num_whole: int
    """How many cells the whole sweep has; more than `cells` where this is a part of it."""
    axes: tuple[str, ...]
    """Labels of cells that vary over the sweep."""
    dropped: tuple[Dropped, ...]
    """What `where` left out of the grid, with its reasons."""
    trials: Mapping[str, Trial]
    """Every distinct trial by key, needs before what needs them."""
    outcomes: Mapping[str, str]
    """How each trial with a result ended, by key: done, diverged or infeasible."""
    failures: Mapping[str, str]
    """The last exception of each trial that failed and has no result, by key."""
    lost: frozenset[str]
    """Keys of those that failed because their machine went away."""
    reasons: Mapping[str, str]
    """Why each result that is not done ended so, by key."""
    seconds: Mapping[str, float]
    """How long each result took, by key."""
    stale: Mapping[str, str]
    """Why a result might come out otherwise if its trial were run again, by key."""
    kinds: Mapping[str, Kind]
    """Of each stale result that was made with other code its kind, by key."""
    outdated: Mapping[str, str]
    """Digests, by key, of the records that are to be replaced: the fields above do not tell of
    them, but for `seconds`."""
    claims: Sequence[Claim]
    """What the sweep decides; nothing in a part, since verdicts are on the whole."""
    num_claims: int
    """How many claims the whole sweep has."""
    notes: Sequence[str]
    """Sentences on how images are prepared: what a base decides, and where methods differ."""
    warnings: Sequence[str]
    """What a user should know of the data sets before training on them."""
    span: tuple[float, float]
    """When the first of the known results began and the last ended, in seconds since 1970."""
    records: Records = field(repr=False)
    """The records of all results, by key, as they were read for this plan; outdated ones, too."""

    def __repr__(self) -> str:
        return f"<Plan of {self._in_words}>"

    def _repr_html_(self) -> str:
        cell_keys = self.cell_keys
        rows: list[tuple[str, str, int, str]] = []
        for title, is_cell in (("trials", True), ("needs", False)):
            keys: dict[str, list[str]] = {}  # by method
            for key, trial in self.trials.items():
                if (key in cell_keys) == is_cell:
                    keys.setdefault(trial.method.name, []).append(key)
            for method, those in keys.items():
                counts = standing.count(map(self.standing, those))
                rows.append((title, method, len(those), standing.in_words(counts)))
        return html_table(("", "method", "number", "standing"), rows, caption=self._in_words)

    @property
    def _in_words(self) -> str:
        """`quickstart: 36 of 36 cells done; 72 of 72 trials done; 0 to run`."""
        part = f" (a part: {len(self.cells)} of {self.num_whole} cells)" if self.is_part else ""
        words = [
            f"{self.name}{part}: {standing.of_total(self.cell_counts, 'cells')}",
            standing.of_total(self.trial_counts, "trials"),
            f"{len(self.todo)} to run",
            *([f"{len(self.stale)} stale"] if self.stale else []),
            *(f"{d.count} cells left out: {' '.join(d.reason.split())}" for d in self.dropped),
        ]
        return "; ".join(words)

    @property
    def is_part(self) -> bool:
        """Whether these are not all cells of the sweep."""
        return len(self.cells) < self.num_whole

    @cached_property
    def values(self) -> Axes:
        """The values of the axes, typed and told apart."""
        return Axes(self.cells, self.axes)

    def standing_or_stale(self, key: str) -> str:
        """The standing of a trial, or `stale` where its result might come out otherwise today; what
        tables and `--json` call its state.
        """
        return "stale" if key in self.stale else self.standing(key)

    def standing(self, key: str) -> str:
        """How a trial stands, one of `orchestrator.planning.standing.STANDINGS`; a stale result
        stands as it ended.
        """
        if key in self.outcomes:
            return self.outcomes[key]
        if key in self.failures:
            return "lost" if key in self.lost else "failed"
        return "blocked" if key in self._blocked else "open"

    @cached_property
    def _blocked(self) -> frozenset[str]:
        """Keys of trials that wait for a need which will not do as it stands."""
        # The usual case: nothing ended badly, so nothing waits in vain.
        if not self.failures and not self.reasons:
            return frozenset()
        blocked: set[str] = set()
        for key, trial in self.trials.items():  # needs first
            # What ended by itself stands as it ended, whatever its needs have come to since.
            if key in self.outcomes or key in self.failures:
                continue
            usable = standing.usable_states(trial.method)
            for need in trial.needs.values():
                # A need that is open may still do; failed and blocked ones have no outcome either.
                state = self.outcomes.get(need.key, "open")
                is_missing = need.key in self.failures or need.key in blocked
                if is_missing or state not in {*usable, "open"}:
                    blocked.add(key)
        return frozenset(blocked)

    @cached_property
    def cell_counts(self) -> Mapping[str, int]:
        """How many cells stand how."""
        return standing.count(self.standing(cell.trial.key) for cell in self.cells)

    @cached_property
    def trial_counts(self) -> Mapping[str, int]:
        """How many distinct trials stand how, those that are needs only included."""
        return standing.count(self.standing(key) for key in self.trials)

    def cause(self, trial: Trial) -> tuple[str, Trial] | None:
        """The need for which a trial is not done, where it is one, with the name it goes by:
        `("student.base", trial)` is the need `base` of the need `student`. None for a trial that is
        done, or ended so by itself.
        """
        names: list[str] = []
        # Down to where it began, along the first need at each step that will not do.
        while self.standing(trial.key) not in BY_ITSELF:
            needs = trial.needs.items()
            unmet = [
                name for name, need in needs if self.standing(need.key) not in ("done", "open")
            ]
            if not unmet:
                # It ended so with needs that were all right: here it began.
                break
            names.append(unmet[0])
            trial = trial.needs[unmet[0]]
        return (".".join(names), trial) if names else None

    def reason(self, key: str) -> str:
        """Why a trial failed or ended otherwise than done, in one line; an empty string where
        nothing is known.
        """
        return (self.failures.get(key) or self.reasons.get(key) or "").partition("\n")[0]

    @cached_property
    def users(self) -> Mapping[str, int]:
        """How many cells and trials use each trial directly."""
        uses = Counter(cell.trial.key for cell in self.cells)
        uses.update(need.key for trial in self.trials.values() for need in trial.needs.values())
        return uses

    @property
    def cell_keys(self) -> set[str]:
        """Keys of the trials that are cells; all others are needs only."""
        return {cell.trial.key for cell in self.cells}

    @property
    def todo(self) -> list[Trial]:
        """Trials without a result that the unfinished cells call for, needs first."""
        wanted: set[str] = set()
        waiting = [cell.trial for cell in self.cells]
        while waiting:
            trial = waiting.pop()
            # Goes no further than results: what a finished trial needed is not made again.
            if trial.key not in wanted and trial.key not in self.outcomes:
                wanted.add(trial.key)
                waiting += trial.needs.values()
        return [trial for key, trial in self.trials.items() if key in wanted]

    @property
    def is_complete(self) -> bool:
        """Whether every cell has a result, of whatever outcome."""
        return not self.todo

    @property
    def is_done(self) -> bool:
        """Whether every cell is done: none diverged, is infeasible, or has no result."""
        return set(self.cell_counts) <= {"done"}

    def cost(self, trial: Trial) -> float | None:
        """Estimated seconds of a trial: its own if it ran before, else what finished trials of its
        method on its network lead to expect, else None.
        """
        if trial.key in self.seconds:
            return self.seconds[trial.key]
        return self.durations.expected(size_of(trial))

    @cached_property
    def durations(self) -> Durations:
        """What the finished trials took."""
        # Outdated results count as well: what they took is the best guess at what replaces them.
        # A training that diverged ended early.
        found = Durations()
        for key, seconds in self.seconds.items():
            if key in self.trials and self.outcomes.get(key, "done") == "done":
                found.took(size_of(self.trials[key]), seconds)
        return found

    def unshared(self) -> int:
        """Trials that would be run if every cell were run from scratch by itself."""
        sizes: dict[str, int] = {}  # by key: a trial and all that it needs, nothing shared
        for key, trial in self.trials.items():  # needs first
            sizes[key] = 1 + sum(sizes[need.key] for need in trial.needs.values())
        return sum(sizes[cell.trial.key] for cell in self.cells)


def make_plan(
    name: str,
    sweep: Sweep,
    store: Store,
    *,
    rerun_stale: bool = False,
    retry: Collection[str] = (),
    outdated: Mapping[str, str] = MappingProxyType({}),
    known: Records = NOTHING,
) -> Plan:
    """Plan a sweep against a store, whose records are read once; those that are `known`, because
    another plan read them just before (`plan.records`), are not read again.

    With `rerun_stale`, results that are stale do not count; nor do those whose outcome is among
    `retry`, nor the records that `outdated` names by key and digest, as an earlier plan did, as
    long as nobody has replaced them. Raises PlanError (or DataError) that lists every reason why
    cells cannot run.
    """
    checks = Checks(store)
    cells, trials = _cells_and_trials(name, sweep, checks)
    history = history_of(
        trials, store, rerun_stale=rerun_stale, retry=retry, outdated=outdated, known=known
    )
    num_whole = len((sweep.part_of or sweep).cells)
    return Plan(
        name=name,
        question=inspect.cleandoc(sweep.question or ""),
        cells=tuple(cells),
        num_whole=num_whole,
        axes=sweep.axes,
        dropped=sweep.cells.dropped,
        trials=trials,
        outcomes=history.outcomes,
        failures=history.failures,
        lost=history.lost,
        reasons=history.reasons,
        seconds=history.seconds,
        stale=history.stale,
        kinds=history.kinds,
        outdated=history.outdated,
        # Verdicts on a part could not be told from those on the sweep.
        claims=() if len(cells) < num_whole else tuple(sweep.claims),
        num_claims=len(sweep.claims),
        notes=notes_of(trials.values(), checks.image),
        warnings=checks.warnings,
        span=history.span,
        records=history.records,
    )


def _cells_and_trials(
    name: str, sweep: Sweep, checks: Checks
) -> tuple[list[Cell], dict[str, Trial]]:
    """A sweep's cells with their tasks resolved, and every distinct trial by key, needs first.
    Raises PlanError with each reason why cells cannot run, and how many cells it concerns.
    """
    problems: Counter[str] = Counter()
    resolved: dict[Task, Task] = {}  # cells share few tasks
    cells: list[Cell] = []
    walk = _Walk(checks)
    for cell in sweep.trials():
        try:
            for task in cell.trial.tasks:
                if task not in resolved:
                    resolved[task] = checks.resolved(task)
            trial = replace(cell.trial, tasks=tuple(resolved[task] for task in cell.trial.tasks))
            # With tasks resolved, since a key has the digest of the data in it.
            walk.visit(trial)
            cells.append(replace(cell, trial=trial))
        except SpoliaError as error:
            # Counted, not raised: all faults are told, one of a thousand cells but once.
            problems.update(getattr(error, "problems", ()) or (str(error),))
    if problems:
        total = len(sweep.cells)
        reasons = [f"{problem} ({n} of {total} cells)" for problem, n in problems.items()]
        raise PlanError(f"{name}: cells that cannot run as written:", reasons)
    return cells, walk.trials


class _Walk:
    """Goes through trials and what they need, through each need once, however many need it.
    `trials` holds by key what was found, needs before what needs them.
    """

    def __init__(self, checks: Checks) -> None:
        self.trials: dict[str, Trial] = {}
        self._checks = checks
        self._visited: dict[int, Trial] = {}  # by identity: equal needs are one object

    def visit(self, trial: Trial) -> None:
        """Take in a trial and all that it needs. Raises PlanError for a cycle, an endless chain, or
        a trial that cannot run.
        """
        # All of this comes before any key, which is made of the keys of needs and so would not end.
        self._check(trial, [])
        for need in needs_first(trial, lambda need: id(need) not in self._visited, self._check):
            self.trials.setdefault(need.key, need)
            self._visited[id(need)] = need
        # Of trials with one key the first stands for all, in every table.
        self.trials.setdefault(trial.key, trial)

    def _check(self, trial: Trial, above: Sequence[Trial]) -> None:
        """Raises PlanError for a trial that cannot run. `above` are the trials that led here."""
        problems = self._checks.problems(trial)
        if problems:
            needed_by = f" (needed by {above[-1].method.name})" if above else ""
            raise PlanError("", [problem + needed_by for problem in problems])
