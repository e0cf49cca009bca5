"""Claims about a metric along an axis: that it rises or falls, goes with another metric, varies at
all, or stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from orchestrator.analysis.claims.deciding import (
    UNSHOWN,
    Decision,
    above,
    correlations,
    observed,
    permutation_p,
    ranks,
    shuffled_rows,
    spread_p,
)
from orchestrator.analysis.claims.pairing import Comparison, compare, of_same_seeds
from orchestrator.analysis.claims.verdict import verdict_of
from orchestrator.analysis.claims.wording import at, text
from orchestrator.analysis.estimates import Estimate, estimate
from orchestrator.analysis.results import Results
from orchestrator.spec.claim import Claim, Entry, Labels, Verdict
from orchestrator.spec.labels import AxisValue, axes_by_name


@dataclass(frozen=True, kw_only=True)
class AlongAxis(Claim):
    """A claim about `metric` along an axis, where the other axes are as `where` says. The values of
    the axis are the sides that are compared: [values, seeds].
    """

    axis: str
    where: Labels = field(default_factory=dict)

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where,)

    @property
    def along(self) -> Sequence[str]:
        return (self.axis,)

    def values(self, results: Results) -> list[AxisValue]:
        """The values of the axis that cells as `where` says have, in the sweep's order."""
        full = axes_by_name(results.plan.axes)[self.axis]
        found = [results.values.of(cell, full) for cell in results.cells_like(self.where)]
        return list({value.key: value for value in found if value is not None}.values())

    def compare(self, results: Results, values: Sequence[AxisValue]) -> Comparison:
        """The cells at each of these values, paired by seed; all cells where there is none."""
        sides: list[Labels] = [{**self.where, self.axis: value.value} for value in values]
        return compare(results, self.metric, sides or [self.where])


def _means(values: Sequence[AxisValue], comparison: Comparison) -> str:
    if not comparison.seeds:
        return ""
    means = comparison.values.mean(axis=1)
    return ", ".join(f"{v.text} {mean:.3f}" for v, mean in zip(values, means, strict=True))


def _too_few(num_values: int, axis: str, num_seeds: int) -> str:
    return f"{num_values} values of {axis} with {num_seeds} seeds are too few"


@dataclass(frozen=True, kw_only=True)
class Ranked(AlongAxis):
    """`metric` falls (or rises) with the numbers on an axis: Spearman's correlation within each
    seed, their mean beyond `rho` (negative: falls). Held against all orders of a seed's values, and
    against the bar by Student's t over seeds.
    """

    rho: float

    def decide(self, results: Results) -> Verdict:
        sign = -1.0 if self.rho < 0 else 1.0
        statement = (
            f"{self.metric} {'falls' if sign < 0 else 'rises'} with {self.axis}{at(self.where)}"
        )
        numbers = [value for value in self.values(results) if _is_number(value.value)]
        numbers.sort(key=lambda value: float(value.value))
        comparison = self.compare(results, numbers)
        num_seeds = len(comparison.seeds)
        if len(numbers) < 3 or num_seeds < 2:
            evidence = _too_few(len(numbers), self.axis, num_seeds)
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        measured = ranks(comparison.values.T)  # [seeds, values]
        axis = np.arange(len(numbers), dtype=np.float64)
        rho = correlations(measured, axis[None, :])  # [seeds]
        means = _means(numbers, comparison)
        if np.isnan(rho).any():
            evidence = f"{self.metric} is constant in {int(np.isnan(rho).sum())} seeds; {means}"
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        found = estimate(list(rho))
        shuffled = sign * correlations(shuffled_rows(measured), axis).mean(axis=1)  # [shuffles]
        decision = _beyond(found, abs(self.rho), sign, shuffled)
        evidence = f"rho {found} (bar {self.rho:g}); {means}"
        return verdict_of(self, statement, evidence, comparison, decision)


