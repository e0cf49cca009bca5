"""The fields of claims: what each may hold, checked when a claim is written.

A field's declared type says what it takes, `limited(...)` in which range a number has to lie. As
with the settings of a method, all that is wrong with one claim is told at once.
"""

from __future__ import annotations

import dataclasses
import sys
from abc import ABCMeta
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import FrameType
from typing import Any, Literal, get_args, get_origin

from orchestrator.errors import InputError, nearest
from orchestrator.spec.canonical import coerce, type_hints, unsupported
from orchestrator.spec.labels import value_key

_EXAMPLE = '{"split": "pool"}'


def limited(
    default: Any = dataclasses.MISSING,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
) -> Any:
    """A field of a claim that is a number, and in which range it makes sense."""
    limits = {"above": above, "at least": at_least, "below": below}
    given = {words: limit for words, limit in limits.items() if limit is not None}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata={"limits": given})
    return dataclasses.field(default=default, metadata={"limits": given})


class CheckedFields(ABCMeta):
    """The class of claims: holds the arguments of each against its fields before it is made, and
    raises InputError that names the claim, its line, and all that is wrong.
    """

    # Here and not in `__post_init__`: the `__init__` that a dataclass writes ends at the first
    # unknown or missing name, with Python's TypeError, before any field could be checked.
    def __call__(cls, *unnamed: Any, **given: Any) -> Any:
        problems = [f"{value!r}: write which field that is" for value in unnamed]
        values = {}
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        declared = {field.name: field for field in fields if field.init}
        for name, value in given.items():
            if name not in declared:
                problems.append(f"it has no {name!r}. {nearest(name, declared)}")
                continue
            try:
                values[name] = _checked(value, _types(cls)[name], declared[name])
            except ValueError as error:
                problems.append(f"{name}: {error}")
        for name, field in declared.items():
            no_default = field.default is field.default_factory is dataclasses.MISSING
            if no_default and name not in given:
                problems.append(f"{name}: it has to be given")
        if problems:
            title = title_of(cls.__name__, str(given.get("paper", "")), line_outside())
            raise InputError(f"{title} cannot be used as written:", problems)
        return super().__call__(**values)


@lru_cache(maxsize=64)
def _types(cls: type) -> Mapping[str, Any]:
    """The declared types of a claim's fields. Raises InputError where one cannot be read."""
    try:
        return type_hints(cls)
    except NameError as error:
        raise InputError(f"{cls.__name__}: the type of a field cannot be read: {error}") from error


def _checked(value: Any, kind: Any, field: dataclasses.Field[Any]) -> Any:
    """A value as one of its declared type; ValueError says what was expected."""
    # The two forms of `Labels`, one side or several, are no types that a setting could have.
    if kind == Mapping[str, Any]:
        return _checked_labels(value)
    if kind == tuple[Mapping[str, Any], ...]:
        if isinstance(value, Mapping) or not isinstance(value, tuple | list) or not value:
            raise ValueError(f"expected one or more, as in ({_EXAMPLE},), got {value!r}")
        return tuple(_checked_labels(one) for one in value)
    if get_origin(kind) is Literal and isinstance(value, str) and value not in get_args(kind):
        raise ValueError(f"it cannot be {value!r}. {nearest(value, get_args(kind))}")
    kinds = get_args(kind) or (kind,)
    # A metric is a name or an `Entry`: what has a class of its own has checked itself when it was
    # made.
    classes = [one for one in kinds if isinstance(one, type) and dataclasses.is_dataclass(one)]
    if any(isinstance(value, one) for one in classes):
        return value
    if classes and not isinstance(value, str):
        names = " or ".join(f"{one.__name__.lower()}(...)" for one in classes)
        raise ValueError(f"expected a name or {names}, got {value!r}")
    known = str if classes else kind
    if unsupported(known):  # a field of somebody's own kind of claim: theirs to check
        return value
    value = coerce(value, known)
    # An empty text is a value only where it is the default, and then means that nothing is said.
    if known is str and field.default != "" and not value:
        raise ValueError("expected a name, got ''")
    _check_limits(value, field.metadata.get("limits", {}))
    return value


def _check_limits(value: Any, limits: Mapping[str, float]) -> None:
    if value is None:
        return
    is_so = {
        "above": lambda limit: value > limit,
        "at least": lambda limit: value >= limit,
        "below": lambda limit: value < limit,
    }
    if not all(is_so[words](limit) for words, limit in limits.items()):
        wanted = " and ".join(f"{words} {limit:g}" for words, limit in limits.items())
        raise ValueError(f"expected a number {wanted}, got {value!r}")


def _checked_labels(labels: Any) -> Mapping[str, Any]:
    """Cells by the values of their axes; see `Labels`."""
    if not isinstance(labels, Mapping):
        raise ValueError(f"expected values by axis such as {_EXAMPLE}, got {labels!r}")
    problems = [problem for name, value in labels.items() for problem in _of_label(name, value)]
    if problems:
        raise ValueError("; ".join(problems))
    return dict(labels)


def _of_label(name: Any, value: Any) -> Iterator[str]:
    """What is wrong with one axis and its value, in words."""
    if not isinstance(name, str) or not name:
        yield f"expected the name of an axis, got {name!r}"
        return
    if isinstance(value, list) and not value:
        yield f"{name} is an empty list, which no cell has"
    for one in value if isinstance(value, list) else [value]:
        try:
            value_key(one)
        # What has no canonical JSON can be the value of no axis.
        except (TypeError, ValueError, RecursionError):
            yield f"{name} cannot be {one!r} (several values are a list)"


def title_of(kind: str, paper: str, line: int) -> str:
    """What an error calls a claim: where it stands in the paper, its kind, its line."""
    known = [kind, *([f"line {line}"] if line else [])]
    if paper:
        return f"claim {paper} ({', '.join(known)})"
    return f"claim {' in '.join(known)}"


PROGRAMS = ("__main__", "__channelexec__")  # names of modules that are no files of a user's


def line_outside() -> int:
    """The line in which a claim is written: of the first caller that is not ours. Where a file is
    being imported, such as a sweep, in that file: a function elsewhere may make its claims.
    """
    first = 0
    lines: dict[str, int] = {}  # of the first caller in each file
    # From the inside out. The first caller that is not ours may be a helper in another file than
    # the sweep's, so the search goes on.
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] not in ("orchestrator", "dataclasses"):
            line = lines.setdefault(frame.f_code.co_filename, frame.f_lineno)
            first = first or line
            # Not `__main__`: that is the program which imports the sweep, or a notebook, where the
            # first caller is the line that was meant. Nor what execnet runs in another process.
            if frame.f_code.co_name == "<module>" and name not in PROGRAMS:
                return line
        frame = frame.f_back
    return first
