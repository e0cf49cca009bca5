"""What cells are called: the values of their axes, typed and as people read them, and short names
of axes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any

from orchestrator.errors import nearest
from orchestrator.spec.canonical import SCALARS, canonical_json, show
from orchestrator.spec.task import Task
from orchestrator.spec.trial import Cell

ABSENT = "-"  # what tables show, and claims say, where cells have no such axis

_METRIC_COLUMNS = ("cell", "key", "outcome", "metric", "label", "value")
_MATRIX_COLUMNS = ("matrix", "row", "column", "count", "chance", "note")
_COMPONENT_COLUMNS = ("row_component", "column_component")
_STATUS_FIELDS = ("state", "why", "need", "need_key")
COLUMNS = frozenset({*_METRIC_COLUMNS, *_MATRIX_COLUMNS, *_COMPONENT_COLUMNS, *_STATUS_FIELDS})
"""What stands beside the axes in tables of results and in `status --json`: no axis is called so."""


@dataclass(frozen=True)
class AxisValue:
    """One value of an axis: what it is, what identifies it, and what people call it.

    `key` is canonical JSON: two values are one exactly where their keys are equal, so that floats
    that look alike, or tasks that are called alike, stay apart. `text` is unique on its axis.
    """

    key: str
    value: Any
    text: str


class Axes:
    """The axes of a sweep's cells with their values, typed and told apart.

    Tables, claims and `--only` take the values of a cell from here, never from what they look like.
    """

    def __init__(self, cells: Sequence[Cell], names: Sequence[str]) -> None:
        self.names = tuple(names)
        # Keys by the identity of a value, since cells share their values; each with its value, so
        # that the identity is nobody else's later.
        self._keys: dict[int, tuple[str, Any]] = {}
        self._values: dict[str, dict[str, AxisValue]] = {}
        for name in self.names:
            self._values[name] = self._distinct(name, cells)

    def values(self, name: str) -> list[AxisValue]:
        """The distinct values of an axis, in the order of the cells."""
        return list(self._values[name].values())

    def of(self, cell: Cell, name: str) -> AxisValue | None:
        """An axis's value in a cell, or None where the cell has no such axis."""
        if name not in cell.labels:
            return None
        return self._values[name][self._key(cell.labels[name])]

    def text(self, cell: Cell, name: str) -> str:
        """An axis's value in a cell as people read it; '-' where the cell has no such axis."""
        value = self.of(cell, name)
        return ABSENT if value is None else value.text

    def key_of(self, name: str, wanted: Any, *, called: str) -> str | None:
        """The key of the value that `find` finds; None where `wanted` means cells without the
        axis.
        """
        # The type first: values of axes may be of any type, and some compare in ways of their own.
        if isinstance(wanted, str) and wanted == ABSENT:
            return None
        return self.find(name, wanted, called=called).key

    def find(self, name: str, wanted: Any, *, called: str | None = None) -> AxisValue:
        """The value that is `wanted`, or is called so; one of the axis's own values is itself.
        Raises LookupError with the reason where the axis never has it, or where several are called
        so; the reason calls the axis as whoever asked did, `called`.
        """
        values, axis = self._values[name], called or name
        if isinstance(wanted, AxisValue):
            return wanted
        for key in _possible_keys(wanted):
            if key in values:
                return values[key]
        # No value is so; a value may be called so. The text that tables show counts before a name
        # that several values may have.
        named = [v for v in values.values() if _is_called(v, wanted)]
        exact = [v for v in named if v.text == wanted] or named
        if len(exact) == 1:
            return exact[0]
        if exact:
            texts = ", ".join(v.text for v in exact)
            raise LookupError(f"{in_words(wanted)} may be {len(exact)} values of {axis}: {texts}")
        for value in values.values():
            # Without what `value.text` has besides, where several values are called alike.
            name = _text(value.value)
            unlike = _what_differs(wanted, value.value) if in_words(wanted) == name else []
            if unlike:
                raise LookupError(f"{axis} is never this {name}: {'; '.join(unlike)}")
        asked = wanted if isinstance(wanted, str) else in_words(wanted)
        near = nearest(asked, [v.text for v in values.values()])
        raise LookupError(f"{axis} is never {in_words(wanted)}. {near}")

    def _distinct(self, name: str, cells: Sequence[Cell]) -> dict[str, AxisValue]:
        found: dict[str, Any] = {}
        for cell in cells:
            if name in cell.labels:
                found.setdefault(self._key(cell.labels[name]), cell.labels[name])
        texts = _distinct_texts(list(found.values()))
        values = {}
        for key, text in zip(found, texts, strict=True):
            values[key] = AxisValue(key, found[key], text)
        return values

    def _key(self, value: Any) -> str:
        known = self._keys.get(id(value))
        if known is None:
            known = self._keys[id(value)] = (value_key(value), value)
        return known[0]


