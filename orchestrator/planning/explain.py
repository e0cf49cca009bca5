"""Why a trial has no result, or not the one that was expected: its identity held against that of
the nearest record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import InputError, call
from orchestrator.planning.plan import Plan
from orchestrator.spec.canonical import show
from orchestrator.spec.formatting import counted, html_table
from orchestrator.spec.trial import Trial
from orchestrator.spec.wording import first_few
from orchestrator.store.code import code_of
from orchestrator.store.store import Store

LISTED = 10  # reasons in a report, modules and fields in an explanation
WIDE = 80  # letters of a value


@dataclass(frozen=True)
class Difference:
    """A field in which a trial and a record differ: `ours` as planned, `theirs` as stored; None
    where one side lacks it.
    """

    field: str
    ours: Any
    theirs: Any

    @property
    def words(self) -> tuple[str, str]:
        """Both sides for people: keys and digests shortened, a dash where a side has nothing."""
        return _word(self.ours), _word(self.theirs)


def _word(value: Any) -> str:
    text = "-" if value is None else show(value)
    if re.fullmatch("[0-9a-f]{64}", text):
        return text[:12]
    return text if len(text) <= WIDE else f"{text[:WIDE]}..."


@dataclass(frozen=True, repr=False)
class Explanation:
    """What is known of a trial: its `state` in words, names of the `modules` whose code is not what
    made its result, and the key of the `nearest` record of another trial of its method (None where
    there is none), with the fields that differ. Shows itself in a few lines.
    """

    trial: Trial
    state: str
    modules: tuple[str, ...]
    nearest: str | None
    differences: tuple[Difference, ...]

    def _told(self) -> list[str]:
        told = [self.state]
        if self.modules:
            told.append(f"code that has changed since: {first_few(self.modules, LISTED)}")
        if self.nearest is None:
            told.append(f"the store has no result of another {self.trial.method.name}")
        else:
            told.append(f"nearest result {self.nearest[:12]}, {_fields_that_differ(self)}")
        return told

    def _rows(self) -> list[tuple[str, str, str]]:
        return [(one.field, *one.words) for one in self.differences[:LISTED]]

    def __repr__(self) -> str:
        rows = [f"{field}: {ours} against {theirs}" for field, ours, theirs in self._rows()]
        more = len(self.differences) - len(rows)
        rows += [f"and {more} more"] if more > 0 else []
        told = [f"  {line}" for line in self._told()] + [f"    {row}" for row in rows]
        return "\n".join([f"<Explanation {self.trial.key[:12]}: {self.trial.label}>", *told])

    def _repr_html_(self) -> str:
        caption = [f"{self.trial.label} ({self.trial.key[:12]})", *self._told()]
        heads = ("field", "this trial", "that result")
        return html_table(heads, self._rows(), caption="; ".join(caption))


def _fields_that_differ(explanation: Explanation) -> str:
    count = len(explanation.differences)
    return f"which differs in {counted(count, 'field')}{':' if count else ''}"


def explain(plan: Plan, store: Store, start: str) -> Explanation:
    """Explain the one trial of a plan whose key begins with `start`. Raises InputError where there
    is no such trial, or more than one.
    """
    matching = [key for key in plan.trials if key.startswith(start)]
    if len(matching) != 1:
        count = f"{len(matching)} trials" if matching else "no trial"
        listed = ", ".join(key[:12] for key in (matching or list(plan.trials))[:5])
        raise InputError(
            f"{count} of {plan.name} with a key that begins with {start!r}: {listed}, ... "
            f"({call('status --json', 'trials()')} lists all)"
        )
    trial = plan.trials[matching[0]]
    nearest, differing = nearest_record(trial, store)
    return Explanation(
        trial=trial,
        state=state_in_words(plan, trial),
        modules=_changed_modules(plan, trial),
        nearest=nearest,
        differences=tuple(differing),
    )


def _changed_modules(plan: Plan, trial: Trial) -> tuple[str, ...]:
    """Modules whose code has changed since a trial's result was made; none without a result."""
    record = plan.records.get(trial.key)
    if record is None:
        return ()
    return tuple(code_of(trial).differences(record["provenance"]["modules"]))


