"""Claims that hold one level of a metric against another, or against a bar."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from orchestrator.analysis.claims.choosing import choose
from orchestrator.analysis.claims.deciding import (
    UNSHOWN,
    Decision,
    above,
    between,
    every,
    p_above,
    p_below,
)
from orchestrator.analysis.claims.pairing import Comparison, compare, pair
from orchestrator.analysis.claims.sides import Side
from orchestrator.analysis.claims.verdict import verdict_of
from orchestrator.analysis.claims.wording import (
    at,
    contrast,
    number,
    only_in,
    prefix,
    shared,
    text,
)
from orchestrator.analysis.results import Results
from orchestrator.spec.claim import REPRODUCED, Claim, Entry, Labels, Verdict
from orchestrator.spec.claim_fields import limited
from orchestrator.spec.labels import axes_by_name


def _named_twice(first: str, labels: Labels, second: str, others: Labels) -> Iterator[str]:
    """Axes that two fields name whose labels are put together: the one would hide the other's."""
    for axis in labels:
        if axis in others:
            yield f"{first} and {second} both name {axis!r}"


@dataclass(frozen=True, kw_only=True)
class OfSides(Claim):
    """A claim whose sides are the cells that it names."""

    def paired(self, values: Mapping[str, Sequence[Any]]) -> Sequence[Sequence[Labels]]:
        return (self.named,)


@dataclass(frozen=True, kw_only=True)
class TwoSides(OfSides):
    """A claim that holds cells as `where` says against cells as `than` says."""

    where: Labels
    than: Labels

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where, self.than)


@dataclass(frozen=True, kw_only=True)
class Higher(TwoSides):
    """`metric` is higher where cells are as `where` says than where they are as `than` says, by
    more than `by`.

    With `choose`, of the values of the axes `over` only the one with the highest mean of that
    metric counts, on each side by itself: name a metric of validation data. Nothing else is chosen:
    where tasks are open, say, each has a best of its own, and they are averaged as ever. The
    evidence says which was best, and where it lies at the edge of what was tried.

    Example: `Higher(metric="accuracy", where={"optimizer": "adam"}, than={"optimizer": "sgd"},
    choose="val_accuracy", over=("lr",), paper="P7")`.
    """

    by: float = 0.0
    choose: str = ""
    over: tuple[str, ...] = ()

    @property
    def measured(self) -> Sequence[str | Entry]:
        return (self.metric, self.choose) if self.choose else (self.metric,)

    @property
    def along(self) -> Sequence[str]:
        return self.over

    def _conflicts(self) -> Iterator[str]:
        if self.choose and not self.over:
            yield 'over: choose= needs the axes to choose over, such as over=("lr",)'
        elif self.over and not self.choose:
            yield 'choose: over= needs the metric to choose by, such as choose="val_accuracy"'
        elif self.choose and self.choose == self.metric:
            yield (
                f"choose: the best by {self.metric} has too good a {self.metric} by chance, "
                "the more so the more there is to choose from; choose by another metric, such as "
                'choose="val_accuracy"'
            )

    def decide(self, results: Results) -> Verdict:
        comparison, chosen = self._compare(results)
        found = comparison.difference()
        return verdict_of(
            self,
            self._statement(results),
            f"difference {found}{chosen}",
            comparison,
            above(found, self.by),
        )

    def _compare(self, results: Results) -> tuple[Comparison, str]:
        """The two sides, each at its best where that is asked for, and what was chosen."""
        if not self.choose:
            return compare(results, self.metric, self.named), ""
        # Each side chooses for itself, as somebody who tunes both methods would.
        choices = [choose(results, self.choose, side, self.over) for side in self.named]
        sides = [
            Side(results, self.metric, labels, choice.cells)
            for labels, choice in zip(self.named, choices, strict=True)
        ]
        names = axes_by_name(results.plan.axes)
        # The two sides may have come to different values; that is what was asked for.
        comparison = pair(sides, apart=[names[axis] for axis in self.over])
        # Whatever makes a choice doubtful makes the claim undecided.
        problems = [*choices[0].problems, *choices[1].problems, *comparison.problems]
        comparison = replace(comparison, problems=tuple(dict.fromkeys(problems)))
        return comparison, f" ({choices[0].words} against {choices[1].words})"

    def _statement(self, results: Results) -> str:
        first, second, common = contrast(results, self.where, self.than)
        statement = f"{common}{self.metric} is higher at {first} than at {second}"
        if self.by > 0:
            statement += f" by more than {number(self.by)}"
        elif self.by:
            statement += f" or at most {number(-self.by)} lower"
        if self.choose:
            statement += f", each at its best {self.choose}"
        return statement


