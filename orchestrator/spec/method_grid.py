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
    """The product of the settings of a method class; `Method.grid` calls it. Problems are collected
    in the grid.
    """
    kinds = settings_of(cls)
    known = {name: value for name, value in settings.items() if name in kinds}
    axes = [_setting_axis(cls, name, value, kinds[name]) for name, value in known.items()]
    # The class, not an object: a point is complete only when all factors of the product are merged.
    grid = product_of([Grid((Point({"method": cls}, {"method": cls.name}),)), *axes])
    return replace(grid, problems=(*unknown_settings(cls, settings), *grid.problems))


def _setting_axis(cls: Any, name: str, value: Any, kind: Any) -> Grid:
    """The grid of one setting, its values checked against the declared type `kind`."""
    if isinstance(value, Together):
        return _together(name, value, kind)
    if isinstance(value, Grid):
        return _method_axis(name, value, kind)
    written = axis_grid(name, value)
    points, problems = [], list(written.problems)
    for point in written.points:
        try:
            # The label is the checked value, too: 1 and 1.0 are one value of an axis of floats.
            checked = coerce(_as_several(point.values[name], kind), kind)
        except ValueError as error:
            problems.append(f"{cls.name}.{name}: {error}")
        else:
            points.append(Point({name: checked}, {name: checked}))
    return Grid(tuple(points), tuple(problems))


def _as_several(value: Any, kind: Any) -> Any:
    """One method stands for a tuple of one where several are wanted:
    `Recombine.grid(of=[FineTune(), ...])`.
    """
    if get_origin(kind) is tuple and is_method_type(type(value)):
        return (value,)
    return value


def _together(name: str, value: Together, kind: Any) -> Grid:
    """All methods of a grid as the one value of a setting that takes several."""
    axis = _method_axis(name, value.grid, kind)
    methods = tuple(method for point in axis.points for method in point.values[name])
    point = Point({name: methods}, {name: f"{len(methods)} methods"})
    return Grid((point,), axis.problems, axis.dropped)


def _method_axis(name: str, grid: Grid, kind: Any) -> Grid:
    """An axis whose values are the methods of a grid. Their settings become labels of their own,
    such as `of.split`.
    """
    points, problems = [], list(grid.problems)
    for point in grid.points:
        values = dict(point.values)
        method = values.pop("method", None)
        # Network, tasks and seed of a method inside a setting are those of the outer trial.
        if method is None or set(values) & set(RESERVED):
            problems.append(f"{name}: a grid given as a setting holds one method's settings only")
            continue
        try:
            built = method(**values)
        except InputError as error:
            problems += error.problems or [error.summary]
            continue
        # The method itself is no label where its settings are: those tell the points apart, as in
        # an axis `of.split`.
        inner = {f"{name}.{label}": v for label, v in point.labels.items() if label != "method"}
        points.append(Point({name: _as_several(built, kind)}, inner or {name: built}))
    return Grid(tuple(points), tuple(problems), grid.dropped)