def state_in_words(plan: Plan, trial: Trial) -> str:
    """The state of a trial of a plan, with the reason for it."""
    state = plan.standing_or_stale(trial.key)
    # Before `done`, which a stale result is as well.
    if state == "stale":
        return f"done, but stale: {plan.stale[trial.key]}"
    if state in ("failed", "lost"):
        return f"{state} last time: {plan.reason(trial.key)}"
    if state == "done":
        return "done: its result is in the store"
    if state != "open":
        return f"{state}: {why_not_done(plan, trial)}"
    missing = [name for name, need in trial.needs.items() if need.key not in plan.outcomes]
    return f"not run; needs that are not done: {', '.join(missing)}" if missing else "not run"


@dataclass(frozen=True)
class Unmet:
    """Cells that ended otherwise than done for one reason: their state, and a line that says how
    many they are, why, and which is the first.
    """

    state: str
    line: str


def first_lines(reasons: Sequence[Unmet]) -> list[str]:
    """The lines of the first ten, and how many more there are."""
    num_more = len(reasons) - LISTED
    more = [f"and {num_more} more; {call('status', 'status()')} lists them"] if num_more > 0 else []
    return [found.line for found in reasons[:LISTED]] + more


def unmet(plan: Plan) -> list[Unmet]:
    """Why cells ended otherwise than done, each reason once."""
    cells: dict[tuple[str, str], list[Trial]] = {}
    for cell in plan.cells:
        state = plan.standing(cell.trial.key)
        if state not in ("done", "open"):
            # By the reason in words: a thousand cells blocked by one need are one line.
            cells.setdefault((state, why_not_done(plan, cell.trial)), []).append(cell.trial)
    found = []
    for (state, why), trials in cells.items():
        noun = "1 cell" if len(trials) == 1 else f"{len(trials)} cells"
        which = "it" if len(trials) == 1 else "the first"
        first = f"{which} is {trials[0].label} ({trials[0].key[:12]})"
        found.append(Unmet(state, f"{noun} {state}: {why}; {first}"))
    return found


def why_not_done(plan: Plan, trial: Trial) -> str:
    """Why a trial ended otherwise than done, or is blocked: the need that did so first, by name,
    label and key, or its own reason.
    """
    cause = plan.cause(trial)
    if cause is None:
        return plan.reason(trial.key) or "no reason is known"
    name, need = cause
    reason = plan.reason(need.key)
    reason = f": {reason}" if reason else ""
    state = plan.standing(need.key)
    ended = "is infeasible" if state == "infeasible" else state
    return f"its need {name!r} ({need.label}, {need.key[:12]}) {ended}{reason}"


def nearest_record(trial: Trial, store: Store) -> tuple[str | None, list[Difference]]:
    """The key of the record, of another trial of the same method, that differs in the fewest
    fields, and these; None and no field where the store has no such record.
    """
    nearest: str | None = None
    fewest: list[Difference] = []
    # Reads the whole store; nobody asks this of more than one trial at a time.
    for record in store.find_all(list(store.finished())):
        if record["identity"]["method"] != trial.method.name or record["key"] == trial.key:
            continue
        differing = list(differences(trial.identity, record["identity"]))
        if nearest is None or len(differing) < len(fewest):  # of equally near ones the first
            nearest, fewest = record["key"], differing
    return nearest, fewest


def differences(ours: Any, theirs: Any, field: str = "") -> Iterator[Difference]:
    """The fields in which two identities differ, leaf by leaf."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in dict.fromkeys([*ours, *theirs]):  # in the order of ours
            yield from differences(ours.get(name), theirs.get(name), f"{field}.{name}".lstrip("."))
    # Lists of other lengths differ as a whole: their places do not stand for each other.
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for i, (our_value, their_value) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(our_value, their_value, f"{field}[{i}]")
    elif ours != theirs:
        yield Difference(field, ours, theirs)
