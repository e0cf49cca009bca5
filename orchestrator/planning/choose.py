"""Parts of a sweep: `--only "split=stage1 seed=0"`, `--limit 10`, and `--smoke`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from typing import Any

from orchestrator.errors import InputError, nearest
from orchestrator.planning.plan import Plan
from orchestrator.spec.grid import Grid, Point
from orchestrator.spec.labels import Axes, axes_by_name
from orchestrator.spec.method import Method
from orchestrator.spec.sweep import Sweep
from orchestrator.spec.task import Task
from orchestrator.spec.trial import Cell

SMOKE_IMAGES = 256


def only(sweep: Sweep, text: str) -> Sweep:
    """The cells whose labels are as the text says: `seed=0,1 split=pool`, axes with spaces between
    and several values of one with commas.

    Raises InputError for an axis or a value that the sweep does not have, or where no cell is left.
    """
    cells = list(sweep.trials())
    axes = Axes(cells, list(dict.fromkeys(label for cell in cells for label in cell.labels)))
    wanted = _wanted_keys(text, axes)
    kept = [cell.index for cell in cells if _is_wanted(cell, axes, wanted)]
    if not kept:
        raise InputError(f"--only {text!r}: no cell has all of these at once")
    return sweep.part(kept)


def _is_wanted(cell: Cell, axes: Axes, wanted: Mapping[str, set[str]]) -> bool:
    values = ((axes.of(cell, axis), keys) for axis, keys in wanted.items())
    return all(value is not None and value.key in keys for value, keys in values)


def _wanted_keys(text: str, axes: Axes) -> dict[str, set[str]]:
    """Keys of the values that `--only` allows, by the full name of their axis."""
    names = axes_by_name(axes.names)
    wanted: dict[str, set[str]] = {}
    for pair in shlex.split(text):
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--only {text!r}: {pair!r} is not axis=value")
        if name not in names:
            raise InputError(
                f"--only {text!r}: the sweep has no axis {name!r}. {nearest(name, names)}"
            )
        try:
            keys = _keys_of(axes, names[name], value)
        except LookupError as error:
            raise InputError(f"--only {text!r}: {error.args[0]}") from error
        wanted.setdefault(names[name], set()).update(keys)
    return wanted


def _keys_of(axes: Axes, axis: str, text: str) -> set[str]:
    """One value, or several with commas between them; a value may have commas in its own name."""
    try:
        return {axes.find(axis, text).key}
    except LookupError:
        if "," not in text:
            raise
    return {axes.find(axis, one).key for one in text.split(",")}


def limit(sweep: Sweep, plan: Plan, count: int) -> Sweep:
    """The first `count` cells that have no result yet. Where all have one, the first cell: a sweep
    is never empty.
    """
    unfinished = [i for i, cell in enumerate(plan.cells) if cell.trial.key not in plan.outcomes]
    return sweep.part(unfinished[:count] or [0])


def smoke(sweep: Sweep) -> Sweep:
    """Every setting of the sweep once, with one seed, in seconds: numbers that have a smoke value
    take it, tasks keep at most 256 images.

    Settings that are not numbers stay as written, because they are what the sweep is about.
    """
    seeds = [point.values["seed"] for point in sweep.cells.points if "seed" in point.values]
    points: dict[str, Point] = {}  # by their values: cells that become equal are one
    for point in sweep.cells.points:
        if "seed" in point.values and point.values["seed"] != seeds[0]:
            continue
        values = {name: _made_small(value) for name, value in point.values.items()}
        values |= _smoke_numbers(point.values["method"], point.values)
        points.setdefault(repr(sorted(values.items(), key=repr)), replace(point, values=values))
    return Sweep(
        cells=Grid(tuple(points.values())),
        expect=len(points),
        question=sweep.question,
        part_of=sweep,
    )


def _made_small(value: Any) -> Any:
    """A value of a cell that takes seconds: methods, tasks, and tuples of them."""
    if isinstance(value, tuple):
        return tuple(_made_small(v) for v in value)
    if isinstance(value, Task):
        return replace(value, limit=min(value.limit or SMOKE_IMAGES, SMOKE_IMAGES))
    if isinstance(value, Method):
        settings = value.settings()
        inner = {name: _made_small(v) for name, v in settings.items() if _holds_methods(v)}
        return value.replace(**_smoke_numbers(type(value), settings), **inner)
    return value


def _holds_methods(value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return any(isinstance(v, Method) for v in values)


def _smoke_numbers(method: type[Method], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The smoke values of a method's settings that are numbers, there and as written."""
    small = method.smoke().settings()
    numbers = {}
    for field in fields(method):
        value = small[field.name]
        has_smoke_value = field.metadata.get("smoke", MISSING) is not MISSING
        if has_smoke_value and isinstance(value, int | float) and not isinstance(value, bool):
            written = settings.get(field.name, value)
            if isinstance(written, int | float):
                numbers[field.name] = value
    return numbers