def _beyond(found: Estimate, bar: float, sign: float, shuffled: Any) -> Decision:
    """A mean correlation beyond a bar on the side that `sign` says: by Student's t over seeds and,
    since correlations of few values take few values, by permutation as well.
    """
    towards = Estimate(sign * found.mean, found.half, found.n)
    by_t = above(towards, bar)
    holds = max(by_t.p_holds, permutation_p(towards.mean, shuffled))
    fails = by_t.p_fails
    if bar <= 0:  # below a bar of 0 is a trend the other way
        fails = max(fails, permutation_p(-towards.mean, -shuffled))
    return Decision(holds, fails)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class Related(Claim):
    """Over the values of an axis (tasks, say), `metric` where cells are as `where` says goes `how`
    the metric `other` where they are as `at` says.

    Seeds bring no new values of the axis: both are averaged over seeds first, Spearman's
    correlation over the values is held against all their orders, and n counts the values. With
    fewer than five nothing can be shown. `rho` is a bar that the correlation must be beyond, too.
    """

    axis: str
    where: Labels
    how: Literal["with", "against"]
    other: str
    at: Labels
    rho: float = 0.0

    @property
    def measured(self) -> Sequence[str | Entry]:
        return (self.metric, self.other)

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where, self.at)

    @property
    def along(self) -> Sequence[str]:
        return (self.axis,)

    def decide(self, results: Results) -> Verdict:
        statement = (
            f"over {self.axis}, {self.metric} at {text(self.where)} "
            f"goes {self.how} {self.other} at {text(self.at)}"
        )
        full = axes_by_name(results.plan.axes)[self.axis]
        found = [results.values.of(cell, full) for cell in results.cells_like(self.where)]
        values = list({value.key: value for value in found if value is not None}.values())
        sides: list[Labels] = [{**self.where, self.axis: v.value} for v in values]
        others: list[Labels] = [{**self.at, self.axis: v.value} for v in values]
        first, second = of_same_seeds(
            compare(results, self.metric, sides or [self.where]),
            compare(results, self.other, others or [self.at]),
        )
        comparison = Comparison(
            first.seeds,
            first.values,
            tuple(dict.fromkeys((*first.problems, *second.problems))),
            _both_averaged_over(self.metric, first, self.other, second),
        )
        count = len(values)
        if count < 5 or not first.seeds or not second.seeds:
            evidence = _too_few(count, self.axis, len(first.seeds))
            return verdict_of(self, statement, evidence, comparison, UNSHOWN, n=count)
        metric, other = first.values.mean(axis=1), second.values.mean(axis=1)  # [values]
        sign = -1.0 if self.how == "against" else 1.0
        rho, decision = _related(metric, other, sign, self.rho)
        pairs = zip(values, metric, other, strict=True)
        means = ", ".join(f"{v.text} {one:.3f}/{two:.3f}" for v, one, two in pairs)
        bar = f" (bar {sign * self.rho:g})" if self.rho else ""
        evidence = f"rho {rho:.2f} over {count} values{bar}; {means}"
        return verdict_of(self, statement, evidence, comparison, decision, n=count)


def _both_averaged_over(
    metric: str | Entry, first: Comparison, other: str, second: Comparison
) -> str:
    """What two metrics are averaged over, in words: once where it is the same."""
    if first.averaged_over == second.averaged_over:
        return first.averaged_over
    said = [(metric, first.averaged_over), (other, second.averaged_over)]
    return "; ".join(f"{words} for {name}" for name, words in said if words)


def _related(metric: Any, other: Any, sign: float, bar: float) -> tuple[float, Decision]:
    """Spearman's correlation of two series [values], and what its exact test says."""
    first, second = ranks(metric[None, :]), ranks(other[None, :])  # [1, values]
    rho = float(correlations(first, second)[0])
    if np.isnan(rho):
        return rho, UNSHOWN
    shuffled = sign * correlations(shuffled_rows(first), second).mean(axis=1)  # [shuffles]
    towards = sign * rho
    holds = permutation_p(towards, shuffled) if towards > bar else 1.0
    return rho, Decision(holds, permutation_p(-towards, -shuffled))


@dataclass(frozen=True, kw_only=True)
class DependsOn(AlongAxis):
    """`metric` depends on an axis: the mean ranks of its values lie further apart than when each
    seed's are shuffled (Friedman's statistic, its distribution by permutation). Finding nothing
    decides nothing.
    """

    def decide(self, results: Results) -> Verdict:
        statement = f"{self.metric} depends on {self.axis}{at(self.where)}"
        values = self.values(results)
        comparison = self.compare(results, values)
        num_seeds = len(comparison.seeds)
        if len(values) < 3 or num_seeds < 2:
            evidence = _too_few(len(values), self.axis, num_seeds)
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        p = spread_p(ranks(comparison.values.T))
        evidence = f"p = {p:.2g}; {_means(values, comparison)}"
        return verdict_of(self, statement, evidence, comparison, Decision(p_holds=p))


@dataclass(frozen=True, kw_only=True)
class Spread(AlongAxis):
    """Between the value of an axis where `metric` is highest on average and the one where it is
    lowest lie more than `above`.

    The two are chosen by what they are then compared by; Tukey's studentised range, which holds for
    all pairs at once, makes up for it.
    """

    above: float

    def decide(self, results: Results) -> Verdict:
        statement = (
            f"{self.metric} differs along {self.axis} by more than {self.above:g}{at(self.where)}"
        )
        values = self.values(results)
        comparison = self.compare(results, values)
        num_seeds = len(comparison.seeds)
        if len(values) < 2 or num_seeds < 2:
            evidence = _too_few(len(values), self.axis, num_seeds)
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        means = comparison.values.mean(axis=1)  # [values]
        lowest, highest = int(means.argmin()), int(means.argmax())
        spread = float(means[highest] - means[lowest])
        decision, half = _range_test(comparison.values, spread, self.above)
        evidence = (
            f"{values[highest].text} less {values[lowest].text} {spread:.3f} ±{half:.3f} "
            f"(all pairs at once); {_means(values, comparison)}"
        )
        return verdict_of(self, statement, evidence, comparison, decision)


