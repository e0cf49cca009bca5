"""Claims about a metric along an axis: that it rises or falls, goes with another metric, varies at
all, or stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from orchestrator.analysis.claims.deciding import UNSHOWN, Decision, above
from orchestrator.analysis.claims.seedwise import (
    MetricLabels,
    at,
    by_seed,
    full_name,
    matching,
    shared,
    text,
    values_along,
    values_of,
)
from orchestrator.analysis.results import Estimate, Results, estimate
from orchestrator.spec.claim import Claim, Labels, Verdict
from orchestrator.spec.labels import shown

BySeed = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class AlongAxis(Claim):
    """A claim about `metric` along an axis, where the other axes are as `where` says."""

    axis: str
    where: Labels = field(default_factory=dict)

    @property
    def named(self) -> Sequence[Labels]:
        return ({self.axis: "", **self.where},)

    def series(self, results: Results, value: str) -> BySeed:
        """The metric by seed at one value of the axis."""
        return by_seed(results, self.metric, {**self.where, self.axis: value})


@dataclass(frozen=True, kw_only=True)
class Ranked(AlongAxis):
    """`metric` falls (or rises) with the numbers on an axis: Spearman's correlation within each
    seed, their mean beyond `rho` (negative: falls).
    """

    rho: float

    def decide(self, results: Results) -> Verdict:
        falls = self.rho < 0
        claim = f"{self.metric} {'falls' if falls else 'rises'} with {self.axis}{at(self.where)}"
        numbers = sorted(set(_numbers(values_along(results, self.axis))))
        measured = [self.series(results, f"{number:g}") for number in numbers]
        pairs = list(zip(numbers, measured, strict=True))
        axis = [dict.fromkeys(by, number) for number, by in pairs]
        means = ", ".join(f"{number:g} {_mean(by):.3f}" for number, by in pairs)
        return _correlation_verdict(
            self, claim, axis, measured, means, bar=abs(self.rho), falls=falls
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
        claim = (
            f"over {self.axis}, {self.metric} at {text(self.where)} "
            f"goes {self.how} {self.other} at {text(self.at)}"
        )
        metrics, others, means = [], [], []
        for value in values_along(results, self.axis):
            metric = by_seed(results, self.metric, {**self.where, self.axis: value})
            other = by_seed(results, self.other, {**self.at, self.axis: value})
            if metric and other:
                metrics.append(metric)
                others.append(other)
                means.append(f"{value} {_mean(metric):.3f}/{_mean(other):.3f}")
        falls = self.how == "against"
        return _correlation_verdict(
            self, claim, others, metrics, ", ".join(means), bar=self.rho, falls=falls
        )


@dataclass(frozen=True, kw_only=True)
class DependsOn(AlongAxis):
    """`metric` depends on an axis (Friedman's test over its values, seeds as blocks, 5 %). Finding
    nothing decides nothing.
    """

    def decide(self, results: Results) -> Verdict:
        from scipy import stats

        claim = f"{self.metric} depends on {self.axis}{at(self.where)}"
        values = values_along(results, self.axis)
        columns = [self.series(results, value) for value in values]
        seeds = shared(*columns)
        if len(values) < 3 or len(seeds) < 2:
            evidence = _too_few(len(values), self.axis, len(seeds))
            return self.verdict(claim, evidence, len(seeds), **UNSHOWN)
        samples = [[column[seed] for seed in seeds] for column in columns]  # [values, seeds]
        p = float(stats.friedmanchisquare(*samples).pvalue)
        means = ", ".join(
            f"{value} {np.mean(sample):.3f}" for value, sample in zip(values, samples, strict=True)
        )
        return self.verdict(claim, f"p = {p:.2g}; {means}", len(seeds), holds=p < 0.05, fails=False)


@dataclass(frozen=True, kw_only=True)
class Spread(AlongAxis):
    """Between the value of an axis where `metric` is highest on average and the one where it is
    lowest lie more than `above`. The two are chosen on what they are then compared by, so a spread
    that is there by chance only is not much below zero."""

    above: float

    def decide(self, results: Results) -> Verdict:
        claim = (
            f"{self.metric} differs along {self.axis} by more than {self.above:g}{at(self.where)}"
        )
        columns = {value: self.series(results, value) for value in values_along(results, self.axis)}
        columns = {value: column for value, column in columns.items() if column}
        if len(columns) < 2:
            return self.verdict(claim, _too_few(len(columns), self.axis, 0), 0, **UNSHOWN)
        lowest, *_, highest = sorted(columns, key=lambda value: _mean(columns[value]))
        low, high = columns[lowest], columns[highest]
        found = estimate([high[seed] - low[seed] for seed in shared(high, low)])
        means = ", ".join(f"{value} {_mean(column):.3f}" for value, column in columns.items())
        evidence = f"{highest} less {lowest} {found}; {means}"
        return self.verdict(claim, evidence, found.n, **above(found, self.above))


@dataclass(frozen=True, kw_only=True)
class Varies(AlongAxis):
    """`metric` varies along an axis: its standard deviation over the axis within a seed (the mean
    of it over what the metric is logged by, such as tasks) is more than `above`."""

    above: float = 0.0

    def decide(self, results: Results) -> Verdict:
        claim = f"{self.metric} varies with {self.axis}{at(self.where)}"
        if self.above:
            claim += f" by more than {self.above:g}"
        deviations = [
            float(np.mean([np.std(values, ddof=1) for values in by_label]))
            for by_label in _values_within_seeds(self, results).values()
        ]
        found = estimate(deviations)
        evidence = f"standard deviation {found}"
        return self.verdict(claim, evidence, found.n, **above(found, self.above))


@dataclass(frozen=True, kw_only=True)
class Unchanged(AlongAxis):
    """`metric` is the same to the last bit all along an axis, in every seed and for all that it is
    logged by.
    """

    def decide(self, results: Results) -> Verdict:
        claim = f"{self.metric} is the same whatever {self.axis} is{at(self.where)}"
        by_seeds = _values_within_seeds(self, results)
        series = [values for by_label in by_seeds.values() for values in by_label]
        num_differing = sum(len(set(values)) > 1 for values in series)
        decision = Decision(holds=bool(series) and not num_differing, fails=bool(num_differing))
        evidence = f"{num_differing} of {len(series)} differ"
        if not series:
            evidence = _too_few(0, self.axis, 0)
        return self.verdict(claim, evidence, len(by_seeds), **decision)


def _values_within_seeds(claim: AlongAxis, results: Results) -> dict[str, list[list[float]]]:
    """By seed, for each label that the metric is logged by, its values along the axis, where it has
    at least two.
    """
    axis = full_name(results, claim.axis)
    # Values by seed and label, then by the place on the axis: cells that differ elsewhere are
    # averaged.
    found: dict[str, dict[MetricLabels, dict[str, list[float]]]] = {}
    for cell, result in matching(results, claim.where):
        by_label = found.setdefault(str(cell.trial.seed), {})
        for label, value in values_of(results, result, claim.metric, claim.where).items():
            along = by_label.setdefault(label, {})
            along.setdefault(shown(cell, axis), []).append(value)
    series = {}
    for seed, by_label in found.items():
        means = [
            [float(np.mean(values)) for values in along.values()]
            for along in by_label.values()
            if len(along) > 1
        ]
        if means:
            series[seed] = means
    return series


def _correlation_verdict(
    claim: Claim,
    statement: str,
    first: Sequence[BySeed],
    second: Sequence[BySeed],
    means: str,
    *,
    bar: float,
    falls: bool,
) -> Verdict:
    """Decide on Spearman's correlation, within each seed, between two series over an axis (each a
    mapping from seeds for every value): above `bar`, or below -`bar` where it `falls`.
    """
    from scipy import stats

    seeds = shared(*second, *first) if second else []
    if len(second) < 3 or len(seeds) < 2:
        evidence = _too_few(len(second), "the axis", len(seeds))
        return claim.verdict(statement, evidence, len(seeds), **UNSHOWN)
    correlations = []
    for seed in seeds:
        ranked = [by[seed] for by in first], [by[seed] for by in second]
        correlations.append(float(stats.spearmanr(*ranked).statistic))
    found = estimate(correlations)
    # A claim that it falls is one that the negative correlation is above the bar.
    wanted = Estimate(-found.mean, found.half, found.n) if falls else found
    evidence = f"rho {found} (bar {-bar + 0.0 if falls else bar:g}); {means}"
    return claim.verdict(statement, evidence, found.n, **above(wanted, bar))


def _mean(values: BySeed) -> float:
    return float(np.mean(list(values.values()))) if values else float("nan")


def _too_few(num_values: int, axis: str, num_seeds: int) -> str:
    return f"{num_values} values of {axis} with {num_seeds} seeds are too few"


def _numbers(texts: Sequence[str]) -> list[float]:
    """The texts that are numbers, as numbers."""
    numbers = []
    for word in texts:
        try:
            numbers.append(float(word))
        except ValueError:
            continue
    return numbers
