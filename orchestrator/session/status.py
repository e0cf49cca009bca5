"""How a sweep stands: counts by method, what is under way, what failed and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from orchestrator.planning import standing
from orchestrator.planning.explain import Unmet, first_lines, unmet
from orchestrator.planning.plan import Plan
from orchestrator.session.cells import KnownCells, MissingData
from orchestrator.session.formatting import as_html, as_text
from orchestrator.session.under_way import UnderWay, under_way
from orchestrator.store.heartbeat import SEEN_WITHIN, living
from orchestrator.store.store import Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Failed:
    """A trial whose last try failed, or whose machine was `lost`, and why."""

    key: str
    label: str
    state: str
    full_reason: str

    @property
    def reason(self) -> str:
        """The first line of it."""
        return self.full_reason.partition("\n")[0]


@dataclass(frozen=True)
class MethodCounts:
    """How many distinct trials of a method stand how, as cells or as needs of cells."""

    role: str
    method: str
    counts: Mapping[str, int]


@dataclass(frozen=True, repr=False)
class Status:
    """How a sweep, or a part of it, stands. `plan` is None where no data set of it is known here;
    `missing` are those that are not. `num_cells` counts all cells, those that cannot be planned
    here, too.
    """

    name: str
    num_cells: int
    plan: Plan | None
    under_way: tuple[UnderWay, ...]
    missing: tuple[MissingData, ...] = ()
    is_at_work: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every cell has a result, of whatever outcome."""
        return self.plan is not None and not self.missing and self.plan.is_complete

    @property
    def is_done(self) -> bool:
        """Whether every cell is done: none diverged, is infeasible, or has no result."""
        return self.plan is not None and not self.missing and self.plan.is_done

    @property
    def can_go_on(self) -> bool:
        """Whether anything may still change without a new run: some trial is open or under way, or
        failed and a run is at work that tries it again.
        """
        is_open = bool(self.trial_counts.get("open")) or self.plan is None
        return not self.is_complete and (is_open or bool(self.under_way) or self.is_at_work)

    @property
    def cell_counts(self) -> Mapping[str, int]:
        """How many cells stand how, of those that can be planned here."""
        return self.plan.cell_counts if self.plan else {}

    @property
    def trial_counts(self) -> Mapping[str, int]:
        """How many distinct trials stand how, those that are needs only included."""
        return self.plan.trial_counts if self.plan else {}

    @cached_property
    def failed(self) -> tuple[Failed, ...]:
        """The trials that failed last time and have no result."""
        if self.plan is None:
            return ()
        plan = self.plan
        return tuple(
            Failed(key, plan.trials[key].label, plan.standing(key), reason)
            for key, reason in plan.failures.items()
        )

    @cached_property
    def unmet(self) -> Sequence[Unmet]:
        """Why cells that did not fail themselves are not done, each reason once."""
        found = unmet(self.plan) if self.plan else []
        # Those that failed are told in full by `failed`.
        return [one for one in found if one.state not in ("failed", "lost")]

    @cached_property
    def methods(self) -> tuple[MethodCounts, ...]:
        """Counts by method: first of the trials that are cells, then of those that are needs."""
        if self.plan is None:
            return ()
        plan, cell_keys = self.plan, self.plan.cell_keys
        states: dict[str, dict[str, list[str]]] = {"cell": {}, "need": {}}  # by role and method
        for key, trial in plan.trials.items():
            by_method = states["cell" if key in cell_keys else "need"]
            by_method.setdefault(trial.method.name, []).append(plan.standing(key))
        return tuple(
            MethodCounts(role, method, standing.count(found))
            for role, by_method in states.items()
            for method, found in by_method.items()
        )

    def frame(self) -> pd.DataFrame:
        """A row a method: its role, its name, and how many of its trials stand how."""
        import pandas as pd

        rows = [{"role": m.role, "method": m.method, **self._counted(m)} for m in self.methods]
        return pd.DataFrame(rows, columns=["role", "method", *self._states])

    @property
    def _states(self) -> list[str]:
        """The states that occur, and done."""
        # In the order that all tables have; `done` always, so that 0 of them is seen.
        return list(standing.count(["done", *self.trial_counts]))

    def _counted(self, row: MethodCounts) -> dict[str, int]:
        return {state: row.counts.get(state, 0) for state in self._states}

    @property
    def headline(self) -> str:
        """`asked: 2 of 4 cells done, 2 open; 2 of 4 trials done, 2 open`."""
        if self.plan is None:
            return f"{self.name}: {self.num_cells} cells, none of which can be looked up here"
        plan = self.plan
        part = f" (a part: {len(plan.cells)} of {plan.num_whole} cells)" if plan.is_part else ""
        cells = standing.of_total(self.cell_counts, "cells")
        return f"{plan.name}{part}: {cells}; {standing.of_total(self.trial_counts, 'trials')}"

    def _lines(self) -> list[str]:
        """What is not done and why, what failed, what is under way, what is missing."""
        lines = first_lines(self.unmet)
        lines += [f"{one.state}: {one.label} ({one.key[:12]}): {one.reason}" for one in self.failed]
        lines += [
            f"under way: {one.label} ({one.key[:12]}): {one.stage}, "
            f"epoch {one.epoch} of {one.epochs}"
            for one in self.under_way
        ]
        return lines + [str(one) for one in self.missing]

    def counted_by_method(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows of a table: role, method, and how many trials stand how; none is empty."""
        rows = []
        for one in self.methods:
            numbers = [str(count or "") for count in self._counted(one).values()]
            rows.append([one.role, one.method, *numbers])
        return ["role", "method", *self._states], rows

    def __repr__(self) -> str:
        return "\n".join([self.headline, *as_text(*self.counted_by_method()), *self._lines()])

    def _repr_html_(self) -> str:
        return as_html([self.headline, *self._lines()], *self.counted_by_method())


def status_of(name: str, num_cells: int, known: KnownCells, store: Store) -> Status:
    """The status of what is known of a sweep with so many cells."""
    plan = known.plan
    running = tuple(_under_way(plan, store)) if plan else ()
    is_at_work = bool(living(store, SEEN_WITHIN))
    return Status(name, num_cells, plan, running, known.missing, is_at_work)


def _under_way(plan: Plan, store: Store) -> list[UnderWay]:
    """The trials that have left progress and have no result, in the order of the plan."""
    # One listing, and then only the files that are there: on an object store each is a request.
    running = store.under_way()
    found = []
    for trial in plan.todo:
        now = under_way(trial, store) if trial.key in running else None
        if now is not None:
            found.append(now)
    return found
