"""One seed of every setting first, then the next: of each trial, in which round it is wanted."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from orchestrator.planning.plan import Plan


def rounds_of(plan: Plan) -> Mapping[str, int]:
    """The round of every trial, by key. In round 0 is the first seed of every setting (of cells
    that differ in seed only), as the sweep has them, with all that it needs; in round 1 the second.
    """
    axes = plan.values
    others = [name for name in axes.names if name != "seed"]
    seen: dict[Hashable, dict[int | None, int]] = {}  # by setting: the place of each of its seeds
    rounds: dict[str, int] = {}
    for cell in plan.cells:
        values = (axes.of(cell, name) for name in others)
        setting = tuple(None if value is None else value.key for value in values)
        seeds = seen.setdefault(setting, {})
        place = seeds.setdefault(cell.trial.seed, len(seeds))
        rounds[cell.trial.key] = min(place, rounds.get(cell.trial.key, place))
    # Needs come first in the plan, so backwards users are known before what they need.
    for key, trial in reversed(list(plan.trials.items())):
        for need in trial.needs.values():
            rounds[need.key] = min(rounds[key], rounds.get(need.key, rounds[key]))
    return rounds