def value_key(value: Any) -> str:
    """Canonical JSON of a value of an axis; equal exactly for values that are one."""
    return canonical_json(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return {"set": sorted((_plain(v) for v in value), key=canonical_json)}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(v) for name, v in value.items()}
    if hasattr(value, "to_json"):
        # With the type: a task and a network could agree in all that they say of themselves.
        return {type(value).__name__: _plain(value.to_json())}
    if isinstance(value, type):
        return f"{value.__module__}:{value.__qualname__}"
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    return int(value) if is_whole else value  # one of numpy's is a number like any other


def _possible_keys(wanted: Any) -> Iterator[str]:
    """Keys that a value may have on an axis: 1 is 1.0 where floats are meant, a tuple a set where
    sets are. Text is itself first, and only then what something else is called.
    """
    try:
        yield value_key(wanted)
    except (TypeError, ValueError):  # nothing that an axis could have; NaN, say
        return
    if isinstance(wanted, str):
        return
    if isinstance(wanted, Integral) and not isinstance(wanted, bool):
        with suppress(OverflowError):  # beyond the largest float, so on no axis of floats
            yield value_key(float(wanted))
    elif isinstance(wanted, float) and wanted.is_integer():
        yield value_key(int(wanted))
    elif isinstance(wanted, tuple | list | set):
        yield value_key(tuple(wanted))
        yield value_key(frozenset(wanted))
    elif isinstance(wanted, Task):
        yield value_key((wanted,))
    else:
        yield value_key((wanted,))


def _is_called(value: AxisValue, wanted: Any) -> bool:
    """Whether a text names a value: as tables show it, or, a number, as somebody may write it, such
    as `2.0` or `1e-3`.
    """
    if not isinstance(wanted, str):
        return False
    if wanted in (value.text, _text(value.value)):
        return True
    if isinstance(value.value, bool) or not isinstance(value.value, int | float):
        return False
    try:
        return float(wanted) == value.value
    except ValueError:
        return False


def _text(value: Any) -> str:
    """A value as people read it: tasks by their names, anything else as in a setting."""
    tasks = _as_tuple(value)
    if tasks and all(isinstance(task, Task) for task in tasks):
        return " + ".join(task.name for task in tasks)
    text = show(value)
    return repr(text) if text == ABSENT else text  # `'-'`: the bare one means that there is none


def _what_differs(wanted: Any, value: Any) -> list[str]:
    """In what tasks differ from others that are called as they are; nothing where they are none."""
    pairs = list(zip(_as_tuple(wanted), _as_tuple(value), strict=False))
    if not all(isinstance(one, Task) and isinstance(other, Task) for one, other in pairs):
        return []
    found = []
    for one, other in pairs:
        for field in fields(Task):
            asked, there = getattr(one, field.name), getattr(other, field.name)
            if asked != there:
                found.append(f"{field.name} of {one.name} is {asked!r}, in the sweep {there!r}")
    return found


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _full_text(value: Any) -> str:
    """The same with more to tell it apart by: all digits of a number, what a task is made of."""
    if isinstance(value, float):
        return repr(value)
    tasks = _as_tuple(value)
    if tasks and all(isinstance(task, Task) for task in tasks):
        return " + ".join(f"{_told(task)}={replace(task, label='').name}" for task in tasks)
    return show(value)