@dataclass(frozen=True, kw_only=True)
class Equal(TwoSides):
    """`metric` is the same at `where` and at `than`: the difference is less than `within` either
    way.
    """

    within: float = limited(above=0)

    def decide(self, results: Results) -> Verdict:
        comparison = compare(results, self.metric, self.named)
        found = comparison.difference()
        first, second, common = contrast(results, self.where, self.than)
        statement = (
            f"{common}{self.metric} at {first} is that at {second}, within {number(self.within)}"
        )
        decision = between(found, -self.within, self.within)
        return verdict_of(self, statement, f"difference {found}", comparison, decision)


@dataclass(frozen=True, kw_only=True)
class NoWorse(TwoSides):
    """`metric` at `where` is no worse than at `than`: on average at most `by` lower, and surely not
    as much as `never` lower.
    """

    by: float = limited(at_least=0)
    never: float = limited(above=0)

    def _conflicts(self) -> Iterator[str]:
        if self.by >= self.never:
            yield f"never has to be more than by={self.by!r}, got {self.never!r}"

    def decide(self, results: Results) -> Verdict:
        comparison = compare(results, self.metric, self.named)
        found = comparison.difference()
        first, second, common = contrast(results, self.where, self.than)
        statement = (
            f"{common}{self.metric} at {first} is at most {number(self.by)} "
            f"below that at {second}, and surely not {number(self.never)}"
        )
        # Only `never` is tested. A true difference of just -`by` is allowed, and no number of seeds
        # would show that it is not below: so the mean as found has to clear it.
        is_close = found.mean >= -self.by - found.rounding
        holds = p_above(found, -self.never) if is_close else 1.0
        decision = Decision(holds, p_below(found, -self.by))
        return verdict_of(self, statement, f"difference {found}", comparison, decision)


@dataclass(frozen=True, kw_only=True)
class Within(Claim):
    """`metric` is more than `above`, less than `below`, or both, where cells are as `where`
    says.
    """

    where: Labels
    above: float | None = None
    below: float | None = None

    def _conflicts(self) -> Iterator[str]:
        if self.above is None and self.below is None:
            yield "above or below: it needs a bar, or both"
        elif self.above is not None and self.below is not None and self.above >= self.below:
            yield f"below has to be more than above={self.above!r}, got {self.below!r}"

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where,)

    def decide(self, results: Results) -> Verdict:
        comparison = compare(results, self.metric, self.named)
        found = comparison.side()
        bars = []
        if self.above is not None:
            bars.append(f"more than {number(self.above)}")
        if self.below is not None:
            bars.append(f"less than {number(self.below)}")
        statement = f"{self.metric} is {' and '.join(bars)}{at(results, self.where)}"
        # A bar that nobody asked for is passed for certain.
        lower = -math.inf if self.above is None else self.above
        upper = math.inf if self.below is None else self.below
        decision = between(found, lower, upper)
        return verdict_of(self, statement, f"mean {found}", comparison, decision)


@dataclass(frozen=True, kw_only=True)
class GainHigher(OfSides):
    """What `metric` gains from cells as `without` says to cells as `gain` says is higher where they
    are also as `where` says than as `than` says.
    """

    gain: Labels
    without: Labels
    where: Labels
    than: Labels
    by: float = 0.0

    def _conflicts(self) -> Iterator[str]:
        for gain in ("gain", "without"):
            for side in ("where", "than"):
                yield from _named_twice(gain, getattr(self, gain), side, getattr(self, side))

    @property
    def named(self) -> Sequence[Labels]:
        # In the order in which `decide` takes the sides apart.
        return (
            {**self.where, **self.gain},
            {**self.where, **self.without},
            {**self.than, **self.gain},
            {**self.than, **self.without},
        )

    def decide(self, results: Results) -> Verdict:
        comparison = compare(results, self.metric, self.named)
        with_here, without_here, with_there, without_there = comparison.values  # [seeds] each
        here, there = with_here - without_here, with_there - without_there
        # Within a seed first: what it does to all sides, or to both gains, cancels.
        found = comparison.estimate(here - there)
        gains = f"gains {comparison.estimate(here)} and {comparison.estimate(there)}"
        evidence = f"difference {found}; {gains}"
        return verdict_of(
            self, self._statement(results), evidence, comparison, above(found, self.by)
        )

    def _statement(self, results: Results) -> str:
        high, low, common_gain = contrast(results, self.gain, self.without)
        first, second, common_side = contrast(results, self.where, self.than)
        statement = (
            f"{common_gain}{common_side}{self.metric} gains more from {low} to {high} "
            f"at {first} than at {second}"
        )
        return statement + (f" by {number(self.by)}" if self.by else "")


