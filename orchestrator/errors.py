"""Every error Spolia raises on purpose, in one tree.

    SpoliaError
    |-- InputError (ValueError)    something a user wrote: a sweep, a setting, an option
    |   |-- SweepError             a sweep file, its grid or its counts
    |   |-- PlanError              cells that cannot run as written: checks, roles, needs, cycles
    |   `-- DataError              a data set that is missing, unknown or altered; a class it lacks
    |       `-- MissingDataError   there is nothing where a data set should lie
    |-- MethodError (TypeError)    a method's class or its `train` breaks the contract
    |-- StoreError (OSError)       the store cannot be read or written
    |   `-- CorruptError           what was read is not what was written
    |-- TrackingError              MLflow does not answer
    `-- ExecutorError              the executor cannot go on
        `-- UnreachableError       nobody answers at the head of a cluster

`Infeasible`, `Diverged` and `Abandoned` stand outside the tree: nobody has made a mistake. The
first two end a trial with an outcome, the third ends the process that runs it.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass
class _Reader:
    is_at_shell: bool = False


_reader = _Reader()  # of messages: somebody at the command line, or in Python


class SpoliaError(Exception):
    """Base of all errors that Spolia raises on purpose."""


class InputError(SpoliaError, ValueError):
    """Something a user wrote cannot be used. The message is a `summary`, then each of the
    `problems` on a line of its own.
    """

    def __init__(self, summary: str, problems: Iterable[str] = ()) -> None:
        self.summary = summary
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join([summary, *(f"  - {problem}" for problem in self.problems)]))


class SweepError(InputError):
    """A sweep file, its grid or its counts."""


class PlanError(InputError):
    """Cells that cannot run as written."""


class DataError(InputError):
    """A data set that is missing, unknown or altered, or a class that it lacks."""


class MissingDataError(DataError):
    """There is nothing where a data set should lie: no folder, no file of a part."""


class MethodError(SpoliaError, TypeError):
    """A method's class or its `train` breaks the contract."""


class StoreError(SpoliaError, OSError):
    """The store cannot be read or written."""


class CorruptError(StoreError):
    """What was read from the store is not what was written."""


class TrackingError(SpoliaError):
    """MLflow does not answer."""


class ExecutorError(SpoliaError):
    """The executor cannot go on."""


class UnreachableError(ExecutorError):
    """Nobody answers at the head of a cluster, or what answers there is not ready."""


class Infeasible(Exception):  # noqa: N818 - an outcome, not an error
    """Raised by `run.infeasible`: the trial has an answer, and it is that it cannot be done."""


class Diverged(Exception):  # noqa: N818 - an outcome, not an error
    """Raised by the fit engine when a loss is no longer finite."""


class Abandoned(BaseException):
    """Raised at the end of an epoch whose driver is gone, once there is a checkpoint."""


def nearest(name: object, valid: Iterable[str]) -> str:
    """Say which valid name is closest, and list them all.

    Example: `Did you mean 'threshold'? Valid: 'threshold', 'epochs'.`
    """
    names = list(valid)
    if not names:
        return "There is none."
    listed = f"Valid: {', '.join(map(repr, names))}."
    return " ".join(filter(None, [did_you_mean(name, names), listed]))


def did_you_mean(name: object, valid: Iterable[str]) -> str:
    """`Did you mean 'threshold'?`, or an empty string where no valid name is close."""
    names = list(valid)
    # Whoever writes `B` for `b` means it; of names that differ in case only, the one most like it.
    close = difflib.get_close_matches(str(name).lower(), [n.lower() for n in names], 1, cutoff=0.6)
    if not close:
        return ""
    alike = [one for one in names if one.lower() == close[0]]
    closest = difflib.get_close_matches(str(name), alike, n=1, cutoff=0.0)[0]
    return f"Did you mean {closest!r}?"


@contextlib.contextmanager
def for_shell() -> Iterator[None]:
    """Within, `option` and `call` say things as the command line does, not as Python does."""
    before, _reader.is_at_shell = _reader.is_at_shell, True
    try:
        yield
    finally:
        _reader.is_at_shell = before


def option(name: str, value: object = None) -> str:
    """An option as whoever reads the message would say it.

    Example: `option("stale", "keep")` is `stale='keep'`, and `--stale keep` on the command line;
    `option("home")` is `home=...`, and `--home`.
    """
    if not _reader.is_at_shell:
        return f"{name}=..." if value is None else f"{name}={value!r}"
    dashed = "--" + name.replace("_", "-")
    if value is None or value is True:  # a switch
        return dashed
    is_phrase = isinstance(value, str) and " " in value
    return f"{dashed} {value!r}" if is_phrase else f"{dashed} {value}"


def call(command: str, method: str) -> str:
    """What to do next as whoever reads the message would do it: a command, or a session's method.

    Example: `call("status", "status()")` is `session.status()`, and `spolia status` on the command
    line.
    """
    return f"`spolia {command}`" if _reader.is_at_shell else f"`session.{method}`"
