"""What a claim is, and what becomes of it. How claims are decided is told by
`orchestrator.analysis.claims`.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InputError, SweepError, nearest
from orchestrator.spec.labels import Axes, axes_by_name
from orchestrator.spec.trial import Cell

if TYPE_CHECKING:
    from orchestrator.analysis.results import Results

REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"
ABSENT = "-"  # as a value: cells that have no such axis

Labels = Mapping[str, Any]
"""Cells, by the values of their axes: as they are written in the grid (`10`, `True`,
`FineTune(epochs=0)`), or as tables show them where that leaves no doubt (`"common"`). A list means
several values, which are averaged; `"-"` means cells without the axis. A name that is no axis is
one that the metric is logged by, such as `task`.
"""


@dataclass(frozen=True)
class Entry:
    """One entry of a matrix, in the place of a metric: `entry("accuracy", row="a", column="b")`."""

    matrix: str
    row: str
    column: str

    def __str__(self) -> str:
        return f"{self.matrix}[{self.row}, {self.column}]"


def entry(matrix: str, *, row: str, column: str) -> Entry:
    """What a claim is about where that is one entry of a matrix, named by its row and column."""
    return Entry(matrix, row, column)


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    `verdict` is one of three, `evidence` says in words what it rests on, and `n` counts distinct
    seeds. `p` is the probability of evidence as clear as this if the verdict were wrong, or None
    where nothing was tested. `num_tested` claims of the sweep were tested; `after_holm` is the
    verdict that is left when all of them are taken together (Holm's correction).
    """

    paper: str
    claim: str
    verdict: str
    evidence: str
    n: int
    p: float | None = None
    num_tested: int = 0
    after_holm: str = UNDECIDED


@dataclass(frozen=True, kw_only=True)
class Claim(ABC):
    """One statement about a metric, or about an entry of a matrix; `paper` is where it stands (such
    as C3).
    """

    metric: str | Entry
    paper: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_line", _line_outside())
        wrong = list(self._wrong_types())
        if wrong:
            raise InputError(f"{self.title}: it cannot be used as written:", wrong)

    def _wrong_types(self) -> Iterator[str]:
        if not isinstance(self.metric, str | Entry):
            yield f"metric: expected a name or entry(...), got {self.metric!r}"
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "Labels" and not isinstance(value, Mapping):
                example = '{"split": "pool"}'
                yield f"{field.name}: expected values by axis such as {example}, got {value!r}"

    @property
    def title(self) -> str:
        """What an error calls the claim: where it stands in the paper, its kind, its line."""
        line = getattr(self, "_line", 0)
        known = [type(self).__name__, *([f"line {line}"] if line else [])]
        if self.paper:
            return f"claim {self.paper} ({', '.join(known)})"
        return f"claim {' in '.join(known)}"

    @property
    def measured(self) -> Sequence[str | Entry]:
        """Metrics, or entries, that it is decided by."""
        return (self.metric,)

    @property
    @abstractmethod
    def named(self) -> Sequence[Labels]:
        """Axes and values that it speaks of."""

    @property
    def along(self) -> Sequence[str]:
        """Axes that it speaks of without naming a value."""
        return ()

    @abstractmethod
    def decide(self, results: Results) -> Verdict:
        """The verdict on the cells that are finished."""


def several(value: Any) -> list[Any]:
    """One value or a list of values as a list."""
    return list(value) if isinstance(value, list) else [value]


def check(claims: Sequence[Claim], cells: Sequence[Cell], axes: Sequence[str]) -> None:
    """Raises SweepError that lists every axis, value, metric and matrix that a claim speaks of and
    the sweep does not have.
    """
    names = axes_by_name(axes)
    known = Axes(cells, axes)
    metrics = {m.name: m.by for cell in cells for m in cell.trial.method.metrics}
    matrices = {m.name for cell in cells for m in cell.trial.method.matrices}
    problems = []
    for claim in claims:
        found = [
            *_unknown_metrics(claim, metrics, matrices),
            *_unknown_labels(claim, names, known, metrics),
        ]
        problems += [f"{claim.title}: {problem}" for problem in found]
    if problems:
        raise SweepError("claims that cannot be decided by this sweep:", problems)


def _unknown_metrics(
    claim: Claim, metrics: Iterable[str], matrices: Iterable[str]
) -> Iterator[str]:
    for one in claim.measured:
        if isinstance(one, Entry) and one.matrix not in matrices:
            yield f"no method here has a matrix {one.matrix!r}. {nearest(one.matrix, matrices)}"
        elif isinstance(one, str) and one not in metrics:
            yield f"no method here has a metric {one!r}. {nearest(one, sorted(metrics))}"


def _unknown_labels(
    claim: Claim,
    names: Mapping[str, str],
    axes: Axes,
    metrics: Mapping[str, Sequence[str]],
) -> Iterator[str]:
    logged_by = {
        label for one in claim.measured if isinstance(one, str) for label in metrics.get(one, ())
    }
    spoken_of = dict.fromkeys([*claim.along, *(axis for labels in claim.named for axis in labels)])
    for axis in spoken_of:
        if axis not in names and axis not in logged_by:
            yield f"the sweep has no axis {axis!r}. {nearest(axis, [*names, *logged_by])}"
    for labels in claim.named:
        for axis, value in labels.items():
            if axis in names:
                yield from _unknown_values(axes, names[axis], value)


def _unknown_values(axes: Axes, axis: str, value: Any) -> Iterator[str]:
    for one in several(value):
        if one == ABSENT:
            continue
        try:
            axes.find(axis, one)
        except LookupError as error:
            yield str(error.args[0])


def verdicts(claims: Sequence[Claim], results: Results) -> list[Verdict]:
    """Every claim's verdict on what is finished, and what is left of it when all claims are taken
    together.
    """
    return after_holm([claim.decide(results) for claim in claims])


def after_holm(found: Sequence[Verdict], level: float = 0.025) -> list[Verdict]:
    """The verdicts with Holm's correction: the smallest p is held against `level` / m, the next
    against `level` / (m - 1), and so on; from the first that is above its bar on, nothing is left.
    Verdicts that no test stands behind stay as they are.
    """
    tested = sorted((v.p, number) for number, v in enumerate(found) if v.p is not None)
    stands = {number: v.verdict for number, v in enumerate(found) if v.p is None}
    for rank, (p, number) in enumerate(tested):
        if p >= level / (len(tested) - rank):
            break
        stands[number] = found[number].verdict
    return [
        Verdict(
            verdict.paper,
            verdict.claim,
            verdict.verdict,
            verdict.evidence,
            verdict.n,
            verdict.p,
            len(tested),
            stands.get(number, UNDECIDED),
        )
        for number, verdict in enumerate(found)
    ]


def _line_outside() -> int:
    """The line in which a claim is written: of the first caller that is not ours."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] not in ("orchestrator", "dataclasses"):
            return frame.f_lineno
        frame = frame.f_back
    return 0
