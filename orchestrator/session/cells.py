"""What can be said of a sweep here: of which cells the data sets are known, and which cells some
labels name.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analysis.selection import is_like, keys_of
from orchestrator.data.resolve import known_record
from orchestrator.errors import InputError, MissingDataError, PlanError, nearest
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.spec.claim import Labels
from orchestrator.spec.labels import Axes, axes_by_name, labels_in_words, named_twice
from orchestrator.spec.sweep import Sweep
from orchestrator.spec.trial import Cell
from orchestrator.store.store import Store


@dataclass(frozen=True)
class MissingData:
    """A data set that neither the store nor this machine knows: why not, and how many cells are
    about it.
    """

    name: str
    reason: str
    num_cells: int

    def __str__(self) -> str:
        return (
            f"{self._cells} about {self.name}, of which the store has no record, and it is not "
            f"here: {self.reason}. Where it is, `spolia data add {shlex.quote(self.name)}` with "
            "this store records it"
        )

    @property
    def _cells(self) -> str:
        return "1 cell is" if self.num_cells == 1 else f"{self.num_cells} cells are"

    @property
    def in_short(self) -> str:
        """The same beside others, without what holds of all."""
        return f"{self._cells} about {shlex.quote(self.name)}: {self.reason}"


@dataclass(frozen=True)
class KnownCells:
    """The plan of those cells whose data sets are known (None: of no cell), and what is missing."""

    plan: Plan | None
    missing: tuple[MissingData, ...] = ()

    def plan_of(self, name: str) -> Plan:
        """The plan, of the sweep that is called so. Raises InputError, which says what data is
        missing, where no cell is known.
        """
        if self.plan is not None:
            return self.plan
        if len(self.missing) == 1:
            raise InputError(f"{name}: {self.missing[0]}")
        raise InputError(
            f"{name}: the store has no record of these data sets, and they are not here. Where "
            "they are, `spolia data add NAME` with this store records one:",
            [one.in_short for one in self.missing],
        )


def known_cells(name: str, sweep: Sweep, store: Store) -> KnownCells:
    """The plan of as much of a sweep as can be planned here. Raises PlanError for whatever keeps
    cells from being planned, but for data that is not here.
    """
    try:
        return KnownCells(make_plan(name, sweep, store))
    except PlanError:
        # Looked into now, not before: as a rule nothing is missing.
        cells = list(sweep.trials())
        missing = _missing_data(cells, store)
        if not missing:
            raise
    names = {one.name for one in missing}
    # One unknown data set is enough: without its digest the cell's trial has no key.
    kept = [cell.index for cell in cells if not names & set(_data_of(cell))]
    return KnownCells(make_plan(name, sweep.part(kept), store) if kept else None, missing)


def _missing_data(cells: Sequence[Cell], store: Store) -> tuple[MissingData, ...]:
    found = []
    for name in dict.fromkeys(name for cell in cells for name in _data_of(cell)):
        try:
            known_record(name, store)
        except MissingDataError as error:
            count = sum(name in _data_of(cell) for cell in cells)
            found.append(MissingData(name, str(error), count))
    return tuple(found)


def _data_of(cell: Cell) -> list[str]:
    return [task.data for task in cell.trial.tasks]


def part_like(sweep: Sweep, labels: Labels) -> Sweep:
    """The cells of a sweep with these values of their axes. Raises InputError that lists axes and
    values which the sweep does not have, or where no cell is left.
    """
    cells = list(sweep.trials())
    # All labels, not only the axes that vary: who names a constant setting means what is true.
    axes = Axes(cells, list(dict.fromkeys(label for cell in cells for label in cell.labels)))
    kept = [cell.index for cell in cells_like(cells, axes, labels)]
    if not kept:
        raise InputError(f"{labels_in_words(labels)}: no cell has all of these at once")
    return sweep.part(kept)


def cells_like(cells: Sequence[Cell], axes: Axes, labels: Labels) -> list[Cell]:
    """Those of some cells that have these values of their axes, each by its short or its full name;
    a list means several values, "-" cells without the axis. Raises InputError that lists what there
    is not.
    """
    names = axes_by_name(axes.names)
    problems = [
        f"the sweep has no axis {name!r}. {nearest(name, names)}"
        for name in labels
        if name not in names
    ]
    problems += named_twice(names, labels)
    wanted: dict[str, list[str | None]] = {}
    for name, value in labels.items():
        if name in names:
            try:
                wanted[names[name]] = keys_of(axes, name, value)
            except LookupError as error:
                problems.append(str(error.args[0]))
    if problems:
        raise InputError(f"{labels_in_words(labels)} cannot be used:", problems)
    return [cell for cell in cells if is_like(axes, cell, wanted)]