@lru_cache(maxsize=256)
def _critical_range(num_values: int, freedom: int) -> float:
    """The studentised range that is exceeded in 2.5 % of cases; a tenth of a second to find."""
    from scipy import stats

    return float(stats.studentized_range.ppf(0.975, num_values, freedom))


def _range_test(values: Any, spread: float, bar: float) -> tuple[Decision, float]:
    """Tukey's test of the largest difference against a bar, and the half-width of its simultaneous
    interval. values: [values of the axis, seeds], seeds are blocks.
    """
    from scipy import stats

    num_values, num_seeds = values.shape
    freedom = (num_values - 1) * (num_seeds - 1)
    residuals = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    error = float(np.sqrt((residuals**2).sum() / freedom / num_seeds))
    if error == 0:
        return Decision(float(spread <= bar), float(spread >= bar)), 0.0
    critical = _critical_range(num_values, freedom)
    p = float(stats.studentized_range.sf(abs(spread - bar) / error, num_values, freedom))
    return Decision(p if spread > bar else 1.0, p if spread < bar else 1.0), critical * error


@dataclass(frozen=True, kw_only=True)
class Varies(AlongAxis):
    """`metric` varies along an axis: its means there lie further apart than when each seed's values
    are shuffled among the places. With `above`, the standard deviation that the axis brings,
    without what seeds bring by themselves, is more than that (an F test). It fails where it is
    surely less, or where nothing varies at all.
    """

    above: float = 0.0

    def decide(self, results: Results) -> Verdict:
        statement = f"{self.metric} varies with {self.axis}{at(self.where)}"
        if self.above:
            statement += f" by more than {self.above:g}"
        values = self.values(results)
        comparison = self.compare(results, values)
        num_seeds = len(comparison.seeds)
        if len(values) < 2 or num_seeds < 2:
            evidence = _too_few(len(values), self.axis, num_seeds)
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        if np.ptp(comparison.values, axis=0).max() == 0:
            evidence = f"all {len(values)} values of every seed are equal"
            decision = observed(holds=False, fails=True)
            return verdict_of(self, statement, evidence, comparison, decision)
        deviation, decision = _variation(comparison.values, self.above)
        evidence = f"standard deviation {deviation:.3f}; {_means(values, comparison)}"
        return verdict_of(self, statement, evidence, comparison, decision)


def _variation(values: Any, bar: float) -> tuple[float, Decision]:
    """The standard deviation that an axis brings, estimated from [values, seeds] with seeds as
    blocks, and whether it is above a bar.
    """
    from scipy import stats

    num_values, num_seeds = values.shape
    residuals = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    freedom = (num_values - 1) * (num_seeds - 1)
    noise = float((residuals**2).sum()) / freedom  # mean square of what is left
    axis = num_seeds * float(values.mean(axis=1).var(ddof=1))  # mean square of the axis
    deviation = float(np.sqrt(max(0.0, (axis - noise) / num_seeds)))
    if not bar:
        return deviation, Decision(p_holds=spread_p(values.T))
    # Mean square of the axis, in units of the noise, if the deviation were the bar: noncentral F.
    at_bar = num_seeds * (num_values - 1) * bar**2
    if at_bar > 1e6 * noise:  # no noise to speak of
        return deviation, Decision(float(deviation <= bar), float(deviation >= bar))
    ratio, shift = axis / noise, at_bar / noise
    p_holds = float(stats.ncf.sf(ratio, num_values - 1, freedom, shift))
    return deviation, Decision(p_holds, float(stats.ncf.cdf(ratio, num_values - 1, freedom, shift)))


@dataclass(frozen=True, kw_only=True)
class Unchanged(AlongAxis):
    """`metric` is the same to the last bit all along an axis, in every seed and for all that it is
    logged by.
    """

    def decide(self, results: Results) -> Verdict:
        statement = f"{self.metric} is the same whatever {self.axis} is{at(self.where)}"
        values = self.values(results)
        comparison = replace(self.compare(results, values), averaged_over="")
        if len(values) < 2:
            evidence = _too_few(len(values), self.axis, len(comparison.seeds))
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        num_differing = sum(len(set(one)) > 1 for one in comparison.series)
        evidence = f"{num_differing} of {len(comparison.series)} differ"
        decision = observed(
            holds=bool(comparison.series) and not num_differing, fails=bool(num_differing)
        )
        return verdict_of(self, statement, evidence, comparison, decision)
