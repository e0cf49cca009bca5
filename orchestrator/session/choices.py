"""What a run can be told, each choice by its name, for the command line and for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from orchestrator.errors import InputError, nearest, option


# Members of a str enum, not of a StrEnum: typer shows their values.
class ExecutorName(str, Enum):  # noqa: UP042 - see above
    """Where trials run."""

    ray = "ray"
    inline = "inline"


class Stale(str, Enum):  # noqa: UP042 - see above
    """What to do with results that other code made."""

    keep = "keep"
    check = "check"
    rerun = "rerun"


class Retry(str, Enum):  # noqa: UP042 - see above
    """Outcomes that are results and can be tried again."""

    diverged = "diverged"
    infeasible = "infeasible"


Choice = TypeVar("Choice", ExecutorName, Stale, Retry)


def chosen(kind: type[Choice], name: Choice | str, argument: str) -> Choice:
    """The choice that is called so. Raises InputError, which names the argument, for another."""
    try:
        return kind(name)
    except ValueError:
        names = [one.value for one in kind]
        raise InputError(
            f"{option(argument, name)} is no such choice. {nearest(str(name), names)}"
        ) from None


def refuse_no_count(argument: str, count: object, meaning: str) -> None:
    """Raise InputError, which names the argument, unless it is a whole number from 1."""
    # `True` is an int to Python.
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"{option(argument, count)}: {meaning}, a whole number from 1")


def refuse_no_labels(argument: str, labels: object) -> None:
    """Raise InputError, which names the argument, unless it is a mapping of axes to values."""
    if not isinstance(labels, Mapping):
        raise InputError(
            f"{argument}={labels!r}: write axes with their values, such as "
            f"{argument}={{'split': 'pool'}}"
        )


def refuse_beside_smoke(**given: object) -> None:
    """Raise InputError for what a smoke run would pass over in silence."""
    said = [option(name) for name, value in given.items() if value not in (None, False, (), [])]
    if said:
        raise InputError(
            f"{option('smoke', True)} goes without {' and '.join(said)}: a smoke run is of every "
            "setting, in an empty store, on this machine"
        )
