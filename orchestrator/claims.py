"""Claims: statements of a paper as tests on a sweep's results.

A verdict rests on differences paired by seed: other axes are averaged within a seed first, so n counts distinct seeds. `reproduced` and
`not reproduced` need a 95 % interval (Student's t) on one side of the bar; whatever the interval straddles is `undecided`, and so is anything with
fewer than two seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from orchestrator.errors import SweepError, nearest
from orchestrator.results import Estimate, Results, estimate, short_names, shown
from orchestrator.trial import Cell

Labels = Mapping[str, str]
REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"


@dataclass(frozen=True)
class Verdict:
    """What became of a claim: one of three verdicts, and in words what it rests on. `n` counts distinct seeds."""

    paper: str
    claim: str
    verdict: str
    evidence: str
    n: int


class Claim(Protocol):
    """One statement; `paper` is where it stands (such as C3), `named` are the axes and values it speaks of, `metric` what it is measured by."""

    metric: str

    @property
    def paper(self) -> str: ...

    @property
    def named(self) -> Sequence[Labels]: ...

    def decide(self, results: Results) -> Verdict: ...


@dataclass(frozen=True, kw_only=True)
class Higher:
    """`metric` is higher where cells are as `where` says than where they are as `than` says, by more than `by`."""

    metric: str
    where: Labels
    than: Labels
    by: float = 0.0
    paper: str = ""

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where, self.than)

    def decide(self, results: Results) -> Verdict:
        found = _difference(results, self.metric, self.where, self.than)
        more = f" by more than {self.by:g}" if self.by else ""
        first, second, common = _apart(self.where, self.than)
        claim = f"{common}{self.metric} is higher at {first} than at {second}{more}"
        low, high = found.mean - found.half, found.mean + found.half
        verdict = REPRODUCED if low > self.by else NOT_REPRODUCED if high < self.by else UNDECIDED
        return Verdict(self.paper, claim, verdict, f"difference {found}", found.n)


@dataclass(frozen=True, kw_only=True)
class Equal:
    """`metric` is the same at `where` and at `than`, `within` so much either way."""

    metric: str
    where: Labels
    than: Labels
    within: float
    paper: str = ""

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where, self.than)

    def decide(self, results: Results) -> Verdict:
        found = _difference(results, self.metric, self.where, self.than)
        first, second, common = _apart(self.where, self.than)
        claim = f"{common}{self.metric} at {first} is that at {second}, within {self.within:g}"
        low, high = found.mean - found.half, found.mean + found.half
        inside, outside = -self.within < low and high < self.within, low > self.within or high < -self.within
        return Verdict(self.paper, claim, REPRODUCED if inside else NOT_REPRODUCED if outside else UNDECIDED, f"difference {found}", found.n)


@dataclass(frozen=True, kw_only=True)
class Within:
    """`metric` is more than `above`, less than `below`, or both, where cells are as `where` says."""

    metric: str
    where: Labels
    above: float = -math.inf
    below: float = math.inf
    paper: str = ""

    @property
    def named(self) -> Sequence[Labels]:
        return (self.where,)

    def decide(self, results: Results) -> Verdict:
        found = estimate(list(_by_seed(results, self.metric, self.where).values()))
        bars = [f"more than {self.above:g}"] * (self.above > -math.inf) + [f"less than {self.below:g}"] * (self.below < math.inf)
        claim = f"{self.metric} is {' and '.join(bars)} at {_text(self.where)}"
        low, high = found.mean - found.half, found.mean + found.half
        inside, outside = self.above < low and high < self.below, high < self.above or low > self.below
        return Verdict(self.paper, claim, REPRODUCED if inside else NOT_REPRODUCED if outside else UNDECIDED, f"mean {found}", found.n)


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """`metric` falls (or rises) with the numbers on an axis: Spearman's correlation within each seed, their mean beyond `rho` (negative: falls)."""

    axis: str
    metric: str
    rho: float
    where: Labels = field(default_factory=dict)
    paper: str = ""

    @property
    def named(self) -> Sequence[Labels]:
        return ({self.axis: "", **self.where},)

    def decide(self, results: Results) -> Verdict:
        from scipy import stats

        claim = f"{self.metric} {'falls' if self.rho < 0 else 'rises'} with {self.axis}" + (f" at {_text(self.where)}" if self.where else "")
        values = sorted({v for cell in results.plan.cells if (v := _number(shown(cell, _full(results, self.axis)))) is not None})
        by_value = [_by_seed(results, self.metric, {**self.where, self.axis: f"{value:g}"}) for value in values]
        seeds = [s for s in (by_value[0] if by_value else ()) if all(s in other for other in by_value)]
        if len(values) < 3 or len(seeds) < 2:
            return Verdict(self.paper, claim, UNDECIDED, f"{len(values)} values of {self.axis} with {len(seeds)} seeds are too few", len(seeds))
        found = estimate([float(stats.spearmanr(values, [by[s] for by in by_value]).statistic) for s in seeds])
        sign = -1 if self.rho < 0 else 1
        far, near = sign * found.mean - found.half >= sign * self.rho, sign * found.mean + found.half < sign * self.rho
        means = ", ".join(f"{v:g} {np.mean([by[s] for s in seeds]):.3f}" for v, by in zip(values, by_value, strict=True))
        return Verdict(self.paper, claim, REPRODUCED if far else NOT_REPRODUCED if near else UNDECIDED, f"rho {found} (bar {self.rho:g}); {means}",
                       found.n)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DependsOn:
    """`metric` depends on an axis (Friedman's test over its values, seeds as blocks, 5 %). Finding nothing decides nothing."""

    axis: str
    metric: str
    paper: str = ""

    @property
    def named(self) -> Sequence[Labels]:
        return ({self.axis: ""},)

    def decide(self, results: Results) -> Verdict:
        from scipy import stats

        claim = f"{self.metric} depends on {self.axis}"
        values = list(dict.fromkeys(shown(cell, _full(results, self.axis)) for cell in results.plan.cells))
        by_value = [_by_seed(results, self.metric, {self.axis: value}) for value in values]
        seeds = [s for s in by_value[0] if all(s in other for other in by_value)]
        if len(values) < 3 or len(seeds) < 2:
            return Verdict(self.paper, claim, UNDECIDED, f"{len(values)} values of {self.axis} with {len(seeds)} seeds are too few", len(seeds))
        p = float(stats.friedmanchisquare(*([found[s] for s in seeds] for found in by_value)).pvalue)
        means = ", ".join(f"{v} {np.mean([found[s] for s in seeds]):.3f}" for v, found in zip(values, by_value, strict=True))
        return Verdict(self.paper, claim, REPRODUCED if p < 0.05 else UNDECIDED, f"p = {p:.2g}; {means}", len(seeds))


