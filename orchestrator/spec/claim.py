"""What a claim is, and what becomes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import SweepError, nearest
from orchestrator.spec.labels import short_names, shown
from orchestrator.spec.trial import Cell

if TYPE_CHECKING:
    from orchestrator.analysis.results import Results

Labels = Mapping[str, str | tuple[str, ...]]
"""Values as tables show them, by axis; and by what a metric is logged by, such as `task`. Of
several values, all count and are averaged.
"""

REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"


@dataclass(frozen=True)
class Verdict:
    """What became of a claim: one of three verdicts, and in words what it rests on. `n` counts
    distinct seeds.
    """

    paper: str
    claim: str
    verdict: str
    evidence: str
    n: int


@dataclass(frozen=True, kw_only=True)
class Claim(ABC):
    """One statement about a metric; `paper` is where it stands (such as C3)."""

    metric: str
    paper: str = ""

    @property
    def measured(self) -> Sequence[str]:
        """Metrics that it is decided by."""
        return (self.metric,)

    @property
    @abstractmethod
    def named(self) -> Sequence[Labels]:
        """Axes and values that it speaks of; a value may be "" where only the axis is meant."""

    @abstractmethod
    def decide(self, results: Results) -> Verdict:
        """Its verdict on what is finished."""

    def verdict(self, claim: str, evidence: str, n: int, *, holds: bool, fails: bool) -> Verdict:
        """`reproduced` where it holds, `not reproduced` where it fails, `undecided` where neither
        is shown.
        """
        evidence = evidence if n else "nothing to compare yet"
        return Verdict(
            self.paper,
            claim,
            REPRODUCED if holds else NOT_REPRODUCED if fails else UNDECIDED,
            evidence,
            n,
        )


def check(claims: Sequence[Claim], cells: Sequence[Cell], axes: Sequence[str]) -> None:
    """Raises SweepError that lists every axis, value and metric that a claim speaks of and the
    sweep does not have.
    """
    names = {short: full for full, short in short_names(axes).items()} | {a: a for a in axes}
    metrics = {m.name: m for cell in cells for m in cell.trial.method.metrics}
    problems = []
    for claim in claims:
        missing = [m for m in claim.measured if m not in metrics]
        problems += [
            f"claim {claim.paper}: no method here has a metric {m!r}. {nearest(m, sorted(metrics))}"
            for m in missing
        ]
        logged_by = {label for m in claim.measured if m in metrics for label in metrics[m].by}
        for axis, value in (
            pair
            for labels in claim.named
            for pair in labels.items()
            if pair[0] in names or pair[0] not in logged_by
        ):
            if axis not in names:
                problems.append(
                    f"claim {claim.paper}: the sweep has no axis {axis!r}. {nearest(axis, [*names, *logged_by])}"
                )
                continue
            values = list(dict.fromkeys(shown(cell, names[axis]) for cell in cells))
            problems += [
                f"claim {claim.paper}: {axis} is never {one!r}. {nearest(one, values)}"
                for one in several(value)
                if one and one not in values
            ]
    if problems:
        raise SweepError("claims that cannot be decided by this sweep:", problems)


def verdicts(claims: Sequence[Claim], results: Results) -> Iterator[Verdict]:
    """Every claim's verdict on what is finished."""
    yield from (claim.decide(results) for claim in claims)


def several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """One value or several as several."""
    return value if isinstance(value, tuple) else (value,)
