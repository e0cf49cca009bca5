"""Two sides held against each other: two settings of a sweep, two trials, or two sweeps. What is
paired with what, and when a difference may be told, is decided where claims are
(`orchestrator.analysis.claims.pairing`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.analysis.averages import in_words, logged_values
from orchestrator.analysis.claims import Higher
from orchestrator.analysis.claims.mismatches import SAME_TRIALS
from orchestrator.analysis.claims.pairing import Comparison, compare, pair
from orchestrator.analysis.claims.sides import Side
from orchestrator.analysis.estimates import Estimate
from orchestrator.analysis.results import Results
from orchestrator.errors import InputError, SweepError, nearest
from orchestrator.parts.result import Result
from orchestrator.planning.explain import Difference, differences
from orchestrator.session.formatting import as_html, as_text
from orchestrator.spec.claim import Entry, Labels, several
from orchestrator.spec.claim_checks import check
from orchestrator.spec.labels import labels_in_words, short_names, value_key
from orchestrator.spec.trial import Cell
from orchestrator.spec.wording import first_few

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Gap:
    """What two sides differ by in one metric: the mean of each, and that of `second - first` over
    pairs, with 95 % intervals.

    `at` is the setting that is compared in two sweeps. `problems` say what is missing or does not
    match: where there are any, the numbers are of what is there, and nothing follows from them.
    `averaged_over` says what the means are over beside the pairs.
    """

    metric: str
    first: Estimate
    second: Estimate
    difference: Estimate
    problems: tuple[str, ...] = ()
    averaged_over: str = ""
    at: str = ""

    @property
    def n(self) -> int:
        """How many pairs there are."""
        return self.difference.n

    @property
    def is_beyond_chance(self) -> bool:
        """Whether nothing is missing and the interval of the difference leaves out 0."""
        low, high = self.difference.low, self.difference.high
        return not self.problems and self.n > 1 and (low > 0 or high < 0)


@dataclass(frozen=True, repr=False)
class Contrast:
    """Two sides by their names, a gap for each metric (and setting), for two trials and two sweeps
    also the fields of their identities that differ, and `notes` on what could not be held against
    anything, and on trials that are not done.
    """

    first: str
    second: str
    gaps: tuple[Gap, ...]
    differs: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()

    def frame(self) -> pd.DataFrame:
        """A row a gap: at, metric, first, second, difference, half_width_95, n, problems."""
        import pandas as pd

        rows = [
            {
                "at": gap.at,
                "metric": gap.metric,
                "first": gap.first.mean,
                "second": gap.second.mean,
                "difference": gap.difference.mean,
                "half_width_95": gap.difference.half,
                "n": gap.n,
                "problems": "; ".join(gap.problems),
            }
            for gap in self.gaps
        ]
        columns = [
            "at",
            "metric",
            "first",
            "second",
            "difference",
            "half_width_95",
            "n",
            "problems",
        ]
        return pd.DataFrame(rows, columns=columns)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = []
        for gap in self.gaps:
            estimates = (gap.first, gap.second, gap.difference)
            mark = "*" if gap.is_beyond_chance else ""
            rows.append([gap.at, gap.metric, *map(str, estimates), str(gap.n), mark])
        heads = ["at", "metric", "first", "second", "second - first", "n", ""]
        # Only two sweeps are compared in several settings.
        if not any(gap.at for gap in self.gaps):
            heads, rows = heads[1:], [row[1:] for row in rows]
        return heads, rows

    def remarks(self) -> list[str]:
        """What is to be known beside the numbers: fields that differ, problems, what the means are
        over, what could not be compared, and what a star means.
        """
        lines = []
        for one in self.differs:
            lines.append(f"{one.field}: {one.words[0]} against {one.words[1]}")
        lines += self._problems()
        for over in dict.fromkeys(gap.averaged_over for gap in self.gaps if gap.averaged_over):
            lines.append(f"averaged over {over}")
        lines += self.notes
        if any(gap.is_beyond_chance for gap in self.gaps):
            lines.append("* the 95 % interval of the difference leaves out 0")
        return lines

    def _problems(self) -> list[str]:
        """Each problem once: a cell without a result lacks all metrics alike."""
        metrics: dict[tuple[str, str], list[str]] = {}
        for gap in self.gaps:
            for problem in gap.problems:
                of_any = problem.replace(f"no {gap.metric}", "no value")
                metrics.setdefault((gap.at, of_any), []).append(gap.metric)
        lines = []
        for place, names in metrics.items():
            at, problem = place
            told = problem if len(names) > 1 else problem.replace("no value", f"no {names[0]}")
            lines.append(f"{f'{at} {first_few(names)}'.strip()}: {told}")
        return lines

    def _lines(self) -> list[str]:
        return [f"first: {self.first}", f"second: {self.second}", *self.remarks()]

    def __repr__(self) -> str:
        table = as_text(*self._table()) if self.gaps else []
        return "\n".join([*table, *self._lines()])

    def _repr_html_(self) -> str:
        return as_html(self._lines(), *self._table())


def _gap(metric: str, found: Comparison, at: str = "") -> Gap:
    """The gap of two sides that were paired."""
    return Gap(
        metric=metric,
        first=found.side(0),
        second=found.side(1),
        difference=found.difference(1, 0),
        problems=found.problems,
        averaged_over=found.averaged_over,
        at=at,
    )


# ---------------------------------------------------------------------- two settings


def of_settings(
    results: Results, first: Labels, second: Labels, metric: str | Entry | None
) -> Contrast:
    """Two settings of a sweep, paired by seed, in one metric or in every headline metric that cells
    of both have. Raises InputError for what the sweep does not have.
    """
    _refuse_seeds(first, second)
    _check_metric(metric, results.matrix_names())
    metrics = [metric] if metric is not None else _metrics_of_both(results, first, second)
    for one in metrics:
        _refuse_wrong(results, one, first, second)
    gaps = [_gap(str(one), compare(results, one, (first, second))) for one in metrics]
    return Contrast(labels_in_words(first), labels_in_words(second), tuple(gaps))


def _check_metric(metric: str | Entry | None, matrices: Sequence[str]) -> None:
    """Raise InputError for a metric that is no name of one and no entry of a matrix."""
    if not isinstance(metric, str | Entry | None):
        raise InputError(
            f"metric={metric!r}: one metric is compared, by its name, or all headlines"
        )
    if metric in matrices:
        raise InputError(
            f"{metric} is a matrix, and one entry of it is compared, as in metric=claims.entry("
            f"{metric!r}, row='a', column='b'); claims come from orchestrator"
        )


def _refuse_seeds(first: Labels, second: Labels) -> None:
    """Raise InputError where one seed is to be held against another: nothing would be left to pair
    the two sides by.
    """
    # As texts: a seed may be given as a number or, on the command line, as it is written.
    seeds = [set(map(str, several(one["seed"]))) for one in (first, second) if "seed" in one]
    if len(seeds) == 2 and seeds[0] != seeds[1]:
        raise InputError(
            f"{labels_in_words(first)} against {labels_in_words(second)}: settings are paired by "
            "seed, so no seed can be held against another. Two trials can: session.compare(a, b), "
            "of two keys, or of two rows of session.trials(where={..., 'role': 'cell'})"
        )


def _metrics_of_both(results: Results, first: Labels, second: Labels) -> list[str | Entry]:
    """The headline metrics that cells of both sides declare, else all headline metrics: then what
    is wrong with the sides is told.
    """
    sides = [_metrics_of(_cells_named(results, labels)) for labels in (first, second)]
    names = results.headline()
    return [name for name in names if all(name in side for side in sides)] or list(names)


def _cells_named(results: Results, labels: Labels) -> Sequence[Cell]:
    try:
        return results.cells_like(labels)
    except LookupError:  # a value that there is not; told with all else that is wrong
        return ()


def _metrics_of(cells: Sequence[Cell]) -> set[str]:
    return {metric.name for cell in cells for metric in cell.trial.method.metrics}


def _refuse_wrong(results: Results, metric: str | Entry, first: Labels, second: Labels) -> None:
    """Raise InputError for whatever a claim about the same two sides would be refused for."""
    # A claim that nobody makes, for its checks: whoever compares here is told what a sweep file
    # would be told.
    claim = Higher(metric=metric, where=first, than=second)
    try:
        check([claim], results.plan.cells, results.plan.axes)
    except SweepError as error:
        reasons = [problem.removeprefix(f"{claim.title}: ") for problem in error.problems]
        raise InputError(
            f"{labels_in_words(first)} against {labels_in_words(second)}:", reasons
        ) from error


# ---------------------------------------------------------------------- two trials


def of_trials(first: Result, second: Result, metric: str | Entry | None) -> Contrast:
    """Two trials, value by value: one pair, so that no difference has an interval."""
    if first.key == second.key and first.store.address == second.store.address:
        raise InputError(f"{first.trial.label} ({first.key[:12]}) is held against itself")
    _check_metric(metric, [*first.matrix_names, *second.matrix_names])
    if isinstance(metric, Entry):
        gaps = [_single(str(metric), _entry_of(first, metric), _entry_of(second, metric))]
    else:
        gaps = list(_gaps_of_trials(first, second, metric))
    differs = differences(first.trial.identity, second.trial.identity)
    names = [f"{one.trial.label} ({one.key[:12]})" for one in (first, second)]
    notes = [*_not_done(first, second), *_of_one_only(first, second, metric)]
    return Contrast(names[0], names[1], tuple(gaps), tuple(differs), tuple(notes))


def _not_done(*sides: Result) -> Iterator[str]:
    """What is to be known of trials that are in no mean: their values are not what they came to."""
    for place, one in zip(("first", "second"), sides, strict=True):
        if one.outcome != "done":
            yield f"the {place} is {one.outcome}: these are the values that it had logged by then"


def _of_one_only(first: Result, second: Result, metric: str | Entry | None) -> Iterator[str]:
    """Which values only one of two trials has, by metric."""
    names = dict.fromkeys(entry["name"] for one in (first, second) for entry in one.metrics)
    for name in names if metric is None else [n for n in names if n == metric]:
        values = [logged_values(one.trial, one, name) for one in (first, second)]
        for place, own, other in zip(("first", "second"), values, reversed(values), strict=True):
            alone = [label for label in own if label not in other]
            if alone:
                told = f" for {in_words(alone)}" if in_words(alone) else ""
                yield f"only the {place} has {name}{told}"


def of_replaced(result: Result, metric: str | Entry | None) -> Contrast:
    """A result against the one whose place it took. Raises InputError where it took nobody's."""
    older = result.store.replaced(result.key)
    if not older:
        raise InputError(
            f"{result.trial.label} ({result.key[:12]}) has taken no other result's place; "
            "compare(...) takes two settings, two keys, or one or two sessions"
        )
    before = Result(result.store, older[-1])
    if isinstance(metric, Entry):
        gaps = [_single(str(metric), _entry_of(before, metric), _entry_of(result, metric))]
    else:
        gaps = list(_gaps_of_trials(before, result, metric))
    records = (older[-1], result.record)
    names = [f"{result.trial.label}, of {_day(record)}" for record in records]
    before_it, now = (record["provenance"]["modules"] for record in records)
    changed = [one for one in {**before_it, **now} if before_it.get(one) != now.get(one)]
    notes = [f"made with other code: {', '.join(sorted(changed))}"] if changed else []
    notes += [*_not_done(before, result), *_of_one_only(before, result, metric)]
    return Contrast(names[0], names[1], tuple(gaps), (), tuple(notes))


