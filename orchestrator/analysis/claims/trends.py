"""Claims about a metric along an axis: that it rises or falls, goes with another metric, varies at
all, or stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from orchestrator.analysis.claims.deciding import (
    UNSHOWN,
    Decision,
    above,
    both,
    certainly_beyond,
    correlations,
    observed,
    ranks,
    spread_p,
)
from orchestrator.analysis.claims.orders import MOST_VALUES, can_show, fisher_test, order_test
from orchestrator.analysis.claims.pairing import Comparison, compare, of_same_seeds
from orchestrator.analysis.claims.verdict import verdict_of
from orchestrator.analysis.claims.wording import at, number
from orchestrator.analysis.distributions import range_above, range_quantile
from orchestrator.analysis.estimates import estimate, figures, rounding_of
from orchestrator.analysis.results import Results
from orchestrator.spec.canonical import is_number, show
from orchestrator.spec.claim import Claim, Entry, Labels, Pairs, Verdict
from orchestrator.spec.claim_fields import limited
from orchestrator.spec.labels import AxisValue, axes_by_name


@dataclass(frozen=True, kw_only=True)
class AlongAxis(Claim):
    """A claim about `metric` along an axis, where the other axes are as `where` says. The values of
    the axis are the sides that are compared: [values, seeds].
    """

    fewest: ClassVar[int] = 2  # values of the axis with which anything can be shown

    axis: str
    where: Labels = field(default_factory=dict)

    def out_of_reach(self, values: Mapping[str, Sequence[Any]]) -> Iterator[str]:
        yield from _too_few_values(self.axis, values[self.axis], self.fewest)

    def paired(self, values: Mapping[str, Sequence[Any]]) -> Sequence[Sequence[Labels]]:
        return (_at_each(values[self.axis], self.axis, self.where),)

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
        sides = _at_each(values, self.axis, self.where)
        # Without a value there would be no side to say what is missing.
        return compare(results, self.metric, sides or [self.where])


def _at_each(values: Sequence[Any], axis: str, labels: Labels) -> list[Labels]:
    """The labels at each of some values of an axis: the sides of a claim along it."""
    return [{**labels, axis: value} for value in values]


def _too_few_values(axis: str, values: Sequence[Any], fewest: int) -> Iterator[str]:
    if len(values) < fewest:
        noun = "value" if len(values) == 1 else "values"
        yield f"{axis} has {len(values)} {noun} here, and it takes at least {fewest}"


def _too_many_values(axis: str, values: Sequence[Any], bar: float) -> Iterator[str]:
    if bar and len(values) > MOST_VALUES:
        yield (
            f"rho: a bar other than 0 is tested on at most {MOST_VALUES} values, "
            f"and {axis} has {len(values)}"
        )


def _means(values: Sequence[AxisValue], comparison: Comparison) -> str:
    if not comparison.seeds:
        return ""
    means = comparison.values.mean(axis=1)
    return ", ".join(f"{v.text} {figures(mean)}" for v, mean in zip(values, means, strict=True))


def _too_few(num_values: int, axis: str, num_seeds: int) -> str:
    return f"{num_values} values of {axis} with {num_seeds} seeds are too few"


@dataclass(frozen=True, kw_only=True)
class Ranked(AlongAxis):
    """`metric` rises (or falls) with the numbers on an axis: Spearman's correlation of the two
    within a seed, on average over seeds, is above `rho` that way.

    Held against the bar by Student's t over seeds and by the exact law of orders whose expected
    correlation is the bar (`orders`); both have to show it. Few values or seeds may be unable to
    show a high bar: then the evidence says so.

    Example: `Ranked(metric="size", axis="weight", how="falls", rho=0.8, paper="N9")`.
    """

    fewest: ClassVar[int] = 3

    how: Literal["rises", "falls"]
    rho: float = limited(0.0, at_least=0, below=1)

    def out_of_reach(self, values: Mapping[str, Sequence[Any]]) -> Iterator[str]:
        others = [show(value) for value in values[self.axis] if not is_number(value)]
        if others:
            listed = ", ".join(others)
            yield f"{self.axis} is not always a number: {listed}; where= may leave that out"
        yield from super().out_of_reach(values)
        yield from _too_many_values(self.axis, values[self.axis], self.rho)

    def decide(self, results: Results) -> Verdict:
        statement = (
            f"{self.metric} {self.how} with {self.axis}{_beyond(self.rho)}{at(results, self.where)}"
        )
        numbers = [value for value in self.values(results) if is_number(value.value)]
        numbers.sort(key=lambda value: float(value.value))
        comparison = self.compare(results, numbers)
        num_seeds = len(comparison.seeds)
        if len(numbers) < self.fewest or num_seeds < 2:
            evidence = _too_few(len(numbers), self.axis, num_seeds)
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        sign = -1.0 if self.how == "falls" else 1.0
        measured = ranks(comparison.values.T, comparison.rounding)  # [seeds, values]
        axis = ranks(np.tile(sign * np.arange(len(numbers)), (num_seeds, 1)))  # [seeds, values]
        rho = correlations(measured, axis)  # [seeds], positive as the claim has it
        means = _means(numbers, comparison)
        # Left out, such seeds would leave a mean over those that have an order to agree on.
        if np.isnan(rho).any():
            evidence = f"{self.metric} is constant in {int(np.isnan(rho).sum())} seeds; {means}"
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        # Student's t takes equal correlations for certainty; the law of orders knows how few values
        # a correlation of three or four numbers can take.
        by_order = order_test(measured, axis, self.rho)
        decision = both(by_order, _over_seeds(rho, self.rho))
        limits = _limits(num_seeds, len(numbers), self.rho)
        # As measured: negative where it falls.
        evidence = f"rho {estimate(list(sign * rho))}{limits}; {means}"
        return verdict_of(self, statement, evidence, comparison, decision)


def _over_seeds(rho: Any, bar: float) -> Decision:
    """Student's t of the seeds' correlations. Where these are equal, that one is taken for certain,
    of two seeds, too: the law of orders says how much it proves.
    """
    found = estimate(list(rho), rounding_of(1.0))
    if np.ptp(rho) <= found.rounding:
        return certainly_beyond(found.mean - bar, found.rounding, freedom=len(rho))
    return above(found, bar)


def _beyond(rho: float) -> str:
    """A bar of a correlation in words, where it is not 0."""
    return f" by a rho of more than {number(rho)}" if rho else ""


def _limits(num_series: int, num_values: int, bar: float) -> str:
    """Why no result whatever would show a correlation above the bar, in words, or nothing."""
    if num_values > MOST_VALUES:
        few = f" (a bar other than 0 is tested on at most {MOST_VALUES} values)"
        return few if bar else ""
    if can_show(num_series, num_values, bar):
        return ""
    return f" (no result on {num_values} values with n = {num_series} could show the bar)"


@dataclass(frozen=True, kw_only=True)
class Related(Claim):
    """Over the values of an axis (tasks, say), `metric` where cells are as `where` says goes `how`
    the metric `other` where they are as `at` says.

    Seeds bring no new values of the axis: both are averaged over seeds first, Spearman's
    correlation over the values is held against all their orders, and n counts the values. With
    fewer than five nothing can be shown. With `rho`, the correlation expected of such values is
    above that bar (the law of orders as for `Ranked`, and Fisher's z); that takes more values.
    """

    fewest: ClassVar[int] = 5

    axis: str
    where: Labels
    how: Literal["with", "against"]
    other: str
    at: Labels
    rho: float = limited(0.0, at_least=0, below=1)

    def out_of_reach(self, values: Mapping[str, Sequence[Any]]) -> Iterator[str]:
        yield from _too_few_values(self.axis, values[self.axis], self.fewest)
        yield from _too_many_values(self.axis, values[self.axis], self.rho)

    def paired(self, values: Mapping[str, Sequence[Any]]) -> Sequence[Sequence[Labels]]:
        return [_at_each(values[self.axis], self.axis, side) for side in self.named]

    @property
    def measured(self) -> Sequence[str | Entry]:
        return (self.metric, self.other)

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where, self.at)

    @property
    def spoken_of(self) -> Sequence[tuple[Labels, str | Entry]]:
        return [(self.where, self.metric), (self.at, self.other)]

    @property
    def apart(self) -> Sequence[Labels]:
        # Two metrics of the same cells may well go together; a metric always goes with itself.
        return self.named if self.metric == self.other else ()

    @property
    def along(self) -> Sequence[str]:
        return (self.axis,)

    def decide(self, results: Results) -> Verdict:
        statement = (
            f"over {self.axis}, {self.metric}{at(results, self.where)} "
            f"goes {self.how} {self.other}{at(results, self.at)}{_beyond(self.rho)}"
        )
        full = axes_by_name(results.plan.axes)[self.axis]
        found = [results.values.of(cell, full) for cell in results.cells_like(self.where)]
        values = list({value.key: value for value in found if value is not None}.values())
        sides = _at_each(values, self.axis, self.where)
        others = _at_each(values, self.axis, self.at)
        # Means over different seeds would go together, or not, for reasons of these seeds.
        first, second = of_same_seeds(
            compare(results, self.metric, sides or [self.where]),
            compare(results, self.other, others or [self.at]),
        )
        # For the verdict, which looks at problems and seeds; the test takes the values of both.
        comparison = Comparison(
            first.seeds,
            first.values,
            tuple(dict.fromkeys((*first.problems, *second.problems))),
            _both_averaged_over(self.metric, first, self.other, second),
        )
        count = len(values)
        if count < self.fewest or not first.seeds or not second.seeds:
            evidence = _too_few(count, self.axis, len(first.seeds))
            return verdict_of(self, statement, evidence, comparison, UNSHOWN, n=count)
        metric, other = first.values.mean(axis=1), second.values.mean(axis=1)  # [values]
        sign = -1.0 if self.how == "against" else 1.0
        rho, decision = _related(metric, sign * other, self.rho)
        pairs = zip(values, metric, other, strict=True)
        means = ", ".join(f"{v.text} {figures(one)}/{figures(two)}" for v, one, two in pairs)
        evidence = f"rho {sign * rho:.2f} over {count} values{_limits(1, count, self.rho)}; {means}"
        verdict = verdict_of(self, statement, evidence, comparison, decision, n=count)
        return replace(verdict, pairs=_both_pairs(self.metric, first, self.other, second))


def _both_pairs(
    metric: str | Entry, first: Comparison, other: str, second: Comparison
) -> Pairs | None:
    """The values of two metrics, those of the second below those of the first."""
    if first.seeds != second.seeds:  # one draws nothing from the seed: no column is of both
        return None
    of_first = [f"{metric} at {side}" for side in first.sides]
    of_second = [f"{other} at {side}" for side in second.sides]
    values = (*first.pairs.values, *second.pairs.values)
    return Pairs((*of_first, *of_second), first.seeds, values)


def _both_averaged_over(
    metric: str | Entry, first: Comparison, other: str, second: Comparison
) -> str:
    """What two metrics are averaged over, in words: once where it is the same."""
    if first.averaged_over == second.averaged_over:
        return first.averaged_over
    said = [(metric, first.averaged_over), (other, second.averaged_over)]
    return "; ".join(f"{words} for {name}" for name, words in said if words)


def _related(metric: Any, other: Any, bar: float) -> tuple[float, Decision]:
    """Spearman's correlation of two series [values], and what its exact test says."""
    first, second = (
        ranks(one[None, :], rounding_of(*one))  # [1, values]
        for one in (metric, other)
    )
    rho = float(correlations(first, second)[0])
    if np.isnan(rho):
        return rho, UNSHOWN
    by_order = order_test(first, second, bar)
    # At the bar 0 the law of orders is the permutation test, and needs no second one.
    return rho, both(by_order, fisher_test(rho, metric.size, bar)) if bar else by_order


@dataclass(frozen=True, kw_only=True)
class DependsOn(AlongAxis):
    """`metric` depends on an axis: the mean ranks of its values lie further apart than when each
    seed's are shuffled (Friedman's statistic, its distribution by permutation). Finding nothing
    decides nothing.
    """

    fewest: ClassVar[int] = 3

    def decide(self, results: Results) -> Verdict:
        statement = f"{self.metric} depends on {self.axis}{at(results, self.where)}"
        values = self.values(results)
        comparison = self.compare(results, values)
        num_seeds = len(comparison.seeds)
        if len(values) < self.fewest or num_seeds < 2:
            evidence = _too_few(len(values), self.axis, num_seeds)
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        p = spread_p(ranks(comparison.values.T, comparison.rounding))
        evidence = f"p = {p:.2g}; {_means(values, comparison)}"
        return verdict_of(self, statement, evidence, comparison, Decision(p_holds=p))


@dataclass(frozen=True, kw_only=True)
class Spread(AlongAxis):
    """Between the value of an axis where `metric` is highest on average and the one where it is
    lowest lie more than `above`.

    The two are chosen by what they are then compared by; Tukey's studentised range, which holds for
    all pairs at once, makes up for it.
    """

    above: float = limited(at_least=0)

    def decide(self, results: Results) -> Verdict:
        statement = (
            f"{self.metric} differs along {self.axis} by more than {number(self.above)}"
            f"{at(results, self.where)}"
        )
        values = self.values(results)
        comparison = self.compare(results, values)
        num_seeds = len(comparison.seeds)
        if len(values) < self.fewest or num_seeds < 2:
            evidence = _too_few(len(values), self.axis, num_seeds)
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        means = comparison.values.mean(axis=1)  # [values]
        lowest, highest = int(means.argmin()), int(means.argmax())
        spread = float(means[highest] - means[lowest])
        decision, half = _range_test(comparison.values, spread, self.above)
        evidence = (
            f"{values[highest].text} less {values[lowest].text} {figures(spread)} "
            f"±{figures(half)} "
            f"(all pairs at once); {_means(values, comparison)}"
        )
        return verdict_of(self, statement, evidence, comparison, decision)


def _range_test(values: Any, spread: float, bar: float) -> tuple[Decision, float]:
    """Tukey's test of the largest difference against a bar, and the half-width of its simultaneous
    interval. values: [values of the axis, seeds], seeds are blocks.
    """
    num_values, num_seeds = values.shape
    freedom = (num_values - 1) * (num_seeds - 1)
    # [values, seeds]: what neither the place on the axis nor the seed explains.
    residuals = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    error = float(np.sqrt((residuals**2).sum() / freedom / num_seeds))
    rounding = rounding_of(*values.flat, bar)
    if error <= rounding:
        return certainly_beyond(spread - bar, rounding, freedom), 0.0
    critical = range_quantile(num_values, freedom)
    # One distance serves both ways; which of them it speaks for is seen from its sign.
    p = range_above(abs(spread - bar) / error, num_values, freedom)
    return Decision(p if spread > bar else 1.0, p if spread < bar else 1.0), critical * error


@dataclass(frozen=True, kw_only=True)
class Varies(AlongAxis):
    """`metric` varies along an axis: its means there lie further apart than when each seed's values
    are shuffled among the places. With `above`, the standard deviation that the axis brings,
    without what seeds bring by themselves, is more than that (an F test). It fails where it is
    surely less, or where nothing varies at all.
    """

    above: float = limited(0.0, at_least=0)

    def decide(self, results: Results) -> Verdict:
        statement = f"{self.metric} varies with {self.axis}{at(results, self.where)}"
        if self.above:
            statement += f" by more than {number(self.above)}"
        values = self.values(results)
        comparison = self.compare(results, values)
        num_seeds = len(comparison.seeds)
        if len(values) < self.fewest or num_seeds < 2:
            evidence = _too_few(len(values), self.axis, num_seeds)
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        # Within each seed: that seeds differ from each other says nothing of the axis.
        if np.ptp(comparison.values, axis=0).max() <= comparison.rounding:
            evidence = f"all {len(values)} values of every seed are equal"
            decision = observed(holds=False, fails=True)
            return verdict_of(self, statement, evidence, comparison, decision)
        deviation, decision = _variation(comparison.values, self.above)
        evidence = f"standard deviation {figures(deviation)}; {_means(values, comparison)}"
        return verdict_of(self, statement, evidence, comparison, decision)


def _variation(values: Any, bar: float) -> tuple[float, Decision]:
    """The standard deviation that an axis brings, estimated from [values, seeds] with seeds as
    blocks, and whether it is above a bar.
    """
    num_values, num_seeds = values.shape
    # [values, seeds]: what neither the place on the axis nor the seed explains.
    residuals = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    freedom = (num_values - 1) * (num_seeds - 1)
    noise = float((residuals**2).sum()) / freedom  # mean square of what is left
    axis = num_seeds * float(values.mean(axis=1).var(ddof=1))  # mean square of the axis
    # The axis's mean square is expected to be noise + num_seeds * variance; by chance it is less.
    deviation = float(np.sqrt(max(0.0, (axis - noise) / num_seeds)))
    if not bar:
        return deviation, Decision(p_holds=spread_p(values.T))
    # Loaded here, since it takes as long as half of torch.
    from scipy import stats

    # Mean square of the axis, in units of the noise, if the deviation were the bar: noncentral F.
    at_bar = num_seeds * (num_values - 1) * bar**2
    if at_bar > 1e6 * noise:  # no noise to speak of
        rounding = rounding_of(*values.flat, bar)
        return deviation, certainly_beyond(deviation - bar, rounding, freedom)
    ratio, shift = axis / noise, at_bar / noise
    p_holds = float(stats.ncf.sf(ratio, num_values - 1, freedom, shift))
    return deviation, Decision(p_holds, float(stats.ncf.cdf(ratio, num_values - 1, freedom, shift)))


@dataclass(frozen=True, kw_only=True)
class Unchanged(AlongAxis):
    """`metric` is the same to the last bit all along an axis, in every seed and for all that it is
    logged by. A difference that is seen refutes it, whatever else is missing.
    """

    def decide(self, results: Results) -> Verdict:
        statement = f"{self.metric} is the same whatever {self.axis} is{at(results, self.where)}"
        values = self.values(results)
        # Values are held against each other one by one, and nothing is averaged.
        comparison = replace(self.compare(results, values), averaged_over="")
        num_differing = sum(len(set(one)) > 1 for one in comparison.series)
        evidence = f"{num_differing} of {len(comparison.series)} differ"
        if num_differing:
            decision = observed(holds=False, fails=True)
            return verdict_of(self, statement, evidence, comparison, decision, is_seen=True)
        if len(values) < self.fewest:
            evidence = _too_few(len(values), self.axis, len(comparison.seeds))
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        decision = observed(holds=bool(comparison.series), fails=False)
        return verdict_of(self, statement, evidence, comparison, decision)
