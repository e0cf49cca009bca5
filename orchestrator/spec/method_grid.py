"""The grid of one method: `Method.grid(split=["pool", "stage2"], losses=...)`.

Values are checked against the declared type of their setting; a setting that takes a method may be
given a grid of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_origin

from orchestrator.errors import InputError
from orchestrator.spec.canonical import coerce, is_method_type
from orchestrator.spec.grid import RESERVED, Grid, Point, Together, axis_grid, product_of
from orchestrator.spec.settings import settings_of, unknown_settings


def method_grid(cls: Any, settings: Mapping[str, Any]) -> Grid:
    """The product of the settings of a method class; `Method.grid` calls it."""
    kinds = settings_of(cls)
    known = {name: value for name, value in settings.items() if name in kinds}
    axes = [_setting_axis(cls, name, value, kinds[name]) for name, value in known.items()]
    grid = product_of([Grid((Point({"method": cls}, {"method": cls.name}),)), *axes])
    return replace(grid, problems=(*unknown_settings(cls, settings), *grid.problems))


def _setting_axis(cls: Any, name: str, value: Any, kind: Any) -> Grid:
    """An axis of one setting, its values checked; a grid of methods becomes one axis with the inner
    labels spread out.
    """
    if isinstance(value, Together):
        return _together(name, value, kind)
    if isinstance(value, Grid):
        return _method_axis(name, value, kind)
    raw = axis_grid(name, value)
    points, problems = [], list(raw.problems)
    for point in raw.points:
        try:
            checked = coerce(_as_several(point.values[name], kind), kind)
        except ValueError as error:
            problems.append(f"{cls.name}.{name}: {error}")
        else:
            points.append(Point({name: checked}, {name: checked}))
    return Grid(tuple(points), tuple(problems))


def _as_several(value: Any, kind: Any) -> Any:
    """One method may stand for a tuple of one: `Recombine.grid(of=[FineTune(), ...])`."""
    if get_origin(kind) is tuple and is_method_type(type(value)):
        return (value,)
    return value


def _together(name: str, value: Together, kind: Any) -> Grid:
    """All methods of a grid as the one value of a setting that takes several."""
    each = _method_axis(name, value.grid, kind)
    several = tuple(method for point in each.points for method in point.values[name])
    point = Point({name: several}, {name: f"{len(several)} methods"})
    return Grid((point,), each.problems, each.dropped)


def _method_axis(name: str, grid: Grid, kind: Any) -> Grid:
    """An axis whose values are the methods of a grid; their settings become labels of their own."""
    points, problems = [], list(grid.problems)
    for point in grid.points:
        values = dict(point.values)
        method = values.pop("method", None)
        if method is None or set(values) & set(RESERVED):
            problems.append(f"{name}: a grid given as a setting holds one method's settings only")
            continue
        try:
            built = method(**values)
        except InputError as error:
            problems += error.problems or [error.summary]
            continue
        inner = {f"{name}.{label}": v for label, v in point.labels.items() if label != "method"}
        points.append(Point({name: _as_several(built, kind)}, inner or {name: built}))
    return Grid(tuple(points), tuple(problems), grid.dropped)
