"""How often does a claim get a verdict where there is nothing to find?

Every kind of claim is decided on simulated sweeps in which it sits exactly on its bar: 2,000 sweeps
for each number of seeds and each design. A verdict on one side or the other is a false one, and may
come in 2.5 % of the sweeps a side. `balanced`: one axis and seeds. `crossed`: a second axis with
three fixed values, and half of the variance of a difference shared by all values of a seed. The
power is the share of sweeps in which a stated effect is found.

    python benchmarks/calibration.py [--sweeps 2000] [--seeds 3 5 10] [--claims Spread Related ...]

Runs for some minutes on one core; needs neither Ray nor MLflow. Exits with 1 where a rate is above
its bar.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats
from simulated import Simulated

from orchestrator import Results, Store, Sweep, claims, make_plan, product
from orchestrator.analysis.claims import Claim, verdicts
from orchestrator.parts.result import Result

SEED = 20261125  # of the simulation, fixed before the first look
BAR = 0.04  # of false verdicts a side, in each line of the table; 0.025 is what is promised
LEVELS = 6
CATEGORIES = 3
DESIGNS = ("balanced", "crossed")


@dataclass(frozen=True)
class Case:
    """A kind of claim: the claim, the levels it needs, the true means of these levels where it sits
    on its bar (`null`) and where it holds (`effect`), and which false verdicts can come of it.

    With `scaled`, both are in standard deviations of a seed's mean, which is less noisy where a
    seed has several categories. `related` is the expected correlation of the two metrics under the
    null. A `family` is decided together, by what Holm's correction leaves of any of its claims.
    """

    name: str
    claim: Claim
    null: tuple[float, ...]
    effect: tuple[float, ...]
    sides: tuple[str, ...] = ("reproduced", "not reproduced")
    designs: tuple[str, ...] = DESIGNS
    gain: float = 0.0  # of the effect, at level 1 of category 0 only
    gain_at_bar: float = 0.0  # of the null, in the same place
    scaled: bool = False
    related: float = 0.0
    family: tuple[Claim, ...] = ()

    def found(self, results: Results) -> set[str]:
        """The verdicts that come of it."""
        if self.family:
            return {verdict.after_holm for verdict in verdicts(self.family, results)}
        return {self.claim.decide(results).verdict}


def at(level: int) -> dict[str, int]:
    return {"level": level}


def cases() -> Iterator[Case]:
    """Standard deviation of the noise is 1; the effects are stated in it."""
    score = {"metric": "score"}
    both = ("reproduced", "not reproduced")
    yield Case("Higher", claims.Higher(**score, where=at(1), than=at(0)), (0, 0), (0, 1.5))
    higher_by = claims.Higher(**score, where=at(1), than=at(0), by=1.0)
    yield Case("Higher, by 1", higher_by, (0, 1), (0, 2.5))
    equal = claims.Equal(**score, where=at(1), than=at(0), within=2.0)
    yield Case("Equal, at its bar", equal, (0, 2), (0, 0))
    no_worse = claims.NoWorse(**score, where=at(1), than=at(0), by=0.5, never=2.0)
    yield Case("NoWorse, at `never`", no_worse, (2, 0), (0, 0), ("reproduced",))
    yield Case("NoWorse, at `by`", no_worse, (0.5, 0), (0, 0), ("not reproduced",))
    between = claims.Within(**score, where=at(0), above=-3.0, below=0.0)
    yield Case("Within, at its upper bar", between, (0,), (-1.5,))
    yield Case("Within", claims.Within(**score, where=at(0), above=0.0), (0,), (1.5,))
    gain = claims.GainHigher(
        **score, gain=at(1), without=at(0), where={"category": 0}, than={"category": 1}
    )
    yield Case("GainHigher", gain, (0, 0), (0, 0), designs=("crossed",), gain=2.0)
    yield Case(
        "GainHigher, by 1",
        dataclasses.replace(gain, by=1.0),
        (0, 0),
        (0, 0),
        designs=("crossed",),
        gain=3.0,
        gain_at_bar=1.0,
    )
    recovered = claims.Recovered(**score, where=at(1), floor=at(0), ceiling=at(2), above=0.5)
    yield Case("Recovered", recovered, (0, 10, 20), (0, 12, 20))
    keeps = claims.Keeps(**score, where=at(1), of=at(0), share=0.8)
    yield Case("Keeps", keeps, (20, 16), (20, 18))
    above_all = claims.AboveAll(**score, where=at(2), than=(at(0), at(1)))
    yield Case("AboveAll", above_all, (0, -20, 0), (0, 0, 2), both)
    rises = claims.Ranked(**score, axis="level", how="rises")
    yield Case("Ranked", rises, (0,) * 4, (0, 1, 2, 3))
    for bar, few in ((0.5, 4), (0.8, 4), (0.8, 6)):
        falls = claims.Ranked(**score, axis="level", how="falls", rho=bar)
        means = ordered_means(few, -bar)
        effect = tuple(3.0 * (few - level) for level in range(few))
        yield Case(f"Ranked, {few} at {bar:g}", falls, means, effect, scaled=True)
    depends = claims.DependsOn(**score, axis="level")
    yield Case("DependsOn", depends, (0,) * 4, (0, 0, 0, 2), ("reproduced",))
    spread = claims.Spread(**score, axis="level", above=0.0)
    yield Case("Spread", spread, (0,) * 4, (0, 0, 0, 2), ("reproduced",))
    yield Case(
        "Spread, above 2",
        claims.Spread(**score, axis="level", above=2.0),
        (0, 1, 1, 2),
        (0, 1, 1, 4),
    )
    varies = claims.Varies(**score, axis="level")
    yield Case("Varies", varies, (0,) * 4, (0, 0, 0, 2), ("reproduced",))
    varies_by = claims.Varies(**score, axis="level", above=1.0)
    yield Case("Varies, above 1", varies_by, (-1.2247, 0, 0, 1.2247), (-3, 0, 0, 3))
    related = claims.Related(**score, axis="level", where={}, how="with", other="validation", at={})
    apart = tuple(2.0 * level for level in range(LEVELS))
    yield Case("Related", related, (0,) * LEVELS, apart)
    for bar in (0.3, 0.5):
        yield Case(
            f"Related, above {bar:g}",
            dataclasses.replace(related, rho=bar),
            (0,) * LEVELS,
            apart,
            related=bar,
        )
    against = dataclasses.replace(related, how="against", rho=0.3)
    sides = ("not reproduced", "reproduced")  # its effect goes the other way
    yield Case("Related, against", against, (0,) * LEVELS, apart, sides, related=-0.3)
    family = tuple(claims.Higher(**score, where=at(i + 1), than=at(i)) for i in (0, 2, 4))
    yield Case("three, after Holm", family[0], (0,) * 6, (0, 2, 0, 0, 0, 0), both, family=family)
    chosen = claims.Higher(
        **score,
        where={"level": [0, 1]},
        than={"level": [2, 3]},
        choose="validation",
        over=("level",),
    )
    yield Case("Higher, each at its best", chosen, (0,) * 4, (2, 2, 0, 0))


def ordered_means(num_levels: int, rho: float) -> tuple[float, ...]:
    """Means in equal steps, such that Spearman's correlation of levels and values with noise of
    standard deviation 1 is `rho` in expectation.
    """
    levels = np.arange(num_levels) - (num_levels - 1) / 2

    def expected(step: float) -> float:
        means = step * levels
        # A value's rank is how many others are below it, each with this probability.
        below = stats.norm.cdf((means[:, None] - means[None, :]) / np.sqrt(2.0))
        return float(levels @ below.sum(axis=1) / (levels @ levels))

    step = optimize.brentq(lambda step: expected(step) - rho, -20.0, 20.0)
    return tuple(step * levels)


def normal_correlation(num_values: int, rho: float) -> float:
    """Pearson's correlation of so many pairs of normal values whose Spearman's is `rho` in
    expectation.
    """

    def expected(r: float) -> float:
        inner = np.arcsin(r) + (num_values - 2) * np.arcsin(r / 2)
        return float(6 / (np.pi * (num_values + 1)) * inner)

    return float(optimize.brentq(lambda r: expected(r) - rho, -1.0, 1.0))


@dataclass
class Simulation:
    """Results of one design, drawn anew for each sweep."""

    num_levels: int
    num_seeds: int
    design: str

    def __post_init__(self) -> None:
        grid = Simulated.grid(
            level=list(range(self.num_levels)),
            category=list(range(CATEGORIES if self.design == "crossed" else 1)),
        )
        cells = product(grid, seed=list(range(self.num_seeds)))
        sweep = Sweep(question="?", cells=cells, expect=len(cells))
        with tempfile.TemporaryDirectory() as folder:
            self.store = Store(folder)
            self.store.prepare()
            self.plan = make_plan("simulated", sweep, self.store)
            self.results = Results(self.plan, self.store)
        self.categories = np.array([0.0, 1.0, -1.0])
        # Of a seed's mean over its categories: half of the variance is theirs, half is the seed's.
        self.deviation = np.sqrt(0.5 + 0.5 / CATEGORIES) if self.design == "crossed" else 1.0

    def draw(
        self,
        means: tuple[float, ...],
        random: np.random.Generator,
        gain: float = 0.0,
        related: float = 0.0,
    ) -> Results:
        """The results of one sweep; `validation` is noise, goes with the means where they differ,
        or has the expected correlation `related` with the score of each level.
        """
        crossed = self.design == "crossed"
        shape = (self.num_levels, CATEGORIES if crossed else 1, self.num_seeds)
        own = random.normal(size=shape)  # [levels, categories, seeds]
        if crossed:  # half of the variance of a seed's level is shared by all its categories
            shared = random.normal(size=(self.num_levels, 1, self.num_seeds))
            own = np.sqrt(0.5) * own + np.sqrt(0.5) * shared
        seeds = 3.0 * random.normal(size=(1, 1, self.num_seeds))
        if len(means) == 1:  # a level against a bar is not paired: seeds bring nothing of their own
            seeds = np.zeros_like(seeds)
        score = own + seeds + np.array(means)[:, None, None]
        if crossed:
            score = score + self.categories[None, :, None]
        if gain:
            score[1, 0] += gain
        validation = np.array(means) + random.normal(size=self.num_levels)  # [levels]
        if related:
            level = own.mean(axis=(1, 2)) * np.sqrt(self.num_seeds) / self.deviation
            r = normal_correlation(self.num_levels, related)
            validation = r * level + np.sqrt(1 - r**2) * random.normal(size=self.num_levels)
        for cell in self.plan.cells:
            method = cell.trial.method
            place = (method.level, method.category, cell.trial.seed)
            self._put(cell.trial.key, float(score[place]), float(validation[method.level]))
        return self.results

    def _put(self, key: str, score: float, validation: float) -> None:
        metrics = [
            {"name": "score", "value": score, "labels": {}},
            {"name": "validation", "value": validation, "labels": {}},
        ]
        record = {"key": key, "outcome": "done", "metrics": metrics, "matrices": [], "needs": {}}
        self.results.by_key[key] = Result(self.store, record)


def rates(
    case: Case, design: str, num_seeds: int, num_sweeps: int
) -> tuple[dict[str, float], float]:
    """Rates of false verdicts by verdict, and the power at the stated effect."""
    simulation = Simulation(len(case.null), num_seeds, design)
    random = np.random.default_rng([SEED, num_seeds, DESIGNS.index(design), *map(ord, case.name)])
    unit = simulation.deviation if case.scaled else 1.0
    means, effect = (tuple(unit * one for one in side) for side in (case.null, case.effect))
    null = [
        case.found(simulation.draw(means, random, case.gain_at_bar, case.related))
        for _ in range(num_sweeps)
    ]
    false = {side: sum(side in one for one in null) / num_sweeps for side in case.sides}
    few = max(1, num_sweeps // 4)
    found = [case.found(simulation.draw(effect, random, case.gain)) for _ in range(few)]
    wanted = case.sides[0]
    return false, sum(wanted in one for one in found) / few


def measure(
    num_sweeps: int,
    seeds: list[int],
    kinds: list[str] | None = None,
    report: Callable[[str], None] = print,
) -> list[tuple[str, float]]:
    """All lines of the table, or those of some kinds; the false rates by line."""
    report(
        f"{'claim':25} {'design':9} {'seeds':>5}  {'false rep.':>10} {'false not':>10} {'power':>6}"
    )
    found = []
    for case, design, num_seeds in itertools.product(cases(), DESIGNS, seeds):
        if design not in case.designs or (kinds and case.name not in kinds):
            continue
        false, power = rates(case, design, num_seeds, num_sweeps)
        shown = [
            f"{false[side]:.3f}" if side in false else "-"
            for side in ("reproduced", "not reproduced")
        ]
        report(
            f"{case.name:25} {design:9} {num_seeds:>5}  {shown[0]:>10} {shown[1]:>10} {power:>6.2f}"
        )
        found += [
            (f"{case.name} {design} {num_seeds} {side}", rate) for side, rate in false.items()
        ]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sweeps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10])
    parser.add_argument("--claims", nargs="+", metavar="NAME", help="these lines only")
    options = parser.parse_args()
    found = measure(options.sweeps, options.seeds, options.claims)
    worst, rate = max(found, key=lambda pair: pair[1])
    print(f"worst: {worst}")
    print(f"CALIBRATION: {rate:.4f} (bar {BAR:.4f})")
    return int(rate > BAR)


if __name__ == "__main__":
    sys.exit(main())
