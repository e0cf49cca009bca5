"""The tables of a page: means over seeds with a row a setting, and the trials behind them."""

from __future__ import annotations

import math
from typing import Any

from orchestrator.analysis.groups import Column, Group, Section
from orchestrator.analysis.page.plots import best_setting, words
from orchestrator.analysis.results import Results
from orchestrator.spec.canonical import is_number

Table = dict[str, Any]
Entry = dict[str, Any]
"""One entry of a table: its `text`, a number or a text to `sort` it by, whether it `is_best` of its
column, and all of a text that is cut (`full`)."""


def settings_tables(results: Results) -> list[Table]:
    """A table for each section of the results. Columns of metrics that are no headline are `extra`:
    they are shown when they are asked for.
    """
    return [_settings_table(results, section) for section in results.sections()]


def _settings_table(results: Results, section: Section) -> Table:
    extra = other_columns(results, section)
    columns = [*section.columns, *extra]
    best = {column: best_setting(results, column) for column in section.columns}
    heads = [_head(axis) for axis in section.axes]
    heads += [_head(words(c.title), is_number=True, is_extra=c in extra) for c in columns]
    heads += [_head(head, is_number=head != "missing") for head in section.counting_heads]
    rows = []
    for group in section.groups:
        row = [_axis_entry(group, axis) for axis in section.axes]
        for column in columns:
            found = best.get(column)
            is_best = found is not None and found.title == group.title
            row.append({**mean_entry(group, column), "is_best": is_best})
        row += [entry(text, _as_number(text)) for text in section.counting(group)]
        rows.append(row)
    return {"title": section.title, "heads": heads, "rows": rows, "notes": list(section.notes())}


def trials_table(results: Results) -> Table:
    """A row for each trial of a cell: its setting, seed, key, how it stands, and the value of each
    metric.
    """
    groups = results.groups()
    axes = [axis for axis in groups[0].labels if len({str(g.labels[axis]) for g in groups}) > 1]
    headline = [column for name in results.headline() for column in results.columns(name)]
    others = [name for name in results.metrics() if name not in results.headline()]
    extra = [column for name in others for column in results.columns(name)]
    columns = [column for column in (*headline, *extra) if any(g.value(column).n for g in groups)]
    heads = [*(_head(axis) for axis in axes), _head("seed", is_number=True)]
    heads += [_head(words(c.title), is_number=True, is_extra=c in extra) for c in columns]
    heads += [_head("outcome"), _head("key")]
    rows = []
    for group in groups:
        values = [group.by_trial(column) for column in columns]
        for key, trial in group.trials.items():
            row = [_axis_entry(group, axis) for axis in axes]
            row.append(entry("–" if trial.seed is None else str(trial.seed), trial.seed))
            row += [value_entry(of_column.get(key)) for of_column in values]
            row += [entry(group.states[key]), {**entry(key[:12], key), "full": key}]
            rows.append(row)
    return {"title": "", "heads": heads, "rows": rows, "notes": []}


def other_columns(results: Results, section: Section) -> list[Column]:
    """The columns of metrics that are no headline, where the section has values of them."""
    names = [name for name in results.metrics() if name not in results.headline()]
    columns = [column for name in names for column in results.columns(name)]
    return [c for c in columns if any(group.value(c).n for group in section.groups)]


def mean_entry(group: Group, column: Column) -> Entry:
    """A mean with its interval, as the terminal has it; sorted by its value to the last bit."""
    value = group.value(column)
    return entry(group.text(column), value.mean if value.n else None)


def value_entry(value: float | None) -> Entry:
    """One value of one trial."""
    return entry("–") if value is None else entry(f"{value:z.3f}", value)


def entry(text: str, sort: float | str | None = None) -> Entry:
    if isinstance(sort, float) and not math.isfinite(sort):
        sort = None
    return {"text": text, "sort": sort, "is_best": False, "full": ""}


def _head(title: str, *, is_number: bool = False, is_extra: bool = False) -> dict[str, Any]:
    return {"title": title, "is_number": is_number, "is_extra": is_extra}


def _axis_entry(group: Group, axis: str) -> Entry:
    value = group.values.get(axis)
    if value is None:  # these cells have no such axis
        return entry("")
    return entry(value.text, value.value if is_number(value.value) else None)


def _as_number(text: str) -> float | None:
    return float(text) if text.isdigit() else None