def _day(record: Mapping[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["timings"]["began"]))


def _gaps_of_trials(first: Result, second: Result, metric: str | None) -> Iterator[Gap]:
    """A gap for each metric and label that both have."""
    names = [dict.fromkeys(entry["name"] for entry in one.metrics) for one in (first, second)]
    known = [name for name in names[0] if name in names[1]]
    if metric is not None and metric not in known:
        raise InputError(f"the two trials share no metric {metric!r}. {nearest(metric, known)}")
    for name in known if metric is None else [metric]:
        values = [logged_values(one.trial, one, name) for one in (first, second)]
        for label in values[0]:
            if label in values[1]:
                title = " ".join(filter(None, [name, in_words([label])]))
                yield _single(title, values[0][label], values[1][label])


def _entry_of(result: Result, entry: Entry) -> float:
    """An entry of a matrix. Raises InputError where it has no such row or column."""
    return result.matrix(entry.matrix)[entry.row, entry.column]


def _single(metric: str, first: float, second: float) -> Gap:
    """The gap of one pair."""
    return Gap(metric, _one(first), _one(second), _one(second - first))


def _one(value: float) -> Estimate:
    # A half-width of NaN: a single value has no interval. One that is not finite counts as none.
    return Estimate(value, math.nan, 1 if math.isfinite(value) else 0)