def check(claims: Sequence[Claim], cells: Sequence[Cell], axes: Sequence[str]) -> None:
    """Raises SweepError that lists every axis, value and metric that a claim speaks of and the sweep does not have."""
    names = {short: full for full, short in short_names(axes).items()} | {a: a for a in axes}
    metrics = {m.name for cell in cells for m in cell.trial.method.metrics}
    problems = []
    for claim in claims:
        if claim.metric not in metrics:
            problems.append(f"claim {claim.paper}: no method here has a metric {claim.metric!r}. {nearest(claim.metric, sorted(metrics))}")
        for axis, value in (pair for labels in claim.named for pair in labels.items()):
            if axis not in names:
                problems.append(f"claim {claim.paper}: the sweep has no axis {axis!r}. {nearest(axis, names)}")
            elif value and value not in (values := list(dict.fromkeys(shown(cell, names[axis]) for cell in cells))):
                problems.append(f"claim {claim.paper}: {axis} is never {value!r}. {nearest(value, values)}")
    if problems:
        raise SweepError("claims that cannot be decided by this sweep:", problems)


def verdicts(claims: Sequence[Claim], results: Results) -> Iterator[Verdict]:
    """Every claim's verdict on what is finished."""
    yield from (claim.decide(results) for claim in claims)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _full(results: Results, axis: str) -> str:
    return next((full for full, short in results.axes.items() if axis in (full, short)), axis)


def _by_seed(results: Results, metric: str, labels: Labels) -> dict[str, float]:
    """By seed the metric's mean over the cells with these labels; cells without a finite value are left out."""
    wanted = {_full(results, axis): value for axis, value in labels.items()}
    found: dict[str, list[float]] = {}
    for cell, result in results.cells():
        values = [m["value"] for m in result.metrics if m["name"] == metric and m["value"] is not None]
        if values and all(shown(cell, axis) == value for axis, value in wanted.items()):
            found.setdefault(str(cell.trial.seed), []).append(float(np.mean(values)))
    return {seed: float(np.mean(many)) for seed, many in found.items()}


def _difference(results: Results, metric: str, first: Labels, second: Labels) -> Estimate:
    one, other = _by_seed(results, metric, first), _by_seed(results, metric, second)
    return estimate([one[seed] - other[seed] for seed in one if seed in other])


def _apart(first: Labels, second: Labels) -> tuple[str, str, str]:
    """Both texts without what they share, and what they share, said first."""
    common = {axis: value for axis, value in first.items() if second.get(axis) == value}
    one, other = ({a: v for a, v in labels.items() if a not in common} for labels in (first, second))
    return _text(one), _text(other), f"{_text(common)}: " if common else ""


def _text(labels: Labels) -> str:
    return " ".join(f"{axis}={value}" for axis, value in labels.items())
