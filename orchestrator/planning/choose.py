"""Parts of a sweep: `--only "split=stage1 seed=0"`, `--limit 10`, and `--smoke`."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from orchestrator.errors import InputError, nearest, option
from orchestrator.planning.plan import Plan
from orchestrator.spec.canonical import is_number, show
from orchestrator.spec.grid import Grid, Point
from orchestrator.spec.labels import Axes, axes_by_name
from orchestrator.spec.method import Method
from orchestrator.spec.settings import settings_default, settings_of
from orchestrator.spec.sweep import Sweep
from orchestrator.spec.task import Task
from orchestrator.spec.trial import Cell

SMOKE_IMAGES = 256  # a task, at most


def only(sweep: Sweep, text: str) -> Sweep:
    """The cells whose labels are as the text says: `seed=0,1 split=pool`, axes with spaces between
    and several values of one with commas.

    Raises InputError for an axis or a value that the sweep does not have, or where no cell is left.
    """
    cells = list(sweep.trials())
    axes = _all_labels(cells)
    wanted = _wanted_keys(text, axes)
    kept = [cell.index for cell in cells if _is_wanted(cell, axes, wanted)]
    if not kept:
        raise InputError(f"{option('only', text)}: no cell has all of these at once")
    return sweep.part(kept)


def _all_labels(cells: Sequence[Cell]) -> Axes:
    """All labels, not only the axes that vary: `seed=0` may be said of a sweep with one seed."""
    return Axes(cells, list(dict.fromkeys(label for cell in cells for label in cell.labels)))


def _is_wanted(cell: Cell, axes: Axes, wanted: Mapping[str, set[str | None]]) -> bool:
    values = ((axes.of(cell, axis), keys) for axis, keys in wanted.items())
    return all((None if value is None else value.key) in keys for value, keys in values)


def _wanted_keys(text: str, axes: Axes) -> dict[str, set[str | None]]:
    """Keys of the values that `--only` allows, by the full name of their axis; None stands for
    cells without it. Raises InputError that lists all that is wrong.
    """
    names = axes_by_name(axes.names)
    wanted: dict[str, set[str | None]] = {}
    problems = []
    for pair in _pairs(text):
        name, equals, value = pair.partition("=")
        if not equals:
            problems.append(f"{pair!r} is not axis=value")
        elif name not in names:
            problems.append(f"the sweep has no axis {name!r}. {nearest(name, names)}")
        else:
            try:
                values = _values_in(axes, names[name], value)
                keys = {axes.key_of(names[name], one, called=name) for one in values}
            except LookupError as error:
                problems.append(str(error.args[0]))
            else:
                wanted.setdefault(names[name], set()).update(keys)  # `seed=0 seed=1` is `seed=0,1`
    if problems:
        raise InputError(f"{option('only', text)} cannot be used:", problems)
    return wanted


def labels_in(sweep: Sweep, text: str) -> dict[str, object]:
    """The mapping that a text such as `split=pool seed=0,1` stands for. Raises InputError for one
    that is not of this form.
    """
    axes = _all_labels(list(sweep.trials()))
    names = axes_by_name(axes.names)
    labels: dict[str, list[str]] = {}
    for pair in _pairs(text):
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"{text!r}: {pair!r} is not axis=value")
        # `seed=0 seed=1` is `seed=0,1`.
        labels.setdefault(name, []).extend(_values_in(axes, names.get(name), value))
    return {name: values[0] if len(values) == 1 else values for name, values in labels.items()}


def _pairs(text: str) -> list[str]:
    """The words of `--only`, with quotation marks around those that have spaces."""
    try:
        pairs = shlex.split(text)
    except ValueError as error:
        why = {"No closing quotation": "a quotation mark is not closed"}
        said = why.get(str(error), str(error))
        raise InputError(f"{option('only', text)}: {said}") from error
    if not pairs:
        raise InputError(
            f"{option('only', text)}: expected axis=value, such as 'seed=0 split=pool'"
        )
    return pairs


def _values_in(axes: Axes, axis: str | None, text: str) -> list[str]:
    """One value, or several with commas between them; a value may have commas in its own name."""
    if "," not in text:
        return [text]
    if axis is not None:
        with contextlib.suppress(LookupError):
            axes.find(axis, text)
            return [text]
    return text.split(",")


def limit(sweep: Sweep, plan: Plan, count: int) -> Sweep:
    """The first `count` cells that have no result yet. Where all have one, the first cell: a sweep
    is never empty.
    """
    # What failed has no result either, and is tried again.
    unfinished = [i for i, cell in enumerate(plan.cells) if cell.trial.key not in plan.outcomes]
    return sweep.part(unfinished[:count] or [0])


@dataclass(frozen=True)
class Smoke:
    """A sweep in small, and the numbers that are smaller in it than the sweep means them, each as
    `fine_tune.epochs 500 -> 2`.
    """

    sweep: Sweep
    smaller: tuple[str, ...]


def smoke(sweep: Sweep) -> Smoke:
    """Every setting of the sweep once, with one seed, in seconds: numbers that have a smoke value
    and are above it take it, tasks keep at most 256 images.

    What the sweep is about stays as written: settings that are not numbers, those that the sweep
    varies for the same tasks (in methods among settings, too; from one method to another only where
    small values would no longer differ), those that tell the values of an axis apart, and numbers
    at or below their smoke value. A number that the sweep names once and that is larger
    takes seconds no more than a default does, so it is made smaller like one; that is told, and
    labels show what runs.
    """
    points = sweep.cells.points
    seeds = [point.values["seed"] for point in points if "seed" in point.values]
    shrink = _Shrink(_what_it_is_about(points))
    small: dict[str, Point] = {}  # by their values: cells that become equal are one
    for point in points:
        if "seed" in point.values and point.values["seed"] != seeds[0]:
            continue
        values = {name: shrink.value(value) for name, value in point.values.items()}
        # Both look at the point as written, not at what has just been made small.
        values |= shrink.unwritten(point.values["method"], point.values)
        values |= shrink.numbers(point.values["method"], point.values)
        labels = {label: _label_now(label, old, values) for label, old in point.labels.items()}
        made = replace(point, values=values, labels=labels)
        # As text: values may be unhashable, and of kinds that have no order among each other.
        small.setdefault(repr(sorted(values.items(), key=repr)), made)
    # Without claims: one seed of a training that was cut short decides nothing.
    made_small = Sweep(
        cells=Grid(tuple(small.values())),
        expect=len(small),
        question=sweep.question,
        part_of=sweep,
    )
    return Smoke(made_small, tuple(shrink.smaller))


Setting = tuple[str, str]
"""The name of a method, and of a setting of it."""
Place = tuple[str, ...]
"""Where a method stands: the name of the cell's method, and the settings on the way; () for that
method itself.
"""


def _what_it_is_about(points: Sequence[Point]) -> set[Setting]:
    """Settings of which a sweep has several values for the same tasks, and those that a method
    shows which is one of several values of an axis. Numbers that differ from task to task alone
    say how each is learned, and are not what is asked.
    """
    of_tasks: dict[str, list[Point]] = {}  # as text: tasks may be a list
    for point in points:
        if "tasks" in point.values:
            of_tasks.setdefault(repr(point.values["tasks"]), []).append(point)
    of_none = [point for point in points if "tasks" not in point.values]
    about = _varied(of_none)
    for some in of_tasks.values():
        about |= _varied([*some, *of_none])
    return about


def _varied(points: Sequence[Point]) -> set[Setting]:
    """Settings of which these points have several values, in one place or from place to place, or
    in methods that are the values of one axis.
    """
    places_of: dict[Setting, dict[Place, list[Any]]] = {}
    smallest: dict[Setting, Any] = {}
    axes: dict[str, list[Any]] = {}
    for point in points:
        for method, place, settings in _settings_in(point):
            for name, value in settings.items():
                setting = (method.name, name)
                _add(places_of.setdefault(setting, {}).setdefault(place, []), value)
                if setting not in smallest:
                    smallest[setting] = _smoke_value(method, name)
        for label, value in point.labels.items():
            _add(axes.setdefault(label, []), value)
    about = {
        setting
        for setting, values_at in places_of.items()
        if any(len(values) > 1 for values in values_at.values())
        or _become_one(values_at, smallest[setting])
    }
    for values in axes.values():
        methods = [method for value in values for method in _methods_in(value)]
        if len(values) > 1:
            about |= {(m.name, name) for m in methods for name in m.changed_settings()}
    return about


def _become_one(values_at: Mapping[Place, Sequence[Any]], smallest: Any) -> bool:
    """Whether values that differ from place to place would be one, made small: then the sweep would
    no longer show that they differ. A base of 0 epochs and a training of 30 stay apart.
    """
    values: list[Any] = []
    for found in values_at.values():
        for value in found:
            _add(values, value)
    if not all(is_number(value) for value in (*values, smallest)):
        return len(values) > 1
    return len({min(value, smallest) for value in values}) < len(values)


def _smoke_value(method: type[Method], name: str) -> Any:
    """The smoke value of a setting; MISSING where it has none."""
    (declared,) = (field for field in fields(method) if field.name == name)
    if declared.metadata.get("smoke", MISSING) is MISSING:
        return MISSING
    return method.smoke().settings()[name]


def _add(values: list[Any], value: Any) -> None:
    """Add what is not there yet; values may be unhashable."""
    if value not in values:
        values.append(value)


def _settings_in(point: Point) -> Iterator[tuple[type[Method], Place, Mapping[str, Any]]]:
    """The method of a point and those among its values, at any depth: each with its place, and its
    settings there.
    """
    method = point.values["method"]
    names = settings_of(method)
    settings = {n: point.values.get(n, settings_default(method, n)) for n in names}
    yield method, (), settings
    for name, value in point.values.items():
        for place, inner in _placed(value, (method.name, name)):
            yield type(inner), place, inner.settings()


def _placed(value: Any, place: Place) -> Iterator[tuple[Place, Method]]:
    """The methods in a value, those among their settings, too, each with its place."""
    if isinstance(value, Method):
        yield place, value
        for name, inner in value.settings().items():
            yield from _placed(inner, (*place, name))
    elif isinstance(value, tuple | list | frozenset):
        for inner in value:
            yield from _placed(inner, place)


def _methods_in(value: Any) -> Iterator[Method]:
    """The methods in a value, those among their settings, too."""
    for _place, method in _placed(value, ()):
        yield method


class _Shrink:
    """Makes values of cells small, but for the settings that are kept. `smaller` holds what became
    smaller, in words, each once.
    """

    def __init__(self, kept: set[Setting]) -> None:
        self.smaller: dict[str, None] = {}
        self._kept = kept

    def value(self, value: Any) -> Any:
        """A value that takes seconds: of a method, a task, or a tuple of them."""
        if isinstance(value, tuple):
            return tuple(self.value(v) for v in value)
        if isinstance(value, Task):
            return replace(value, limit=min(value.limit or SMOKE_IMAGES, SMOKE_IMAGES))
        if isinstance(value, Method):
            settings = value.settings()
            inner = {name: self.value(v) for name, v in settings.items() if _holds_methods(v)}
            return value.replace(**self.numbers(type(value), settings), **inner)
        return value

    def unwritten(self, method: type[Method], written: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a method that a cell does not name and whose defaults are methods, which
        would otherwise be trained in full; without those that are kept.
        """
        free = [name for name in settings_of(method) if name not in written]
        defaults = {
            name: settings_default(method, name)
            for name in free
            if (method.name, name) not in self._kept
        }
        whole = {name: value for name, value in defaults.items() if _holds_methods(value)}
        small = {name: self.value(value) for name, value in whole.items()}
        # What does not become smaller stays unwritten: a point names no more than it has to.
        return {name: value for name, value in small.items() if value != whole[name]}

    def numbers(self, method: type[Method], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The smoke values of a method's settings that are numbers, there and as written, and
        larger as written; without those that are kept.
        """
        small = method.smoke().settings()
        numbers = {}
        for field in fields(method):
            has_smoke_value = field.metadata.get("smoke", MISSING) is not MISSING
            if not has_smoke_value or (method.name, field.name) in self._kept:
                continue
            value = small[field.name]
            written = settings.get(field.name, settings_default(method, field.name))
            # A smoke value never makes a run longer than it was written.
            if is_number(value) and is_number(written) and written > value:
                numbers[field.name] = value
                told = f"{method.name}.{field.name} {show(written)} -> {show(value)}"
                self.smaller[told] = None
        return numbers


def _holds_methods(value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return any(isinstance(v, Method) for v in values)


def _label_now(label: str, old: Any, values: Mapping[str, Any]) -> Any:
    """What a label such as `of.epochs` shows once the values of its point were made small."""
    name, *inner = label.split(".")
    value = values.get(name)
    for setting in inner:
        # A method in a tuple by itself is looked into: labels are written as if it stood alone.
        value = value[0] if isinstance(value, tuple) and len(value) == 1 else value
        value = getattr(value, setting, None)
    is_shown = is_number(old) or _holds_methods(old)
    return value if is_shown and value is not None else old