# ---------------------------------------------------------------------- two sweeps


def of_sweeps(
    first: Results, second: Results, metric: str | Entry | None, names: tuple[str, str]
) -> Contrast:
    """Every setting that two sweeps share, or one sweep in two places, paired by seed. Settings
    that only one has are in the notes.
    """
    _check_metric(metric, [*first.matrix_names(), *second.matrix_names()])
    shared = [name for name in first.metrics() if name in second.metrics()]
    if isinstance(metric, str) and metric not in shared:
        raise InputError(f"the two sweeps share no metric {metric!r}. {nearest(metric, shared)}")
    if first.store.address == second.store.address:
        keys = [{cell.trial.key for cell in one.plan.cells} for one in (first, second)]
        if keys[0] == keys[1]:
            raise InputError(
                f"{names[0]} against {names[1]}: both are the same trials. Name another sweep, the "
                "same in another home, or two settings of it, such as split=stem and split=pool"
            )
    axes = list(dict.fromkeys([*first.plan.axes, *second.plan.axes]))
    # Seeds are what pairs are made of, so they tell no settings apart.
    axes = [axis for axis in axes if axis != "seed"]
    sides = [_by_setting(results, axes) for results in (first, second)]
    shared_settings = [(cells, sides[1][one]) for one, cells in sides[0].items() if one in sides[1]]
    gaps = [gap for both in shared_settings for gap in _gaps_at(first, second, metric, both)]
    differs, notes = _differing_fields(shared_settings)
    return Contrast(*names, tuple(gaps), differs, (*notes, *_alone(sides, names)))


