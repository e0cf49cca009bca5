"""Claims that hold one level of a metric against another, or against a bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.analysis.claims.seedwise import apart, at, best, by_seed, difference, text
from orchestrator.analysis.results import Results, estimate
from orchestrator.spec.claim import Claim, Labels, Verdict


@dataclass(frozen=True, kw_only=True)
class Higher(Claim):
    """`metric` is higher where cells are as `where` says than where they are as `than` says, by
    more than `by`.

    With `choose`, of the settings that each side leaves open only those with the highest mean of
    that metric count: name one of validation data. With `pairs`, values of these axes make pairs as
    seeds do (categories, say), instead of being averaged within a seed; n counts the pairs. Pairs
    of one seed share what the seed draws, so the interval may be too narrow.
    """

    where: Labels
    than: Labels
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
        sides = [
            best(results, self.choose, side) if self.choose else side
            for side in (self.where, self.than)
        ]
        found = difference(results, self.metric, sides[0], sides[1], self.pairs)
        more = (
            f" by more than {self.by:g}"
            if self.by > 0
            else f" or at most {-self.by:g} lower"
            if self.by
            else ""
        )
        first, second, common = apart(self.where, self.than)
        claim = f"{common}{self.metric} is higher at {first} than at {second}{more}" + (
            f", each at its best {self.choose}" if self.choose else ""
        )
        chosen = [
            text({a: v for a, v in new.items() if a not in old}) or "one setting"
            for new, old in zip(sides, (self.where, self.than), strict=True)
        ]
        evidence = f"difference {found}" + (
            f" ({chosen[0]} against {chosen[1]})" if self.choose else ""
        )
        low, high = found.mean - found.half, found.mean + found.half
        return self.verdict(claim, evidence, found.n, holds=low > self.by, fails=high < self.by)


@dataclass(frozen=True, kw_only=True)
class Equal(Claim):
    """`metric` is the same at `where` and at `than`, `within` so much either way."""

    where: Labels
    than: Labels
    within: float

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where, self.than)

    def decide(self, results: Results) -> Verdict:
        found = difference(results, self.metric, self.where, self.than)
        first, second, common = apart(self.where, self.than)
        claim = f"{common}{self.metric} at {first} is that at {second}, within {self.within:g}"
        low, high = found.mean - found.half, found.mean + found.half
        return self.verdict(
            claim,
            f"difference {found}",
            found.n,
            holds=-self.within < low and high < self.within,
            fails=low > self.within or high < -self.within,
        )


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
        bars = [f"more than {self.above:g}"] * (self.above > -math.inf) + [
            f"less than {self.below:g}"
        ] * (self.below < math.inf)
        claim = f"{self.metric} is {' and '.join(bars)}{at(self.where)}"
        low, high = found.mean - found.half, found.mean + found.half
        return self.verdict(
            claim,
            f"mean {found}",
            found.n,
            holds=self.above < low and high < self.below,
            fails=high < self.above or low > self.below,
        )


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
        return tuple(
            {**place, **side}
            for place in (self.where, self.than)
            for side in (self.gain, self.without)
        )

    def decide(self, results: Results) -> Verdict:
        here, plain, there, plain_there = (
            by_seed(results, self.metric, labels) for labels in self.named
        )
        seeds = [s for s in here if s in plain and s in there and s in plain_there]
        found = estimate([(here[s] - plain[s]) - (there[s] - plain_there[s]) for s in seeds])
        high, low, common = apart(self.gain, self.without)
        first, second, more = apart(self.where, self.than)
        claim = (
            f"{common}{more}{self.metric} gains more from {low} to {high} at {first} than at {second}"
            + (f" by {self.by:g}" if self.by else "")
        )
        gains = [
            f"{estimate([one[s] - other[s] for s in seeds])}"
            for one, other in ((here, plain), (there, plain_there))
        ]
        return self.verdict(
            claim,
            f"difference {found}; gains {gains[0]} and {gains[1]}",
            found.n,
            holds=found.mean - found.half > self.by,
            fails=found.mean + found.half < self.by,
        )


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
        seeds = [s for s in where if s in floor and s in ceiling]
        gap = estimate([ceiling[s] - floor[s] for s in seeds])
        claim = f"{text(self.at)}: " if self.at else ""
        claim += f"{text(self.where)} recovers more than {self.above:g} of the {self.metric} from {text(self.floor)} to {text(self.ceiling)}"
        if any(ceiling[s] <= floor[s] for s in seeds):
            return self.verdict(
                claim,
                f"there is no gap to recover in every seed: {gap}",
                len(seeds),
                holds=False,
                fails=False,
            )
        found = estimate([(where[s] - floor[s]) / (ceiling[s] - floor[s]) for s in seeds])
        return self.verdict(
            claim,
            f"share {found} of {gap}",
            found.n,
            holds=found.mean - found.half > self.above,
            fails=found.mean + found.half < self.above,
        )


@dataclass(frozen=True, kw_only=True)
class NoWorse(Claim):
    """`metric` at `where` is no worse than at `than`: on average at most `by` lower, and surely (95
    % interval) not as much as `never` lower.
    """

    where: Labels
    than: Labels
    by: float
    never: float

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where, self.than)

    def decide(self, results: Results) -> Verdict:
        found = difference(results, self.metric, self.where, self.than)
        first, second, common = apart(self.where, self.than)
        claim = f"{common}{self.metric} at {first} is at most {self.by:g} below that at {second}, and surely not {self.never:g}"
        return self.verdict(
            claim,
            f"difference {found}",
            found.n,
            holds=found.mean >= -self.by and found.mean - found.half > -self.never,
            fails=found.mean + found.half < -self.by,
        )


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
        kept, whole = (by_seed(results, self.metric, labels) for labels in self.named)
        seeds = [s for s in kept if s in whole]
        found = estimate([kept[s] - self.share * whole[s] for s in seeds])
        first, second, common = apart(self.where, self.of)
        means = " of ".join(str(estimate([side[s] for s in seeds])) for side in (kept, whole))
        return self.verdict(
            f"{common}{first} keeps at least {self.share:g} of the {self.metric} at {second}",
            f"{means}; beyond the bar {found}",
            found.n,
            holds=found.mean - found.half > 0,
            fails=found.mean + found.half < 0,
        )


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
        first, *others = (
            text({axis: value for axis, value in labels.items() if axis not in common})
            for labels in self.named
        )
        claim = f"{f'{said}: ' if (said := text(common)) else ''}{self.metric} at {first} is above that at {' and at '.join(others)}"
        evidence = f"differences {' and '.join(map(str, found))}"
        return self.verdict(
            claim,
            evidence,
            min(one.n for one in found),
            holds=all(one.mean - one.half > 0 for one in found),
            fails=any(one.mean + one.half < 0 for one in found),
        )