@dataclass(frozen=True, kw_only=True)
class Recovered(OfSides):
    """Of the distance of `metric` from `floor` to `ceiling`, cells as `where` says cover more than
    the share `above`. `at` adds to all three.

    Tested as where - floor - above (ceiling - floor) > 0, so that a seed with a small distance does
    not weigh more than others; where the distance itself is not shown, nothing is decided.
    """

    where: Labels
    floor: Labels
    ceiling: Labels
    above: float = limited(at_least=0)
    at: Labels = field(default_factory=dict)

    def _conflicts(self) -> Iterator[str]:
        for side in ("where", "floor", "ceiling"):
            yield from _named_twice("at", self.at, side, getattr(self, side))

    @property
    def named(self) -> Sequence[Labels]:
        return tuple({**self.at, **side} for side in (self.where, self.floor, self.ceiling))

    def decide(self, results: Results) -> Verdict:
        comparison = compare(results, self.metric, self.named)
        where, floor, ceiling = comparison.values  # [seeds] each
        gap = comparison.estimate(ceiling - floor)
        beyond = comparison.estimate(where - floor - self.above * (ceiling - floor))
        side, low, high = (text(results, one) for one in (self.where, self.floor, self.ceiling))
        statement = (
            f"{prefix(results, self.at)}{side} recovers more than {number(self.above)} "
            f"of the {self.metric} from {low} to {high}"
        )
        # A share of a gap that may be 0 could be anything. Without seeds it ends here, too.
        if above(gap, 0).verdict != REPRODUCED:
            evidence = f"there is no gap to recover: {gap}"
            return verdict_of(self, statement, evidence, comparison, UNSHOWN)
        # A ratio of means: in a mean of ratios, the seed with the smallest gap would rule.
        share = float(np.mean(where - floor)) / gap.mean
        evidence = f"share {share:.3f} of {gap}; beyond the bar {beyond}"
        return verdict_of(self, statement, evidence, comparison, above(beyond, 0))


@dataclass(frozen=True, kw_only=True)
class Keeps(OfSides):
    """Cells as `where` says keep at least the share `share` of the `metric` that cells as `of` says
    have.
    """

    where: Labels
    of: Labels
    share: float = limited(above=0)

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where, self.of)

    def decide(self, results: Results) -> Verdict:
        comparison = compare(results, self.metric, self.named)
        kept, full = comparison.values  # [seeds] each
        # Linear in the values, for the same reason as in `Recovered`: no ratio is tested.
        beyond = comparison.estimate(kept - self.share * full)
        first, second, common = contrast(results, self.where, self.of)
        statement = (
            f"{common}{first} keeps at least {number(self.share)} of the {self.metric} at {second}"
        )
        evidence = f"{comparison.side(0)} of {comparison.side(1)}; beyond the bar {beyond}"
        return verdict_of(self, statement, evidence, comparison, above(beyond, 0))


@dataclass(frozen=True, kw_only=True)
class AboveAll(OfSides):
    """`metric` is higher where cells are as `where` says than at each of several others: the sum of
    parts against every part.
    """

    where: Labels
    than: tuple[Labels, ...]

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where, *self.than)

    def decide(self, results: Results) -> Verdict:
        comparison = compare(results, self.metric, self.named)
        # By part, the differences to it; side 0 is `where`.
        found = [comparison.difference(0, place + 1) for place in range(len(self.than))]
        common = shared(results, self.where, *self.than)
        first, *others = (text(results, only_in(labels, common)) for labels in self.named)
        against = " and at ".join(others)
        statement = f"{prefix(results, common)}{self.metric} at {first} is above that at {against}"
        evidence = f"differences {' and '.join(map(str, found))}"
        decision = every([above(one, 0) for one in found])
        return verdict_of(self, statement, evidence, comparison, decision)