def label_of(value: Any) -> str:
    """What a metric is logged by, for a value as it is in the grid: a task by its name."""
    return value.name if isinstance(value, Task) else str(value)


def labels_in_words(labels: Mapping[str, Any]) -> str:
    """`split='pool', seed=0, base=fine_tune, tasks=a + b`: as they would be typed, where that is
    short; others as tables have them.
    """
    short = {name: in_words(value) for name, value in labels.items()}
    return ", ".join(f"{name}={text}" for name, text in short.items()) or "all cells"


def in_words(value: Any) -> str:
    """A value, or a list of values, as whoever asks for it would know it."""
    if isinstance(value, AxisValue):
        return value.text
    if isinstance(value, list):
        return f"[{', '.join(map(in_words, value))}]"
    return repr(value) if isinstance(value, SCALARS) else _text(value)


def longer_text(value: Any) -> str:
    """The same with what tasks say of their normalisation: `numbers (own)`. No name says it, for a
    name is part of the streams of random numbers.
    """
    tasks = _as_tuple(value)
    if tasks and all(isinstance(task, Task) for task in tasks):
        return " + ".join(map(_told, tasks))
    return _text(value)


def _told(task: Task) -> str:
    return f"{task.name} ({task.normalisation})" if task.normalisation else task.name


def _distinct_texts(values: Sequence[Any]) -> list[str]:
    """A text for each of several values, no two alike: longer ones where short ones are alike, the
    type behind where these are, too, and a number where even that does not help.
    """
    texts = [_text(value) for value in values]
    # Only texts that are still alike grow: what is clear already stays short.
    for longer in (longer_text, _full_text):
        counts = Counter(texts)
        for i, value in enumerate(values):
            if counts[texts[i]] > 1:
                texts[i] = longer(value)
    counts, types = Counter(texts), dict[str, set[type]]()
    for text, value in zip(texts, values, strict=True):
        types.setdefault(text, set()).add(type(value))
    for i, value in enumerate(values):
        if counts[texts[i]] > 1 and len(types[texts[i]]) > 1:
            texts[i] = f"{texts[i]} ({type(value).__name__})"
    counts, seen = Counter(texts), Counter[str]()
    for i, text in enumerate(texts):
        if counts[text] > 1:
            seen[text] += 1
            texts[i] = f"{text} #{seen[text]}"
    return texts


def short_names(axes: Sequence[str]) -> dict[str, str]:
    """The short name of each axis: without the setting that it is in, where that leaves no doubt.
    A setting that has the name of a column is called `setting.value`.

    Example: `short_names(["of.split", "of.lr", "lr"])` is `{"of.split": "split", "of.lr": "of.lr",
    "lr": "lr"}`.
    """
    last_parts = [axis.rsplit(".", 1)[-1] for axis in axes]
    names = {}
    for axis, last in zip(axes, last_parts, strict=True):
        is_clear = last_parts.count(last) == 1 and last not in COLUMNS
        name = last if is_clear else axis
        # Not once but until it is free: an axis may itself be called `setting.value`.
        while name in COLUMNS or (name != axis and name in axes):
            name = f"setting.{name}"
        names[axis] = name
    return names


def axes_by_name(axes: Iterable[str]) -> dict[str, str]:
    """The full name of each axis by its short name and by itself: all that people may write."""
    distinct = list(dict.fromkeys(axes))
    by_short_name = {short: axis for axis, short in short_names(distinct).items()}
    return by_short_name | {axis: axis for axis in distinct}


def named_twice(names: Mapping[str, str], labels: Iterable[str]) -> list[str]:
    """Which axes some labels name by their short name and by their full one, in words: only one of
    the two could count. `names` are those of `axes_by_name`.
    """
    by_axis: dict[str, list[str]] = {}
    for label in labels:
        if label in names:
            by_axis.setdefault(names[label], []).append(label)
    return [
        f"{' and '.join(map(repr, twice))} are one axis: name it once"
        for twice in by_axis.values()
        if len(twice) > 1
    ]
