"""Claims that hold one level of a metric against another, or against a bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.analysis.claims.deciding import UNSHOWN, Decision, above, between, every
from orchestrator.analysis.claims.seedwise import (
    at,
    best,
    by_seed,
    contrast,
    difference,
    only_in,
    prefix,
    shared,
    text,
)
from orchestrator.analysis.results import Results, estimate
from orchestrator.spec.claim import Claim, Labels, Verdict


@dataclass(frozen=True, kw_only=True)
class TwoSides(Claim):
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

    With `choose`, of the settings that each side leaves open only those with the highest mean of
    that metric count: name one of validation data. With `pairs`, values of these axes make pairs as
    seeds do (categories, say), instead of being averaged within a seed; n counts the pairs. Pairs
    of one seed share what the seed draws, so the interval may be too narrow.
    """

    by: float = 0.0
    choose: str = ""
    pairs: tuple[str, ...] = ()

    @property
    def measured(self) -> Sequence[str]:
        return (self.metric, self.choose) if self.choose else (self.metric,)

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where, self.than, dict.fromkeys(self.pairs, ""))

    def decide(self, results: Results) -> Verdict:
        where, than = self.where, self.than
        if self.choose:
            where = best(results, self.choose, self.where)
            than = best(results, self.choose, self.than)
        found = difference(results, self.metric, where, than, self.pairs)
        evidence = f"difference {found}"
        if self.choose:
            chosen = text(only_in(where, self.where)) or "one setting"
            against = text(only_in(than, self.than)) or "one setting"
            evidence += f" ({chosen} against {against})"
        return self.verdict(self._statement(), evidence, found.n, **above(found, self.by))

    def _statement(self) -> str:
        first, second, common = contrast(self.where, self.than)
        statement = f"{common}{self.metric} is higher at {first} than at {second}"
        if self.by > 0:
            statement += f" by more than {self.by:g}"
        elif self.by:
            statement += f" or at most {-self.by:g} lower"
        if self.choose:
            statement += f", each at its best {self.choose}"
        return statement


@dataclass(frozen=True, kw_only=True)
class Equal(TwoSides):
    """`metric` is the same at `where` and at `than`: the difference is less than `within` either
    way.
    """

    within: float

    def decide(self, results: Results) -> Verdict:
        found = difference(results, self.metric, self.where, self.than)
        first, second, common = contrast(self.where, self.than)
        claim = f"{common}{self.metric} at {first} is that at {second}, within {self.within:g}"
        decision = between(found, -self.within, self.within)
        return self.verdict(claim, f"difference {found}", found.n, **decision)


@dataclass(frozen=True, kw_only=True)
class NoWorse(TwoSides):
    """`metric` at `where` is no worse than at `than`: on average at most `by` lower, and surely (95
    % interval) not as much as `never` lower.
    """

    by: float
    never: float

    def decide(self, results: Results) -> Verdict:
        found = difference(results, self.metric, self.where, self.than)
        first, second, common = contrast(self.where, self.than)
        claim = (
            f"{common}{self.metric} at {first} is at most {self.by:g} below that at {second}, "
            f"and surely not {self.never:g}"
        )
        decision = Decision(
            holds=found.mean >= -self.by and found.low > -self.never,
            fails=found.high < -self.by,
        )
        return self.verdict(claim, f"difference {found}", found.n, **decision)


@dataclass(frozen=True, kw_only=True)
class Within(Claim):
    """`metric` is more than `above`, less than `below`, or both, where cells are as `where`
    says.
    """

    where: Labels
    above: float = -math.inf
    below: float = math.inf

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where,)

    def decide(self, results: Results) -> Verdict:
        found = estimate(list(by_seed(results, self.metric, self.where).values()))
        bars = []
        if self.above > -math.inf:
            bars.append(f"more than {self.above:g}")
        if self.below < math.inf:
            bars.append(f"less than {self.below:g}")
        claim = f"{self.metric} is {' and '.join(bars)}{at(self.where)}"
        decision = between(found, self.above, self.below)
        return self.verdict(claim, f"mean {found}", found.n, **decision)


