"""A metric of a sweep's results by seed: what every claim is decided on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from orchestrator.analysis.results import Estimate, Results, estimate
from orchestrator.parts.result import Result
from orchestrator.spec.claim import Labels, several
from orchestrator.spec.labels import shown
from orchestrator.spec.trial import Cell


def full_name(results: Results, axis: str) -> str:
    """An axis by the whole of its name."""
    return next((full for full, short in results.axes.items() if axis in (full, short)), axis)


def matching(results: Results, labels: Labels) -> Iterator[tuple[Cell, Result]]:
    """Finished cells with these labels, as far as they are axes."""
    wanted = {
        full: several(value)
        for axis, value in labels.items()
        if (full := full_name(results, axis)) in results.axes
    }
    yield from (
        (c, r)
        for c, r in results.cells()
        if all(shown(c, axis) in values for axis, values in wanted.items())
    )


def values_of(
    results: Results, result: Result, metric: str, labels: Labels
) -> dict[tuple[tuple[str, str], ...], float]:
    """One result's values of a metric by what it is logged by, as far as `labels` ask for them (a
    label that it is not logged by asks for nothing); none that is not finite."""
    wanted = {
        name: several(value)
        for name, value in labels.items()
        if full_name(results, name) not in results.axes
    }
    found = [m for m in result.metrics if m["name"] == metric and m["value"] is not None]
    return {
        tuple(sorted(m["labels"].items())): float(m["value"])
        for m in found
        if all(m["labels"].get(k, v[0]) in v for k, v in wanted.items())
    }


def by_seed(
    results: Results, metric: str, labels: Labels, pairs: Sequence[str] = ()
) -> dict[str, float]:
    """By seed (and the values of these axes) the metric's mean over the cells with these labels;
    cells without a finite value are left out.
    """
    found: dict[str, list[float]] = {}
    for cell, result in matching(results, labels):
        if values := values_of(results, result, metric, labels):
            place = " ".join(
                [str(cell.trial.seed), *(shown(cell, full_name(results, axis)) for axis in pairs)]
            )
            found.setdefault(place, []).append(float(np.mean(list(values.values()))))
    return {place: float(np.mean(many)) for place, many in found.items()}


def difference(
    results: Results, metric: str, first: Labels, second: Labels, pairs: Sequence[str] = ()
) -> Estimate:
    """Mean over seeds (and the values of these axes) of the metric at `first` less that at
    `second`.
    """
    one, other = by_seed(results, metric, first, pairs), by_seed(results, metric, second, pairs)
    return estimate([one[seed] - other[seed] for seed in one if seed in other])


def best(results: Results, metric: str, labels: Labels) -> Labels:
    """Of the settings that these labels leave open, those whose mean of the metric over seeds is
    highest.
    """
    axes = [axis for axis in results.axes if axis != "seed"]
    settings = {
        tuple(shown(cell, axis) for axis in axes): None for cell, _ in matching(results, labels)
    }
    open_ones = [
        {**labels, **{results.axes[a]: v for a, v in zip(axes, place, strict=True)}}
        for place in settings
    ]
    scores = [estimate(list(by_seed(results, metric, one).values())).mean for one in open_ones]
    known = [(score, number) for number, score in enumerate(scores) if np.isfinite(score)]
    if not known:
        return labels
    chosen = open_ones[max(known, key=lambda pair: (pair[0], -pair[1]))[1]]
    varying = [a for a in chosen if len({one[a] for one in open_ones}) > 1]
    return {**labels, **{a: chosen[a] for a in varying}}


def apart(first: Labels, second: Labels) -> tuple[str, str, str]:
    """Both texts without what they share, and what they share, said first."""
    common = {axis: value for axis, value in first.items() if second.get(axis) == value}
    one, other = (
        {a: v for a, v in labels.items() if a not in common} for labels in (first, second)
    )
    return text(one), text(other), f"{shared}: " if (shared := text(common)) else ""


def text(labels: Labels) -> str:
    """`axis=value` and so on; not what cells are to lack."""
    return " ".join(
        f"{axis}={' or '.join(several(value))}" for axis, value in labels.items() if value != "-"
    )


def at(labels: Labels) -> str:
    """` at axis=value`, or nothing where all cells are meant."""
    return f" at {said}" if (said := text(labels)) else ""
