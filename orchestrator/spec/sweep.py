"""A sweep: one question and every cell that answers it. Plain data; one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from orchestrator.errors import InputError, SweepError, nearest
from orchestrator.spec.claim import Claim
from orchestrator.spec.claim_checks import check
from orchestrator.spec.formatting import counted
from orchestrator.spec.grid import RESERVED, Grid, Point
from orchestrator.spec.labels import value_key
from orchestrator.spec.method import Method
from orchestrator.spec.settings import settings_of
from orchestrator.spec.task import Task
from orchestrator.spec.trial import Cell, NetworkSpec, Trial


@dataclass(frozen=True, kw_only=True, repr=False)
class Sweep:
    """One question and the cells that answer it. Checked when it is made; raises SweepError that
    lists all mistakes at once.

    `question` is a sentence or two, `cells` a grid, `expect` how many cells that should be, and
    `claims` the statements that the cells decide (see `orchestrator.analysis.claims`). `part_of` is
    set by `part`, not by hand.

    Example::

        sweep = Sweep(
            question="Does a higher rate train better?",
            cells=product(FineTune.grid(lr=[0.1, 0.01]), network=resnet8(), tasks=digits, seed=[0]),
            expect=2,
        )
    """

    cells: Grid
    expect: int
    question: str | None = None
    claims: Sequence[Claim] = ()
    part_of: Sweep | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.cells, Grid):
            kind = type(self.cells).__name__
            raise SweepError(f"cells must be a grid made by product(...), got {kind}")
        if not isinstance(self.question, str | None):
            raise SweepError(f"question must be a text, got {self.question!r}")
        # Points of a grid with problems lack what these
        # concern; looking at them would tell it twice.
        problems = list(self.cells.problems) or _problems_of_points(self.cells.points)
        if problems:
            raise SweepError("the sweep cannot be used as written:", problems)
        if not self.cells.points:
            left_out = "".join(f" ({d.count} left out: {d.reason})" for d in self.cells.dropped)
            raise SweepError(f"the grid is empty: no cell is left{left_out}")
        num_cells = len(self.cells)
        # After the filters: a `where` that catches too much, or nothing, shows in this number.
        if self.expect != num_cells:
            raise SweepError(
                f"the grid has {num_cells} cells but the sweep says expect={self.expect}. "
                f"If {num_cells} is right, write:",
                [f"expect={num_cells},"],
            )
        # Not `if self.claims`: what is no sequence at all is to be told, too. A part lacks cells
        # that its claims name.
        if self.claims != () and self.part_of is None:
            check(self.claims, list(self.trials()), self.axes)

    def __repr__(self) -> str:
        first = " ".join((self.question or "").strip().partition("\n")[0].split())
        claims = f", {counted(len(self.claims), 'claim')}" if self.claims else ""
        return f"<Sweep of {counted(len(self.cells), 'cell')}{claims}: {first}>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self)[1:-1])}</p>\n{self.cells._repr_html_()}"

    def trials(self) -> Iterator[Cell]:
        """Each cell with its trial, tasks not yet resolved."""
        methods: dict[Any, Method] = {}
        for index, point in enumerate(self.cells.points):
            yield Cell(index, point.labels, _trial(point, methods))

    def part(self, indices: Sequence[int]) -> Sweep:
        """The cells with these indices. Their axes are still those of the whole sweep, so that
        they are called as there.
        """
        points = tuple(self.cells.points[i] for i in indices)
        return Sweep(
            cells=Grid(points, (), self.cells.dropped),
            expect=len(points),
            question=self.question,
            claims=self.claims,
            part_of=self.part_of or self,
        )

    @property
    def axes(self) -> tuple[str, ...]:
        """Labels that vary over the sweep, or that only some cells have, in the order written."""
        if self.part_of is not None:
            return self.part_of.axes
        values: dict[str, set[str]] = {}  # keys of the distinct ones, by label: 1 is not True
        num_points: dict[str, int] = {}
        keys: dict[int, str] = {}  # by the identity of a value: points share their values
        for point in self.cells.points:
            for label, value in point.labels.items():
                num_points[label] = num_points.get(label, 0) + 1
                if id(value) not in keys:
                    keys[id(value)] = value_key(value)
                values.setdefault(label, set()).add(keys[id(value)])
        num_cells = len(self.cells)
        return tuple(
            label for label in values if len(values[label]) > 1 or num_points[label] < num_cells
        )


def _trial(point: Point, methods: dict[Any, Method]) -> Trial:
    """The trial of a point. Points share their values, so methods with the very same ones are built
    once, and kept in `methods`: a sweep of 10,000 cells has few.
    """
    settings = _settings(point)
    cls = point.values["method"]
    # By identity: values may be unhashable.
    same = (cls, *((name, id(value)) for name, value in settings.items()))
    if same not in methods:
        methods[same] = cls(**settings)
    tasks = point.values.get("tasks", ())
    return Trial(
        method=methods[same],
        network=point.values.get("network"),
        tasks=(tasks,) if isinstance(tasks, Task) else tuple(tasks),
        seed=point.values.get("seed"),
        numerics=point.values.get("numerics", "fp32"),
    )


def _settings(point: Point) -> dict[str, Any]:
    """The settings of a point's method: all its values but those that every trial has."""
    return {name: value for name, value in point.values.items() if name not in RESERVED}


def _problems_of_points(points: Sequence[Point]) -> list[str]:
    """Why points cannot be trials, each reason once."""
    problems: dict[str, None] = {}
    for point in points:
        method = point.values.get("method")
        if isinstance(method, type) and issubclass(method, Method):
            problems |= dict.fromkeys(_problems_of_settings(method, _settings(point)))
            problems |= dict.fromkeys(_problems_of_the_rest(point.values))
        else:
            problems["a cell has no method: put Method.grid(...) into the product"] = None
    return list(problems)


def _problems_of_settings(method: type[Method], settings: Mapping[str, Any]) -> Iterator[str]:
    """Settings that the method does not have, and values that it refuses."""
    valid = settings_of(method)
    for name in settings:
        if name not in valid:
            yield (
                f"{method.name} has no setting {name!r}, and a cell no axis of that name. "
                f"{nearest(name, [*valid, *RESERVED[1:]])}"
            )
    try:
        method(**{name: value for name, value in settings.items() if name in valid})
    except InputError as error:
        yield from error.problems or (error.summary,)


def _problems_of_the_rest(values: Mapping[str, Any]) -> Iterator[str]:
    """A network, a seed or a task that is something else."""
    network, seed, tasks = (values.get(name) for name in ("network", "seed", "tasks"))
    # What is missing is no matter of a point: whether the method needs it is asked when it is
    # planned.
    if network is not None and not isinstance(network, NetworkSpec):
        yield f"network: expected a network such as resnet8(), got {network!r}"
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
        yield f"seed: expected a whole number from 0, got {seed!r}"
    if tasks is None:
        return
    for task in tasks if isinstance(tasks, tuple) else (tasks,):
        if not isinstance(task, Task):
            yield f"tasks: expected a task such as digits.classes(0, 1), got {task!r}"
