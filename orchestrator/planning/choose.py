"""Parts of a sweep: `--only "split=stage1 seed=0"`, `--limit 10`, and `--smoke`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from orchestrator.errors import InputError, nearest
from orchestrator.planning.plan import Plan
from orchestrator.spec.grid import Grid, Point
from orchestrator.spec.labels import short_names, shown
from orchestrator.spec.method import Method
from orchestrator.spec.sweep import Sweep
from orchestrator.spec.task import Task

SMOKE_IMAGES = 256


def only(sweep: Sweep, text: str) -> Sweep:
    """The cells whose labels are as the text says, `axis=value` with spaces between; one axis named
    twice allows both values.

    Raises InputError for an axis or a value that the sweep does not have, or where no cell is left.
    """
    cells = list(sweep.trials())
    labels = dict.fromkeys(label for cell in cells for label in cell.labels)
    named = {short: full for full, short in short_names(list(labels)).items()} | {
        label: label for label in labels
    }
    wanted: dict[str, set[str]] = {}
    for piece in shlex.split(text):
        name, equals, value = piece.partition("=")
        if not equals:
            raise InputError(f"--only {text!r}: {piece!r} is not axis=value")
        if name not in named:
            raise InputError(
                f"--only {text!r}: the sweep has no axis {name!r}. {nearest(name, named)}"
            )
        values = list(dict.fromkeys(shown(cell, named[name]) for cell in cells))
        if value not in values:
            raise InputError(
                f"--only {text!r}: {name} is never {value!r}. {nearest(value, values)}"
            )
        wanted.setdefault(named[name], set()).add(value)
    kept = [
        cell.index
        for cell in cells
        if all(shown(cell, axis) in values for axis, values in wanted.items())
    ]
    if not kept:
        raise InputError(f"--only {text!r}: no cell has all of these at once")
    return sweep.part(kept)


def limit(sweep: Sweep, plan: Plan, count: int) -> Sweep:
    """The first `count` cells that have no result yet (none where all have)."""
    return sweep.part(
        [place for place, cell in enumerate(plan.cells) if cell.trial.key not in plan.outcomes][
            :count
        ]
        or [0]
    )


def smoke(sweep: Sweep) -> Sweep:
    """Every setting of the sweep once, with one seed, in seconds: numbers that have a smoke value
    take it, tasks keep at most 256 images.

    Settings that are not numbers stay as written, because they are what the sweep is about.
    """
    seeds = [p.values["seed"] for p in sweep.cells.points if "seed" in p.values]
    points: dict[str, Point] = {}
    for point in sweep.cells.points:
        if "seed" not in point.values or point.values["seed"] == seeds[0]:
            values = {k: _smoked(v) for k, v in point.values.items()} | _smoke_numbers(
                point.values["method"], point.values
            )
            points.setdefault(
                repr(sorted((k, repr(v)) for k, v in values.items())), replace(point, values=values)
            )
    return Sweep(
        cells=Grid(tuple(points.values())),
        expect=len(points),
        question=sweep.question,
        part_of=sweep,
    )


def _smoked(value: Any) -> Any:
    if isinstance(value, Method):
        return value.replace(
            **_smoke_numbers(type(value), value.settings()),
            **{k: _smoked(v) for k, v in value.settings().items() if _holds_methods(v)},
        )
    if isinstance(value, Task):
        return replace(value, limit=min(value.limit or SMOKE_IMAGES, SMOKE_IMAGES))
    return tuple(_smoked(v) for v in value) if isinstance(value, tuple) else value


def _holds_methods(value: Any) -> bool:
    return isinstance(value, Method) or (
        isinstance(value, tuple) and any(isinstance(v, Method) for v in value)
    )


def _smoke_numbers(method: type[Method], settings: Mapping[str, Any]) -> dict[str, Any]:
    values = method.smoke().settings()
    declared = {f.name for f in fields(method) if f.metadata.get("smoke") in (values[f.name],)}
    numbers = (int, float)
    return {
        k: v
        for k, v in values.items()
        if k in declared
        and isinstance(v, numbers)
        and not isinstance(v, bool)
        and isinstance(settings.get(k, v), numbers)
    }
