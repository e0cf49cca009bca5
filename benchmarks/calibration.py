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
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from simulated import Simulated

from orchestrator import Results, Store, Sweep, claims, make_plan, product
from orchestrator.analysis.claims import Claim
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
    """

    name: str
    claim: Claim
    null: tuple[float, ...]
    effect: tuple[float, ...]
    sides: tuple[str, ...] = ("reproduced", "not reproduced")
    designs: tuple[str, ...] = DESIGNS
    gain: float = 0.0  # of the effect, at level 1 of category 0 only


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
    yield Case("Within", claims.Within(**score, where=at(0), above=0.0), (0,), (1.5,))
    gain = claims.GainHigher(
        **score, gain=at(1), without=at(0), where={"category": 0}, than={"category": 1}
    )
    yield Case("GainHigher", gain, (0, 0), (0, 0), designs=("crossed",), gain=2.0)
    recovered = claims.Recovered(**score, where=at(1), floor=at(0), ceiling=at(2), above=0.5)
    yield Case("Recovered", recovered, (0, 10, 20), (0, 12, 20))
    keeps = claims.Keeps(**score, where=at(1), of=at(0), share=0.8)
    yield Case("Keeps", keeps, (20, 16), (20, 18))
    above_all = claims.AboveAll(**score, where=at(2), than=(at(0), at(1)))
    yield Case("AboveAll", above_all, (0, -20, 0), (0, 0, 2), both)
    yield Case("Ranked", claims.Ranked(**score, axis="level", rho=0.0), (0,) * 4, (0, 1, 2, 3))
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
    yield Case("Related", related, (0,) * LEVELS, tuple(2.0 * i for i in range(LEVELS)))
    chosen = claims.Higher(
        **score,
        where={"level": [0, 1]},
        than={"level": [2, 3]},
        choose="validation",
        over=("level",),
    )
    yield Case("Higher, each at its best", chosen, (0,) * 4, (2, 2, 0, 0))


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

    def draw(
        self, means: tuple[float, ...], random: np.random.Generator, gain: float = 0.0
    ) -> Results:
        """The results of one sweep; `validation` is noise, or goes with the means where they
        differ.
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
        validation = np.array(means)[:, None, None] + random.normal(size=(self.num_levels, 1, 1))
        for cell in self.plan.cells:
            method = cell.trial.method
            place = (method.level, method.category, cell.trial.seed)
            self._put(cell.trial.key, float(score[place]), float(validation[method.level, 0, 0]))
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
    null = [case.claim.decide(simulation.draw(case.null, random)) for _ in range(num_sweeps)]
    found = {side: sum(v.verdict == side for v in null) / num_sweeps for side in case.sides}
    few = max(1, num_sweeps // 4)
    effect = [
        case.claim.decide(simulation.draw(case.effect, random, case.gain)) for _ in range(few)
    ]
    wanted = case.sides[0]
    return found, sum(verdict.verdict == wanted for verdict in effect) / few


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