def _differing_fields(
    settings: Sequence[tuple[Sequence[Cell], Sequence[Cell]]],
) -> tuple[tuple[Difference, ...], list[str]]:
    """In which fields the trials of two sweeps differ although their settings are called alike:
    what does not vary within a sweep is no part of a setting. Those that differ in one way
    throughout, and a line for each other.
    """
    found: dict[str, dict[tuple[str, str], Difference]] = {}
    for cells, others in settings:
        of_seed = {other.labels.get("seed"): other for other in others}
        # One pair a setting: seeds of it differ in the seed only.
        for cell in cells:
            other = of_seed.get(cell.labels.get("seed"))
            if other is not None:
                for one in differences(cell.trial.identity, other.trial.identity):
                    found.setdefault(one.field, {})[one.words] = one
                break
    alike = [next(iter(ways.values())) for ways in found.values() if len(ways) == 1]
    return tuple(alike), [f"{field} differs" for field, ways in found.items() if len(ways) > 1]


def _by_setting(results: Results, axes: Sequence[str]) -> dict[str, list[Cell]]:
    """The cells of a sweep by the values that they have of some axes."""
    found: dict[str, list[Cell]] = {}
    for cell in results.plan.cells:
        # By keys, not by texts: a text is told apart within its own sweep only. The empty key,
        # which no value has, stands for cells without the axis.
        values = [value_key(cell.labels[axis]) if axis in cell.labels else "" for axis in axes]
        found.setdefault(value_key(values), []).append(cell)
    return found


def _gaps_at(
    first: Results,
    second: Results,
    metric: str | Entry | None,
    cells: tuple[Sequence[Cell], Sequence[Cell]],
) -> Iterator[Gap]:
    """The gaps of one setting that both sweeps have."""
    shared = _metrics_of(cells[0]) & _metrics_of(cells[1])
    names = [name for name in first.headline() if name in shared]
    for one in names if metric is None else [metric]:
        # No labels: the cells are chosen already, each from a sweep of its own.
        found = pair([Side(first, one, {}, cells[0]), Side(second, one, {}, cells[1])])
        if first.store.address != second.store.address:
            # That two homes hold the same trials is why they are compared.
            told = tuple(why for why in found.problems if not why.endswith(SAME_TRIALS))
            found = replace(found, problems=told)
        yield _gap(str(one), found, _title(first, cells[0][0]))


def _title(results: Results, cell: Cell) -> str:
    """A setting in words."""
    short = short_names(results.plan.axes)
    values = {axis: results.values.of(cell, axis) for axis in results.plan.axes if axis != "seed"}
    told = [f"{short[axis]}={one.text}" for axis, one in values.items() if one is not None]
    return " ".join(told) or "all cells"


def _alone(sides: Sequence[Mapping[str, Sequence[Cell]]], names: tuple[str, str]) -> Iterator[str]:
    """How many settings only one of two sweeps has."""
    for own, other, name in zip(sides, reversed(sides), names, strict=True):
        num_alone = len(set(own) - set(other))
        if num_alone:
            noun = "setting is" if num_alone == 1 else "settings are"
            yield f"{num_alone} {noun} in {name} only"
