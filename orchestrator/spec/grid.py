"""Grids: ordered sets of points of settings, made by `product`, `zipped`, `union` and `where`.

A value that is a list or a range is an axis with several values; anything else, a tuple too, is one
value. Nothing raises while a grid is being written: problems are collected and the sweep reports
all of them at once.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import InputError, nearest
from orchestrator.spec.canonical import show
from orchestrator.spec.formatting import counted, html_table

# Values of a point that are no settings of its method.
RESERVED = ("method", "network", "tasks", "seed", "numerics")

VALUES_SHOWN = 8  # of an axis, where a grid shows itself


@dataclass(frozen=True)
class Point:
    """One point: `values` are what a trial is made of, `labels` what people call it. The settings
    of a method inside a setting are labels of their own, such as `of.split`.
    """

    values: Mapping[str, Any]
    labels: Mapping[str, Any]

    def merged(self, other: Point) -> Point:
        """Both as one point; where both set a value, the other's counts."""
        return Point({**self.values, **other.values}, {**self.labels, **other.labels})


class PointView:
    """What the function given to `where` sees: `cell.split`, `cell.of.split`, `cell.seed`. Settings
    that were not written are at their defaults. Raises AttributeError for a name that is neither.
    """

    def __init__(self, point: Point, prefix: str = "") -> None:
        self._point, self._prefix = point, prefix

    def __getattr__(self, name: str) -> Any:
        full = self._prefix + name
        labels = self._point.labels
        if full in labels:
            return labels[full]
        # `cell.of`: a method inside, whose settings come next
        if any(label.startswith(full + ".") for label in labels):
            return PointView(self._point, full + ".")
        # Of the outermost method only: which class stands inside is not known from labels.
        if not self._prefix and name in self._defaults():
            return self._defaults()[name]
        raise AttributeError(f"a cell has no {full!r}. {nearest(full, labels)}")

    def _defaults(self) -> dict[str, Any]:
        method = self._point.values.get("method")
        return {f.name: f.default for f in dataclasses.fields(method)} if method else {}

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an axis, or `default` where this cell has none (axes of a union may
        differ).
        """
        try:
            return getattr(self, name)
        except AttributeError:
            return default


@dataclass(frozen=True)
class Dropped:
    """Cells that a `where` left out, by its reason."""

    reason: str
    count: int


@dataclass(frozen=True, repr=False)
class Grid:
    """An ordered set of points. Combine grids with `product`, `zipped` and `union`; filter with
    `where`. `problems` are what is wrong with it, `dropped` what was left out.
    """

    points: tuple[Point, ...] = ()
    problems: tuple[str, ...] = ()
    dropped: tuple[Dropped, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.points)

    @property
    def _axes(self) -> dict[str, list[str]]:
        """The values of each label as people read them, in the order of the points."""
        texts: dict[int, str] = {}  # by the identity of a value: points share their values
        found: dict[str, dict[str, None]] = {}
        for point in self.points:
            for label, value in point.labels.items():
                text = texts.setdefault(id(value), "") or show(value)
                texts[id(value)] = text
                found.setdefault(label, {})[text] = None
        return {label: list(values) for label, values in found.items()}

    @property
    def _remarks(self) -> list[str]:
        remarks = [f"{d.count:,} left out: {d.reason}" for d in self.dropped]
        return remarks + ([counted(len(self.problems), "problem")] if self.problems else [])

    def __repr__(self) -> str:
        axes = [f"{axis} ({len(values)})" for axis, values in self._axes.items()]
        points = counted(len(self), "point")
        return f"<Grid of {'; '.join([f'{points}: ' + ', '.join(axes), *self._remarks])}>"

    def _repr_html_(self) -> str:
        rows = [
            (axis, len(values), ", ".join(values[:VALUES_SHOWN]))
            for axis, values in self._axes.items()
        ]
        caption = "; ".join([counted(len(self), "point"), *self._remarks])
        return html_table(("axis", "values", ""), rows, caption=caption)

    def where(self, keep: Callable[[Any], bool], *, reason: str) -> Grid:
        """The points for which `keep(point)` holds; `spolia plan` shows the reason and how many
        were left out.

        Example: `.where(lambda cell: cell.split != "stem" or cell.seed < 3, reason="stems agree")`.
        """
        kept: list[Point] = []
        problems = list(self.problems)
        for point in self.points:
            try:
                if keep(PointView(point)):
                    kept.append(point)
            # Collected, as all problems of a grid: a sweep tells them together.
            except AttributeError as error:
                problems.append(f"where(reason={reason!r}): {error}")
        # A point that has no such name counts as left out, but then the grid has a problem and is
        # not used.
        left_out = len(self.points) - len(kept)
        dropped = (*self.dropped, Dropped(reason, left_out)) if left_out else self.dropped
        return Grid(tuple(kept), tuple(problems), dropped)

    def together(self) -> Together:
        """All methods of this grid as one value of a setting:
        `Recombine.grid(of=networks.together())` measures them in one matrix.
        """
        return Together(self)


@dataclass(frozen=True)
class Together:
    """The methods of a grid as one value of a setting that takes several."""

    grid: Grid


def product(*grids: Grid, **axes: Any) -> Grid:
    """Every combination of the points of `grids` and the values of `axes`; the last varies
    fastest. Raises InputError for a grid that is none.

    Example: `product(FineTune.grid(lr=[0.1, 0.01]), network=[resnet8()], seed=range(3))`, 6 points.
    """
    return product_of(_factors(grids, axes))


def zipped(*grids: Grid, **axes: Any) -> Grid:
    """The first points of all `grids` and `axes` merged, then the second points, and so on; all
    must have equally many. Raises InputError for a grid that is none.

    Example: `zipped(network=[resnet8(), small_vgg()], seed=[0, 1])`, 2 points.
    """
    parts = _factors(grids, axes)
    problems = _problems_of(parts)
    lengths = [len(part) for part in parts]
    if len(set(lengths)) > 1:
        problems.append(
            f"zipped(): the parts have {', '.join(map(str, lengths))} points; "
            "they must have equally many"
        )
    # Unequal lengths are a problem already.
    combinations = zip(*(part.points for part in parts), strict=False)
    points = tuple(_merge(combination, problems) for combination in combinations)
    return Grid(points, tuple(dict.fromkeys(problems)), _dropped_by(parts))


def union(*grids: Grid) -> Grid:
    """The points of one grid after those of another. Their axes may differ. Raises InputError for a
    grid that is none.
    """
    parts = _checked(grids)
    points = tuple(point for part in parts for point in part.points)
    return Grid(points, tuple(_problems_of(parts)), _dropped_by(parts))


def product_of(parts: Sequence[Grid]) -> Grid:
    """Every combination of the points of all parts; problems and dropped points are gathered."""
    problems = _problems_of(parts)
    combinations = list(itertools.product(*(part.points for part in parts)))
    points = tuple(_merge(combination, problems) for combination in combinations)
    # A point that a factor dropped stands for all its combinations with points of the others.
    dropped: list[Dropped] = []
    for part in parts:
        num_others = len(combinations) // len(part) if len(part) else 0
        dropped += [Dropped(d.reason, d.count * num_others) for d in part.dropped]
    return Grid(points, tuple(dict.fromkeys(problems)), tuple(dropped))


def _merge(points: Sequence[Point], problems: list[str]) -> Point:
    """One point of several; appends to `problems` what two of them set."""
    merged = Point({}, {})
    for point in points:
        for twice in point.values.keys() & merged.values.keys():
            problems.append(f"{twice!r} is set in two factors of a product; keep one of them")
        merged = merged.merged(point)
    return merged


def _factors(grids: Sequence[Any], axes: Mapping[str, Any]) -> list[Grid]:
    """What `product` and `zipped` combine: the grids, then a grid for each axis."""
    return [*_checked(grids), *(axis_grid(name, value) for name, value in axes.items())]


def _checked(grids: Sequence[Any]) -> list[Grid]:
    wrong = [repr(grid) for grid in grids if not isinstance(grid, Grid)]
    if wrong:
        raise InputError(
            f"expected grids such as Method.grid(...), got {', '.join(wrong)}; "
            "write other axes by name: network=[...], seed=range(3)"
        )
    return list(grids)


def _problems_of(parts: Sequence[Grid]) -> list[str]:
    return [problem for part in parts for problem in part.problems]


def _dropped_by(parts: Sequence[Grid]) -> tuple[Dropped, ...]:
    return tuple(dropped for part in parts for dropped in part.dropped)


def _is_same(value: Any, other: Any) -> bool:
    """Whether two values are one: 1 and 1.0 are, 1 and True are not."""
    # Values are compared one by one, and not by hash, because some have none.
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def axis_grid(name: str, value: Any) -> Grid:
    """The grid of one axis: the values of a list or a range, or anything else as its one value."""
    if isinstance(value, Iterator | set | frozenset | dict):
        return Grid(
            problems=(f"{name}: write its values as a list or a range, got {type(value).__name__}",)
        )
    # A tuple is one value: a setting may be one.
    values = list(value) if isinstance(value, list | range) else [value]
    if not values:
        return Grid(problems=(f"{name}: the list of values is empty",))
    problems = [
        f"{name}: {value!r} is listed twice"
        for place, value in enumerate(values)
        if any(_is_same(value, other) for other in values[:place])
    ]
    return Grid(tuple(Point({name: v}, {name: v}) for v in values), tuple(dict.fromkeys(problems)))
