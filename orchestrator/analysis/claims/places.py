"""Where the cells of a claim's sides stand: by seed, and by what the sides share beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from orchestrator.analysis.claims.sides import Measured, Side
from orchestrator.analysis.results import Results
from orchestrator.spec.labels import ABSENT
from orchestrator.spec.trial import Cell

Setting = tuple[tuple[str, str], ...]  # keys of values by axis


class Place(NamedTuple):
    """A seed, and the values that cells have on the axes which the sides share."""

    seed: int | None
    setting: Setting


Held = dict[Place, list[Measured]]  # the cells of one side


@dataclass(frozen=True)
class Aligned:
    """The sides of a claim, each with its cells by place. `apart` are axes on which the sides may
    differ although they do not name them: those over which a claim has chosen.
    """

    sides: Sequence[Side]
    apart: frozenset[str] = frozenset()

    @property
    def results(self) -> Results:
        return self.sides[0].results

    @cached_property
    def compared(self) -> frozenset[str]:
        """Axes on which the sides are asked to differ."""
        named = {axis for side in self.sides for axis in side.wanted}
        first = self.sides[0].wanted
        # A side that does not name an axis takes all its values: it differs from one that does.
        return frozenset(
            axis
            for axis in named
            if any(side.wanted.get(axis) != first.get(axis) for side in self.sides)
        )

    @cached_property
    def shared(self) -> list[str]:
        """Axes that all sides have and none is asked to differ on: they are the same on all sides,
        or the sides do not match.
        """
        without = {"seed"} | self.compared | self.apart
        axes = [axis for axis in self.results.plan.axes if axis not in without]
        # An axis that one side's cells lack (a setting of another method) cannot match on both.
        return [axis for axis in axes if all(side.has(axis) for side in self.sides)]

    @cached_property
    def own(self) -> list[str]:
        """The other axes: those of a side alone, and those that are compared."""
        without = {"seed", *self.shared} | self.apart
        return [axis for axis in self.results.plan.axes if axis not in without]

    @cached_property
    def held(self) -> list[Held]:
        """By side and place the cells that stand there. A trial that draws nothing from its seed
        stands for every seed, whether or not others of its side do.
        """
        cells = [one.cell for side in self.sides for one in side.cells]
        drawn = dict.fromkeys(cell.trial.seed for cell in cells)
        seeds: list[int | None] = [seed for seed in drawn if seed is not None]
        found: list[Held] = []
        for side in self.sides:
            held: Held = {}
            for one in side.cells:
                setting = self.setting(one.cell, self.shared)
                seed = one.cell.trial.seed
                # Where no trial at all draws from a seed, there is one place, without any.
                for own_seed in (seeds or [None]) if seed is None else [seed]:
                    held.setdefault(Place(own_seed, setting), []).append(one)
            found.append(held)
        return found

    @cached_property
    def common(self) -> list[Place]:
        """The places where every side has a cell."""
        return [place for place in self.held[0] if all(place in held for held in self.held)]

    def setting(self, cell: Cell, axes: Sequence[str]) -> Setting:
        return setting_of(self.results, cell, axes)

    def in_words(self, seed: int | None, setting: Setting) -> str:
        """`split=pool seed=0`."""
        words = [setting_in_words(self.results, setting), "" if seed is None else f"seed={seed}"]
        return " ".join(filter(None, words)) or "all else"


def setting_of(results: Results, cell: Cell, axes: Sequence[str]) -> Setting:
    """The keys of a cell's values on some axes; '-' where it has no such axis."""
    return tuple((axis, results.key_of(cell, axis) or ABSENT) for axis in axes)


def setting_in_words(results: Results, setting: Setting) -> str:
    """`split=pool lr=0.1`, without axes that are absent."""
    words = []
    for axis, key in setting:
        if key != ABSENT:
            words.append(f"{results.axes[axis]}={results.text_of(axis, key)}")
    return " ".join(words)


def mean_of(cells: Sequence[Measured]) -> float:
    """The mean of the cells of one side at one place, each trial once: a union may hold the same
    cell twice, and several settings may be one trial. NaN where one has no value.
    """
    by_trial = {one.cell.trial.key: one.mean for one in cells}
    # NaN goes through the sum: a mean over the others would be of something else.
    return math.fsum(by_trial.values()) / len(by_trial)


def trials_of(cells: Sequence[Measured]) -> frozenset[str]:
    """Keys of the distinct trials behind some cells."""
    return frozenset(one.cell.trial.key for one in cells)
