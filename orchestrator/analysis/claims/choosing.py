"""The best of the settings that one side of a claim leaves open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orchestrator.analysis.claims.pairing import compare
from orchestrator.analysis.results import Results
from orchestrator.spec.claim import ABSENT, Labels
from orchestrator.spec.labels import AxisValue, axes_by_name


@dataclass(frozen=True)
class Choice:
    """The labels of the best setting on the axes that were open, those axes on which it has the
    lowest or the highest of the numbers that were tried, and why the choice is none (a setting that
    has no value yet might be the best).
    """

    labels: Labels = field(default_factory=dict)
    at_the_edge: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def choose(results: Results, metric: str, labels: Labels) -> Choice:
    """The setting with the highest mean of `metric` over seeds, of those that `labels` leave open;
    the first of equals. Nothing is chosen where none has a value.
    """
    named = axes_by_name(results.plan.axes)
    fixed = {
        named[name]
        for name, value in labels.items()
        if name in named and not isinstance(value, list)
    }
    axes = [axis for axis in results.plan.axes if axis not in fixed and axis != "seed"]
    candidates: dict[tuple[str, ...], dict[str, Any]] = {}
    tried: dict[str, dict[str, AxisValue]] = {axis: {} for axis in axes}
    for cell in results.cells_like(labels):
        values = {axis: results.values.of(cell, axis) for axis in axes}
        for axis, value in values.items():
            if value is not None:
                tried[axis].setdefault(value.key, value)
        keys = tuple("" if value is None else value.key for value in values.values())
        own = {axis: ABSENT if v is None else v.value for axis, v in values.items()}
        candidates.setdefault(keys, own)
    best: dict[str, Any] | None = None
    highest = -np.inf
    problems: list[str] = []
    for own in candidates.values():
        comparison = compare(results, metric, [{**labels, **own}])
        problems += comparison.problems
        mean = comparison.side().mean
        if mean > highest:
            best, highest = own, mean
    if best is None:
        return Choice(problems=tuple(problems))
    open_axes = [axis for axis in axes if len({str(own[axis]) for own in candidates.values()}) > 1]
    chosen = {results.axes[axis]: best[axis] for axis in open_axes}
    edges = [results.axes[a] for a in open_axes if _is_at_the_edge(best[a], tried[a])]
    return Choice(chosen, tuple(edges), tuple(problems))


def _is_at_the_edge(value: object, tried: dict[str, AxisValue]) -> bool:
    numbers = [one.value for one in tried.values() if _is_number(one.value)]
    return _is_number(value) and len(numbers) > 1 and value in (min(numbers), max(numbers))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