@dataclass(frozen=True, kw_only=True)
class GainHigher(Claim):
    """What `metric` gains from cells as `without` says to cells as `gain` says is higher where they
    are also as `where` says than as `than` says.
    """

    gain: Labels
    without: Labels
    where: Labels
    than: Labels
    by: float = 0.0

    @property
    def named(self) -> Sequence[Labels]:
        return (
            {**self.where, **self.gain},
            {**self.where, **self.without},
            {**self.than, **self.gain},
            {**self.than, **self.without},
        )

    def decide(self, results: Results) -> Verdict:
        with_here, without_here, with_there, without_there = (
            by_seed(results, self.metric, labels) for labels in self.named
        )
        seeds = shared(with_here, without_here, with_there, without_there)
        gains_here = [with_here[s] - without_here[s] for s in seeds]
        gains_there = [with_there[s] - without_there[s] for s in seeds]
        pairs = zip(gains_here, gains_there, strict=True)
        found = estimate([here - there for here, there in pairs])
        evidence = f"difference {found}; gains {estimate(gains_here)} and {estimate(gains_there)}"
        return self.verdict(self._statement(), evidence, found.n, **above(found, self.by))

    def _statement(self) -> str:
        high, low, common_gain = contrast(self.gain, self.without)
        first, second, common_side = contrast(self.where, self.than)
        statement = (
            f"{common_gain}{common_side}{self.metric} gains more from {low} to {high} "
            f"at {first} than at {second}"
        )
        return statement + (f" by {self.by:g}" if self.by else "")


@dataclass(frozen=True, kw_only=True)
class Recovered(Claim):
    """Of the distance of `metric` from `floor` to `ceiling`, cells as `where` says cover more than
    the share `above`. `at` adds to all three.
    """

    where: Labels
    floor: Labels
    ceiling: Labels
    above: float
    at: Labels = field(default_factory=dict)

    @property
    def named(self) -> Sequence[Labels]:
        return tuple({**self.at, **side} for side in (self.where, self.floor, self.ceiling))

    def decide(self, results: Results) -> Verdict:
        where, floor, ceiling = (by_seed(results, self.metric, labels) for labels in self.named)
        seeds = shared(where, floor, ceiling)
        gap = estimate([ceiling[s] - floor[s] for s in seeds])
        claim = (
            f"{prefix(self.at)}{text(self.where)} recovers more than {self.above:g} "
            f"of the {self.metric} from {text(self.floor)} to {text(self.ceiling)}"
        )
        if any(ceiling[s] <= floor[s] for s in seeds):
            evidence = f"there is no gap to recover in every seed: {gap}"
            return self.verdict(claim, evidence, len(seeds), **UNSHOWN)
        found = estimate([(where[s] - floor[s]) / (ceiling[s] - floor[s]) for s in seeds])
        return self.verdict(claim, f"share {found} of {gap}", found.n, **above(found, self.above))


@dataclass(frozen=True, kw_only=True)
class Keeps(Claim):
    """Cells as `where` says keep at least the share `share` of the `metric` that cells as `of` says
    have.
    """

    where: Labels
    of: Labels
    share: float

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where, self.of)

    def decide(self, results: Results) -> Verdict:
        kept, full = (by_seed(results, self.metric, labels) for labels in self.named)
        seeds = shared(kept, full)
        beyond = estimate([kept[s] - self.share * full[s] for s in seeds])
        first, second, common = contrast(self.where, self.of)
        claim = f"{common}{first} keeps at least {self.share:g} of the {self.metric} at {second}"
        mean_kept, mean_full = (estimate([side[s] for s in seeds]) for side in (kept, full))
        evidence = f"{mean_kept} of {mean_full}; beyond the bar {beyond}"
        return self.verdict(claim, evidence, beyond.n, **above(beyond, 0))


@dataclass(frozen=True, kw_only=True)
class AboveAll(Claim):
    """`metric` is higher where cells are as `where` says than at each of several others: the sum of
    parts against every part.
    """

    where: Labels
    than: tuple[Labels, ...]

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where, *self.than)

    def decide(self, results: Results) -> Verdict:
        found = [difference(results, self.metric, self.where, other) for other in self.than]
        common = {
            axis: value
            for axis, value in self.where.items()
            if all(other.get(axis) == value for other in self.than)
        }
        first, *others = (text(only_in(labels, common)) for labels in self.named)
        claim = (
            f"{prefix(common)}{self.metric} at {first} is above that at {' and at '.join(others)}"
        )
        evidence = f"differences {' and '.join(map(str, found))}"
        decision = every([above(one, 0) for one in found])
        return self.verdict(claim, evidence, min(one.n for one in found), **decision)
