"""A claim: one statement of a paper, as a test on a sweep's results; and its verdict.

The kinds of claims stand in `orchestrator.analysis.claims`; what a sweep checks of any of them
before it runs is here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import SweepError, nearest
from orchestrator.spec.declarations import Metric
from orchestrator.spec.labels import axes_by_name, shown
from orchestrator.spec.trial import Cell

if TYPE_CHECKING:
    from orchestrator.analysis.results import Results

Labels = Mapping[str, str | tuple[str, ...]]
"""Values as tables show them, by axis or by what a metric is logged by (such as `task`). Where an
axis has a tuple of values, they are averaged.
"""

REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    `paper` is where the statement stands, `claim` the statement in words, `verdict` one of
    `REPRODUCED`, `NOT_REPRODUCED` and `UNDECIDED`, `evidence` in words what it rests on, and `n`
    the number of distinct seeds in it.
    """

    paper: str
    claim: str
    verdict: str
    evidence: str
    n: int


@dataclass(frozen=True, kw_only=True)
class Claim(ABC):
    """One statement about a metric; `paper` says where it stands (such as C3)."""

    metric: str
    paper: str = ""

    @property
    def measured(self) -> Sequence[str]:
        """The metrics that decide it."""
        return (self.metric,)

    @property
    @abstractmethod
    def named(self) -> Sequence[Labels]:
        """The axes and values that it speaks of; a value is "" where only the axis is meant."""

    @abstractmethod
    def decide(self, results: Results) -> Verdict:
        """The verdict on the cells that are finished."""

    def verdict(self, claim: str, evidence: str, n: int, *, holds: bool, fails: bool) -> Verdict:
        """The verdict on the statement in words (`claim`): reproduced where it holds, not
        reproduced where it fails, undecided where neither is shown.
        """
        decided = UNDECIDED
        if holds:
            decided = REPRODUCED
        elif fails:
            decided = NOT_REPRODUCED
        return Verdict(self.paper, claim, decided, evidence if n else "nothing to compare yet", n)


def check(claims: Sequence[Claim], cells: Sequence[Cell], axes: Sequence[str]) -> None:
    """Raises SweepError that lists every axis, value and metric that a claim speaks of and the
    sweep does not have.
    """
    metrics = {m.name: m for cell in cells for m in cell.trial.method.metrics}
    names = axes_by_name(axes)
    problems: list[str] = []
    for claim in claims:
        problems += _unknown_metrics(claim, metrics)
        logged_by = {by for name in claim.measured if name in metrics for by in metrics[name].by}
        for labels in claim.named:
            for name, value in labels.items():
                if name in names:
                    problems += _unknown_values(claim, name, value, names[name], cells)
                elif name not in logged_by:
                    hint = nearest(name, [*names, *logged_by])
                    problems.append(f"claim {claim.paper}: the sweep has no axis {name!r}. {hint}")
    if problems:
        raise SweepError("claims that cannot be decided by this sweep:", problems)


def _unknown_metrics(claim: Claim, metrics: Mapping[str, Metric]) -> Iterator[str]:
    for name in claim.measured:
        if name not in metrics:
            hint = nearest(name, sorted(metrics))
            yield f"claim {claim.paper}: no method here has a metric {name!r}. {hint}"


def _unknown_values(
    claim: Claim, name: str, value: str | tuple[str, ...], axis: str, cells: Sequence[Cell]
) -> Iterator[str]:
    """Values of an axis, which the claim calls `name`, that no cell has."""
    values = list(dict.fromkeys(shown(cell, axis) for cell in cells))
    for wanted in several(value):
        if wanted and wanted not in values:
            hint = nearest(wanted, values)
            yield f"claim {claim.paper}: {name} is never {wanted!r}. {hint}"


def verdicts(claims: Sequence[Claim], results: Results) -> Iterator[Verdict]:
    """The verdict on each claim, from the cells that are finished."""
    yield from (claim.decide(results) for claim in claims)


def several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """A value, or a tuple of values, as a tuple."""
    return value if isinstance(value, tuple) else (value,)
