"""Claims about a metric along an axis: that it rises or falls, goes with another metric, varies at
all, or stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from orchestrator.analysis.claims.seedwise import (
    at,
    by_seed,
    full_name,
    matching,
    text,
    values_of,
)
from orchestrator.analysis.results import Results, estimate
from orchestrator.spec.claim import Claim, Labels, Verdict
from orchestrator.spec.labels import shown


@dataclass(frozen=True, kw_only=True)
class Ranked(Claim):
    """`metric` falls (or rises) with the numbers on an axis: Spearman's correlation within each
    seed, their mean beyond `rho` (negative: falls).
    """

    axis: str
    rho: float
    where: Labels = field(default_factory=dict)

    @property
    def named(self) -> Sequence[Labels]:
        return ({self.axis: "", **self.where},)

    def decide(self, results: Results) -> Verdict:
        claim = (
            f"{self.metric} {'falls' if self.rho < 0 else 'rises'} with {self.axis}{at(self.where)}"
        )
        values = sorted(
            {
                v
                for cell in results.plan.cells
                if (v := _number(shown(cell, full_name(results, self.axis)))) is not None
            }
        )
        columns = [
            by_seed(results, self.metric, {**self.where, self.axis: f"{value:g}"})
            for value in values
        ]
        means = ", ".join(f"{v:g} {_mean(by):.3f}" for v, by in zip(values, columns, strict=True))
        return _correlated(
            self,
            claim,
            [{s: value for s in by} for value, by in zip(values, columns, strict=True)],
            columns,
            abs(self.rho),
            means,
            falls=self.rho < 0,
        )


@dataclass(frozen=True, kw_only=True)
class Related(Claim):
    """Over the values of an axis, `metric` where cells are as `where` says goes `how` the metric
    `other` where they are as `at` says: Spearman's correlation within each seed, their mean above
    `rho` (against: below -`rho`)."""

    axis: str
    where: Labels
    how: Literal["with", "against"]
    other: str
    at: Labels
    rho: float = 0.0

    @property
    def measured(self) -> Sequence[str]:
        return (self.metric, self.other)

    @property
    def named(self) -> Sequence[Labels]:
        return ({self.axis: "", **self.where}, self.at)

    def decide(self, results: Results) -> Verdict:
        claim = f"over {self.axis}, {self.metric} at {text(self.where)} goes {self.how} {self.other} at {text(self.at)}"
        values = list(
            dict.fromkeys(shown(cell, full_name(results, self.axis)) for cell in results.plan.cells)
        )
        pairs = [
            tuple(
                by_seed(results, m, {**at, self.axis: value})
                for m, at in ((self.metric, self.where), (self.other, self.at))
            )
            for value in values
        ]
        both = [
            (value, one, other)
            for value, (one, other) in zip(values, pairs, strict=True)
            if one and other
        ]
        means = ", ".join(
            f"{value} {_mean(one):.3f}/{_mean(other):.3f}" for value, one, other in both
        )
        return _correlated(
            self,
            claim,
            [other for _, _, other in both],
            [one for _, one, _ in both],
            self.rho,
            means,
            falls=self.how == "against",
        )


@dataclass(frozen=True, kw_only=True)
class DependsOn(Claim):
    """`metric` depends on an axis (Friedman's test over its values, seeds as blocks, 5 %). Finding
    nothing decides nothing.
    """

    axis: str

    @property
    def named(self) -> Sequence[Labels]:
        return ({self.axis: ""},)

    def decide(self, results: Results) -> Verdict:
        from scipy import stats

        claim = f"{self.metric} depends on {self.axis}"
        values = list(
            dict.fromkeys(shown(cell, full_name(results, self.axis)) for cell in results.plan.cells)
        )
        by_value = [by_seed(results, self.metric, {self.axis: value}) for value in values]
        seeds = [s for s in by_value[0] if all(s in other for other in by_value)]
        if len(values) < 3 or len(seeds) < 2:
            return self.verdict(
                claim,
                _too_few(len(values), self.axis, len(seeds)),
                len(seeds),
                holds=False,
                fails=False,
            )
        p = float(
            stats.friedmanchisquare(*([found[s] for s in seeds] for found in by_value)).pvalue
        )
        means = ", ".join(
            f"{v} {np.mean([found[s] for s in seeds]):.3f}"
            for v, found in zip(values, by_value, strict=True)
        )
        return self.verdict(claim, f"p = {p:.2g}; {means}", len(seeds), holds=p < 0.05, fails=False)


@dataclass(frozen=True, kw_only=True)
class Spread(Claim):
    """Between the value of an axis where `metric` is highest on average and the one where it is
    lowest lie more than `above`. The two are chosen on what they are then compared by, so a spread
    that is there by chance only is not much below zero."""

    axis: str
    above: float
    where: Labels = field(default_factory=dict)

    @property
    def named(self) -> Sequence[Labels]:
        return ({self.axis: "", **self.where},)

    def decide(self, results: Results) -> Verdict:
        claim = (
            f"{self.metric} differs along {self.axis} by more than {self.above:g}{at(self.where)}"
        )
        values = dict.fromkeys(
            shown(cell, full_name(results, self.axis)) for cell in results.plan.cells
        )
        columns = {
            value: by
            for value in values
            if (by := by_seed(results, self.metric, {**self.where, self.axis: value}))
        }
        if len(columns) < 2:
            return self.verdict(
                claim, _too_few(len(columns), self.axis, 0), 0, holds=False, fails=False
            )
        ranked = sorted(columns, key=lambda value: _mean(columns[value]))
        low, high = columns[ranked[0]], columns[ranked[-1]]
        found = estimate([high[s] - low[s] for s in high if s in low])
        means = ", ".join(f"{value} {_mean(column):.3f}" for value, column in columns.items())
        return self.verdict(
            claim,
            f"{ranked[-1]} less {ranked[0]} {found}; {means}",
            found.n,
            holds=found.mean - found.half > self.above,
            fails=found.mean + found.half < self.above,
        )


@dataclass(frozen=True, kw_only=True)
class Varies(Claim):
    """`metric` varies along an axis: its standard deviation over the axis within a seed (the mean
    of it over what the metric is logged by, such as tasks) is more than `above`."""

    axis: str
    where: Labels = field(default_factory=dict)
    above: float = 0.0

    @property
    def named(self) -> Sequence[Labels]:
        return ({self.axis: "", **self.where},)

    def decide(self, results: Results) -> Verdict:
        columns = _along(self, results)
        found = estimate(
            [
                float(np.mean([np.std(values, ddof=1) for values in by_label]))
                for by_label in columns.values()
            ]
        )
        claim = f"{self.metric} varies with {self.axis}{at(self.where)}" + (
            f" by more than {self.above:g}" if self.above else ""
        )
        return self.verdict(
            claim,
            f"standard deviation {found}",
            found.n,
            holds=found.mean - found.half > self.above,
            fails=found.mean + found.half < self.above,
        )


@dataclass(frozen=True, kw_only=True)
class Unchanged(Claim):
    """`metric` is the same to the last bit all along an axis, in every seed and for all that it is
    logged by.
    """

    axis: str
    where: Labels = field(default_factory=dict)

    @property
    def named(self) -> Sequence[Labels]:
        return ({self.axis: "", **self.where},)

    def decide(self, results: Results) -> Verdict:
        columns = _along(self, results)
        every = [values for by_label in columns.values() for values in by_label]
        claim = f"{self.metric} is the same whatever {self.axis} is{at(self.where)}"
        differ = sum(len(set(values)) > 1 for values in every)
        evidence = f"{differ} of {len(every)} differ" if every else _too_few(0, self.axis, 0)
        return self.verdict(
            claim, evidence, len(columns), holds=bool(every) and not differ, fails=bool(differ)
        )


def _along(claim: Varies | Unchanged, results: Results) -> Mapping[str, list[list[float]]]:
    """By seed, for each thing that the metric is logged by, its values along the axis, where it has
    at least two.
    """
    axis = full_name(results, claim.axis)
    found: dict[str, dict[Any, dict[str, list[float]]]] = {}
    for cell, result in matching(results, claim.where):
        for label, value in values_of(results, result, claim.metric, claim.where).items():
            found.setdefault(str(cell.trial.seed), {}).setdefault(label, {}).setdefault(
                shown(cell, axis), []
            ).append(value)
    columns = {
        seed: [
            [float(np.mean(v)) for v in along.values()]
            for along in by_label.values()
            if len(along) > 1
        ]
        for seed, by_label in found.items()
    }
    return {seed: lists for seed, lists in columns.items() if lists}


def _correlated(
    claim: Claim,
    text: str,
    first: Sequence[Mapping[str, float]],
    second: Sequence[Mapping[str, float]],
    bar: float,
    means: str,
    *,
    falls: bool,
) -> Verdict:
    """Of Spearman's correlation within each seed between two series, one mapping from seeds a
    place; it should be above `bar`, or below -`bar`.
    """
    from scipy import stats

    seeds = [
        s for s in (second[0] if second else ()) if all(s in other for other in (*first, *second))
    ]
    if len(second) < 3 or len(seeds) < 2:
        return claim.verdict(
            text,
            _too_few(len(second), "the axis", len(seeds)),
            len(seeds),
            holds=False,
            fails=False,
        )
    found = estimate(
        [
            float(stats.spearmanr([by[s] for by in first], [by[s] for by in second]).statistic)
            for s in seeds
        ]
    )
    mean = -found.mean if falls else found.mean
    holds, fails = mean - found.half > bar, mean + found.half < bar
    return claim.verdict(
        text,
        f"rho {found} (bar {-bar + 0.0 if falls else bar:g}); {means}",
        found.n,
        holds=holds,
        fails=fails,
    )


def _mean(values: Mapping[str, float]) -> float:
    return float(np.mean(list(values.values()))) if values else float("nan")


def _too_few(values: int, axis: str, seeds: int) -> str:
    return f"{values} values of {axis} with {seeds} seeds are too few"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
