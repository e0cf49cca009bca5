"""What a claim is, and what becomes of it. How claims are decided is told by
`orchestrator.analysis.claims`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InputError
from orchestrator.spec.claim_fields import CheckedFields, line_outside, title_of
from orchestrator.spec.formatting import html_table
from orchestrator.spec.labels import ABSENT

if TYPE_CHECKING:
    from orchestrator.analysis.results import Results

REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"

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

    def __post_init__(self) -> None:
        wrong = [
            f"{one.name}: expected a name, got {getattr(self, one.name)!r}"
            for one in fields(self)
            if not isinstance(getattr(self, one.name), str) or not getattr(self, one.name)
        ]
        if wrong:
            raise InputError("entry(...) cannot be used as written:", wrong)

    def __str__(self) -> str:
        return f"{self.matrix}[{self.row}, {self.column}]"


def entry(matrix: str, *, row: str, column: str) -> Entry:
    """What a claim is about where that is one entry of a matrix, named by its row and column."""
    return Entry(matrix, row, column)


@dataclass(frozen=True)
class Pairs:
    """What a verdict rests on: the sides of its claim in words, the seeds that all sides have, and
    the value of every side in each of them, [sides][seeds].
    """

    sides: tuple[str, ...]
    seeds: tuple[int | None, ...]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, repr=False)
class Verdict:
    """What became of a claim.

    `verdict` is one of three, `evidence` says in words what it rests on, and `n` counts distinct
    seeds. `p` is the probability of evidence as clear as this if the verdict were wrong, or None
    where nothing was tested. `num_tested` claims of the sweep were tested; `after_holm` is the
    verdict that is left when all of them are taken together (Holm's correction). `pairs` are the
    values by side and seed.
    """

    paper: str
    claim: str
    verdict: str
    evidence: str
    n: int
    p: float | None = None
    num_tested: int = 0
    after_holm: str = UNDECIDED
    pairs: Pairs | None = field(default=None, compare=False)

    @property
    def words(self) -> str:
        """The verdict, and whether Holm's correction leaves it."""
        return self.verdict if self.after_holm == self.verdict else f"{self.verdict} (alone)"

    def __repr__(self) -> str:
        paper = f"{self.paper}: " if self.paper else ""
        return f"<Verdict {paper}{self.claim}: {self.words}; {self.evidence}; n={self.n}>"

    def _repr_html_(self) -> str:
        rows = [("claim", self.claim), ("verdict", self.words), ("evidence", self.evidence)]
        return html_table((), [*rows, ("n", self.n)], caption=self.paper)


@dataclass(frozen=True, kw_only=True)
class Claim(metaclass=CheckedFields):
    """One statement about a metric, or about an entry of a matrix; `paper` is where it stands (such
    as C3).

    A claim is checked when it is written (types, ranges, names of fields) and again with its sweep
    (`orchestrator.spec.claim_checks`); InputError lists all that is wrong.
    """

    metric: str | Entry
    paper: str = ""

    def __post_init__(self) -> None:
        # Beside the fields, not one of them: the same claim on another line is the same claim.
        object.__setattr__(self, "_line", line_outside())
        conflicts = list(self._conflicts())
        if conflicts:
            raise InputError(f"{self.title} cannot be used as written:", conflicts)

    def _conflicts(self) -> Iterator[str]:
        """Fields that do not go together, in words."""
        return iter(())

    @property
    def title(self) -> str:
        """What an error calls the claim: where it stands in the paper, its kind, its line."""
        return title_of(type(self).__name__, self.paper, getattr(self, "_line", 0))

    @property
    def measured(self) -> Sequence[str | Entry]:
        """Metrics, or entries, that it is decided by."""
        return (self.metric,)

    @property
    @abstractmethod
    def named(self) -> Sequence[Labels]:
        """Axes and values that it speaks of."""

    @property
    def spoken_of(self) -> Sequence[tuple[Labels, str | Entry]]:
        """Which cells it holds to have which metric."""
        return [(labels, metric) for labels in self.named for metric in self.measured]

    @property
    def apart(self) -> Sequence[Labels]:
        """Sides that are held against each other: no two may be the same cells."""
        return self.named

    @property
    def along(self) -> Sequence[str]:
        """Axes that it speaks of without naming a value."""
        return ()

    def paired(self, values: Mapping[str, Sequence[Any]]) -> Sequence[Sequence[Labels]]:
        """Sides that are paired with each other; more than one such set where it compares twice.
        `values` are those that each axis of `along` has in the cells that it names first.
        """
        return ()

    def out_of_reach(self, values: Mapping[str, Sequence[Any]]) -> Iterator[str]:
        """Why no results whatever would decide it, in words. `values` are those that each axis of
        `along` has in the cells that it speaks of first.
        """
        return iter(())

    @abstractmethod
    def decide(self, results: Results) -> Verdict:
        """The verdict on the cells that are finished."""


def is_absent(value: Any) -> bool:
    """Whether a value of a claim means cells without the axis."""
    # The type first: values of axes may be of any type, and some compare in ways of their own.
    return isinstance(value, str) and value == ABSENT


def several(value: Any) -> list[Any]:
    """One value or a list of values as a list."""
    # A tuple is one value, as it is in a grid: a pair of tasks, say.
    return list(value) if isinstance(value, list) else [value]


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
    # `level` is one-sided: a claim may be decided either way, each at the 2.5 % that an interval of
    # 95 % leaves on one side.
    tested = sorted((v.p, number) for number, v in enumerate(found) if v.p is not None)
    # By the number of the claim, since the order of p is not the order in which they were written.
    stands = {number: v.verdict for number, v in enumerate(found) if v.p is None}
    for rank, (p, number) in enumerate(tested):
        # The first that fails ends it: a larger p is not looked at, even below the wider bar that
        # it would have.
        if p >= level / (len(tested) - rank):
            break
        stands[number] = found[number].verdict
    return [
        replace(verdict, num_tested=len(tested), after_holm=stands.get(number, UNDECIDED))
        for number, verdict in enumerate(found)
    ]
