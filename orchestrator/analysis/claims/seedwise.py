"""A metric of a sweep's results by seed: what every claim is decided on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from orchestrator.analysis.results import Estimate, Results, estimate
from orchestrator.parts.result import Result
from orchestrator.spec.claim import Labels, several
from orchestrator.spec.labels import shown
from orchestrator.spec.trial import Cell

MetricLabels = tuple[tuple[str, str], ...]
"""What one value of a metric is logged by: (name, value) pairs, such as (("task", "a"),)."""


def full_name(results: Results, axis: str) -> str:
    """An axis by its full name, given that or the short one."""
    return next((full for full, short in results.axes.items() if axis in (full, short)), axis)


def values_along(results: Results, axis: str) -> list[str]:
    """The values of an axis as tables show them, in the sweep's order."""
    full = full_name(results, axis)
    return list(dict.fromkeys(shown(cell, full) for cell in results.plan.cells))


def matching(results: Results, labels: Labels) -> Iterator[tuple[Cell, Result]]:
    """Finished cells with these labels; labels that are no axes are passed over."""
    wanted = {
        full: several(value)
        for axis, value in labels.items()
        if (full := full_name(results, axis)) in results.axes
    }
    for cell, result in results.cells():
        if all(shown(cell, axis) in values for axis, values in wanted.items()):
            yield cell, result


def values_of(
    results: Results, result: Result, metric: str, labels: Labels
) -> dict[MetricLabels, float]:
    """One result's finite values of a metric, by what it is logged by.

    Of `labels` those count that are no axes of the sweep; one that the metric is not logged by
    asks for nothing.
    """
    wanted = {
        name: several(value)
        for name, value in labels.items()
        if full_name(results, name) not in results.axes
    }
    values = {}
    for entry in result.metrics:
        logged_by = entry["labels"]
        is_wanted = all(
            name not in logged_by or logged_by[name] in allowed for name, allowed in wanted.items()
        )
        if entry["name"] == metric and entry["value"] is not None and is_wanted:
            values[tuple(sorted(logged_by.items()))] = float(entry["value"])
    return values


def by_seed(
    results: Results, metric: str, labels: Labels, pairs: Sequence[str] = ()
) -> dict[str, float]:
    """By seed (and the values of the axes in `pairs`) the metric's mean over the cells with these
    labels; cells without a finite value are left out.
    """
    pair_axes = [full_name(results, axis) for axis in pairs]
    means: dict[str, list[float]] = {}
    for cell, result in matching(results, labels):
        values = values_of(results, result, metric, labels)
        if values:
            pair = " ".join([str(cell.trial.seed), *(shown(cell, axis) for axis in pair_axes)])
            means.setdefault(pair, []).append(float(np.mean(list(values.values()))))
    return {pair: float(np.mean(cell_means)) for pair, cell_means in means.items()}


def shared(first: Mapping[str, float], *others: Mapping[str, float]) -> list[str]:
    """Seeds that all of several series have, in the order of the first."""
    return [seed for seed in first if all(seed in other for other in others)]


def difference(
    results: Results, metric: str, first: Labels, second: Labels, pairs: Sequence[str] = ()
) -> Estimate:
    """Mean over seeds (and the values of the axes in `pairs`) of the metric at `first` less that at
    `second`.
    """
    high = by_seed(results, metric, first, pairs)
    low = by_seed(results, metric, second, pairs)
    return estimate([high[seed] - low[seed] for seed in shared(high, low)])


def best(results: Results, metric: str, labels: Labels) -> Labels:
    """Of the settings that these labels leave open, the one whose mean of the metric over seeds is
    highest (the first of equals), as labels; the same labels where none has a value.
    """
    axes = [axis for axis in results.axes if axis != "seed"]
    settings = dict.fromkeys(
        tuple(shown(cell, axis) for axis in axes) for cell, _ in matching(results, labels)
    )
    short = [results.axes[axis] for axis in axes]
    candidates = [{**labels, **dict(zip(short, values, strict=True))} for values in settings]
    means = [
        estimate(list(by_seed(results, metric, candidate).values())).mean
        for candidate in candidates
    ]
    measured = [number for number, mean in enumerate(means) if np.isfinite(mean)]
    if not measured:
        return labels
    chosen = candidates[max(measured, key=lambda number: means[number])]
    varying = [axis for axis in chosen if len({candidate[axis] for candidate in candidates}) > 1]
    return {**labels, **{axis: chosen[axis] for axis in varying}}


def only_in(labels: Labels, others: Labels) -> Labels:
    """The labels on axes that the others do not name."""
    return {axis: value for axis, value in labels.items() if axis not in others}


def contrast(first: Labels, second: Labels) -> tuple[str, str, str]:
    """In words: the first labels and the second, both without what they share, and what they
    share, as a prefix of a sentence.
    """
    common = {axis: value for axis, value in first.items() if second.get(axis) == value}
    return text(only_in(first, common)), text(only_in(second, common)), prefix(common)


def text(labels: Labels) -> str:
    """`axis=value` and so on, without axes that cells are to lack."""
    return " ".join(
        f"{axis}={' or '.join(several(value))}" for axis, value in labels.items() if value != "-"
    )


def prefix(labels: Labels) -> str:
    """`axis=value: `, or nothing where all cells are meant."""
    words = text(labels)
    return f"{words}: " if words else ""


def at(labels: Labels) -> str:
    """` at axis=value`, or nothing where all cells are meant."""
    words = text(labels)
    return f" at {words}" if words else ""
