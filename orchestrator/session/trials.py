"""The trials of a sweep, cells and the trainings that they need, each with its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from orchestrator.errors import InputError, call, nearest
from orchestrator.planning.explain import why_not_done
from orchestrator.planning.plan import Plan
from orchestrator.planning.standing import STANDINGS
from orchestrator.session.cells import cells_like
from orchestrator.session.formatting import as_html, as_text
from orchestrator.spec.canonical import SCALARS
from orchestrator.spec.claim import Labels, several
from orchestrator.spec.labels import AxisValue, axes_by_name, short_names
from orchestrator.spec.trial import Cell, Trial
from orchestrator.spec.wording import duration

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 60  # rows that a shell shows at once
FIELDS = ("role", "method", "state", "key")
"""What trials can be asked for by beside the axes, where no axis is called so."""


@dataclass(frozen=True, repr=False)
class TrialRow:
    """One distinct trial of a sweep.

    `role` is `cell`, or `need` for a training that only others need. `axes` are the values of the
    sweep's axes that all cells share which are this trial or need it: what a training does not
    depend on is not there. `settings` are those of its method that are not at their defaults.
    `state` is how it stands (`done`, `open`, `failed` ..., or `stale`), `seconds` how long it took
    or is expected to take (None: nothing is known), `reason` why it is not done.
    """

    key: str
    role: str
    method: str
    label: str
    axes: Mapping[str, AxisValue]
    settings: Mapping[str, object]
    state: str
    seconds: float | None
    reason: str

    @property
    def values(self) -> dict[str, object]:
        """The axes with their values: numbers, truth values and None as such, others by name."""
        return {
            axis: one.value if isinstance(one.value, SCALARS) else one.text
            for axis, one in self.axes.items()
        }

    def __repr__(self) -> str:
        return f"<TrialRow {self.key[:12]}: {self.role}, {self.state}: {self.label}>"


class Trials(Sequence[TrialRow]):
    """Rows of trials; `frame()` has them as a table. `session.open(trials[0].key)` opens a result,
    as does `session.open(trials[0])`.
    """

    def __init__(self, rows: Sequence[TrialRow]) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> TrialRow: ...
    @overload
    def __getitem__(self, place: slice) -> Trials: ...
    def __getitem__(self, place: int | slice) -> TrialRow | Trials:
        return Trials(self._rows[place]) if isinstance(place, slice) else self._rows[place]

    @property
    def keys(self) -> list[str]:
        """The keys of the trials."""
        return [row.key for row in self._rows]

    @property
    def axes(self) -> list[str]:
        """Names of all axes that any of the trials has a value of."""
        return list(dict.fromkeys(axis for row in self._rows for axis in row.axes))

    def frame(self) -> pd.DataFrame:
        """A row a trial: role, key, method, a column an axis, state, seconds, label. An axis that
        is called like one of these has `axis ` before its name.
        """
        import pandas as pd

        rows = []
        for row in self._rows:
            values = row.values
            rows.append(
                {
                    "role": row.role,
                    "key": row.key,
                    "method": row.method,
                    **{_column(axis): values.get(axis) for axis in self.axes},
                    "state": row.state,
                    "seconds": row.seconds,
                    "label": row.label,
                }
            )
        columns = ["role", "key", "method", *map(_column, self.axes), "state", "seconds", "label"]
        # The axis `method` says what the column says already.
        return pd.DataFrame(rows, columns=list(dict.fromkeys(columns)))

    def _table(self) -> tuple[list[str], list[list[str]]]:
        axes = [axis for axis in self.axes if axis != "method"]
        rows = []
        for row in self._rows:
            values = [row.axes[axis].text if axis in row.axes else "-" for axis in axes]
            took = "" if row.seconds is None else duration(row.seconds)
            rows.append([row.role, row.key[:12], row.method, *values, row.state, took])
        return ["role", "key", "method", *axes, "state", "time"], rows

    def __repr__(self) -> str:
        shown = as_text(*self[:SHOWN]._table())
        left_out = len(self) - SHOWN
        more = [f"and {left_out} more; frame() has all"] if left_out > 0 else []
        return "\n".join(shown + more)

    def _repr_html_(self) -> str:
        return as_html((), *self._table())


def _column(axis: str) -> str:
    # `method` is not among them: an axis of that name is the column of that name.
    taken = {"role", "key", "state", "seconds", "label"}
    return f"axis {axis}" if axis in taken else axis


def trials_of(plan: Plan, where: Labels) -> Trials:
    """The trials of the cells that are as `where` says, and of what they need, cells first.

    `where` names axes as claims do; `role`, `method`, `state` and `key` (a beginning) choose among
    these trials, where no axis is called so; `method` does even there, for a trial that is needed
    has a method of its own. Raises InputError for what there is not.
    """
    names = axes_by_name(plan.axes)
    if all(isinstance(one, str) for one in several(where.get("method"))):
        names.pop("method", None)
    by_field = {name: several(value) for name, value in where.items() if name not in names}
    _refuse_unknown(by_field, names)
    _refuse_unknown_values(by_field, plan)
    labels = {name: value for name, value in where.items() if name in names}
    wanted = _with_needs(plan, cells_like(plan.cells, plan.values, labels))
    shared, cell_keys, short = shared_values(plan), plan.cell_keys, short_names(plan.axes)
    rows = []
    for key in filter(wanted.__contains__, plan.trials):
        axes = {short[axis]: value for axis, value in shared[key].items()}
        rows.append(_row(plan, plan.trials[key], "cell" if key in cell_keys else "need", axes))
    chosen = [row for row in rows if _has(row, by_field)]
    return Trials(sorted(chosen, key=lambda row: row.role))  # stable, and "cell" before "need"


def _refuse_unknown(by_field: Mapping[str, Sequence[object]], names: Mapping[str, str]) -> None:
    problems = [
        f"the sweep has no axis {name!r}. {nearest(str(name), [*names, *FIELDS])}"
        for name in by_field
        if name not in FIELDS
    ]
    if problems:
        raise InputError(f"{call('list', 'trials(...)')} cannot be used as written:", problems)


def _refuse_unknown_values(by_field: Mapping[str, Sequence[object]], plan: Plan) -> None:
    """Raise InputError for a role or state that no trial can have, or a method or key that none of
    the sweep has: an empty answer to a misspelt question would pass for one.
    """
    valid = {
        "role": ("cell", "need"),
        "state": (*STANDINGS, "stale"),
        "method": tuple(dict.fromkeys(one.method.name for one in plan.trials.values())),
    }
    problems = []
    for name, wanted in by_field.items():
        if name == "key":
            unknown = [k for k in wanted if not any(key.startswith(str(k)) for key in plan.trials)]
            problems += [f"no trial of the sweep has a key that begins {k!r}" for k in unknown]
        else:
            unknown = [value for value in wanted if value not in valid[name]]
            problems += [f"{name} {v!r}: {nearest(str(v), valid[name])}" for v in unknown]
    if problems:
        raise InputError(f"{call('list', 'trials(...)')} cannot be used as written:", problems)


def _has(row: TrialRow, by_field: Mapping[str, Sequence[object]]) -> bool:
    for name, wanted in by_field.items():
        if name == "key":
            if not any(row.key.startswith(str(start)) for start in wanted):
                return False
        elif getattr(row, name) not in wanted:
            return False
    return True


def _with_needs(plan: Plan, cells: Sequence[Cell]) -> set[str]:
    """Keys of the trials of some cells, and of all that these need."""
    found = {cell.trial.key for cell in cells}
    for key in reversed(list(plan.trials)):  # what needs a trial comes before it
        if key in found:
            found.update(need.key for need in plan.trials[key].needs.values())
    return found


def shared_values(plan: Plan) -> dict[str, dict[str, AxisValue]]:
    """By key the values of axes that are the same in all cells which are a trial or need it."""
    axes = plan.values
    found: dict[str, dict[str, AxisValue]] = {}
    for cell in plan.cells:
        values = {axis: axes.of(cell, axis) for axis in axes.names}
        own = {axis: value for axis, value in values.items() if value is not None}
        _meet(found, cell.trial.key, own)
    for key in reversed(list(plan.trials)):  # as above
        for need in plan.trials[key].needs.values():
            _meet(found, need.key, found[key])
    return found


def _meet(
    found: dict[str, dict[str, AxisValue]], key: str, values: Mapping[str, AxisValue]
) -> None:
    """Leave of a trial's values those that these cells have, too."""
    known = found.get(key)
    if known is None:
        found[key] = dict(values)
    else:
        found[key] = {
            axis: one
            for axis, one in known.items()
            if axis in values and values[axis].key == one.key
        }


def _row(plan: Plan, trial: Trial, role: str, axes: Mapping[str, AxisValue]) -> TrialRow:
    # Nothing is wrong with what is done, nor with what is merely still to run.
    is_told = plan.standing(trial.key) not in ("done", "open")
    return TrialRow(
        key=trial.key,
        role=role,
        method=trial.method.name,
        label=trial.label,
        axes=axes,
        settings=trial.method.changed_settings(),
        state=plan.standing_or_stale(trial.key),
        # Of a failure nobody keeps the time, and what others like it took is not its.
        seconds=None if is_told and trial.key not in plan.seconds else plan.cost(trial),
        reason=why_not_done(plan, trial) if is_told else "",
    )
