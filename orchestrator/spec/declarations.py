"""What a method declares of itself: the metrics, components, matrices and plots it leaves, the
tasks it takes, what it runs on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from orchestrator.errors import InputError

if TYPE_CHECKING:
    from orchestrator.spec.task import Task
    from orchestrator.spec.trial import NetworkSpec


@dataclass(frozen=True)
class Metric:
    """A number that `train` logs, once for each combination of the labels in `by`.

    Summaries show the `headline` ones, and all of a method that has none. `optional` where some
    settings leave none. A `timing` is measured with a clock and differs each time, so two results
    that differ in it are still equal.
    A metric `of_targets` is logged by `task`, for the first task too: summaries leave that one out
    where there are others, since it is what a method starts from and not what it learns. `chance`
    is what guessing scores; `help` says in a sentence what the number is.
    """

    name: str
    by: tuple[str, ...] = ()
    higher_is_better: bool = True
    headline: bool = False
    optional: bool = False
    timing: bool = False
    of_targets: bool = False
    chance: float | None = None
    help: str = ""


def headline_of(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Of a method's metrics those that summaries show."""
    return tuple(metric for metric in metrics if metric.headline) or tuple(metrics)


@dataclass(frozen=True)
class Plot:
    """A figure of two metrics of a sweep, one `against` the other.

    Cells that differ only in the setting `along` are joined by a line; without it, each is a point.
    Over the axes `over` (such as `tasks`), cells of one seed are averaged.
    """

    metric: str
    against: str
    along: str = ""
    over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curve:
    """A figure of a curve of a fit, by its full name (`transfer/val_accuracy`): a line for each
    setting, over epochs, averaged over seeds. `begins` names the metric that holds its value before
    the first epoch.
    """

    name: str
    begins: str = ""


@dataclass(frozen=True)
class Kept:
    """A component that `train` keeps, once for each combination of the labels in `by`; `optional`
    where some settings leave none.
    """

    name: str
    by: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class MatrixSpec:
    """A matrix that `train` measures: what its `rows` and `columns` are. Summaries show the
    `headline` one; `optional` where some settings leave none. `help` says in a sentence what an
    entry is.
    """

    name: str
    rows: str
    columns: str
    headline: bool = False
    optional: bool = False
    help: str = ""


@dataclass(frozen=True)
class Roles:
    """The tasks that a method takes, in order: what each is to it, and how many there are at least.
    With `more`, the last role may be filled any number of times.
    """

    names: tuple[str, ...]
    at_least: int
    more: bool

    def problem(self, count: int) -> str | None:
        """Why the method cannot take `count` tasks, or None."""
        is_too_many = count > len(self.names) and not self.more
        if count >= self.at_least and not is_too_many:
            return None
        wanted = f"at least {self.at_least}" if self.more else str(self.at_least)
        noun = "task" if wanted == "1" else "tasks"
        return f"takes {wanted} {noun} ({', '.join(self.names)}), got {count}"


def roles(*names: str, at_least: int | None = None) -> Roles:
    """Declare the tasks that a method takes: `roles("source", "target")` takes exactly two,
    `roles("tasks", at_least=1)` one or more, and `roles("source", "targets", at_least=2)` a source
    and one or more targets. A run has them by role, by place and in turn; see `Run`.
    """
    return Roles(names, len(names) if at_least is None else at_least, at_least is not None)


@dataclass(frozen=True)
class SameFeatures:
    """Networks, each beside the task whose images it sees, whose features at `split` must have one
    shape; `because` says why, and what to write where they have not.
    """

    split: str
    networks: tuple[tuple[NetworkSpec, Task], ...]
    because: str


@dataclass(frozen=True)
class Resources:
    """A hint at what one trial uses: CPU threads (`cpus`), and the share of a GPU where there is
    one (`gpus`): 0 to 1, or a whole number of them. Never part of a key. Raises InputError for any
    other number.
    """

    cpus: int = 1
    gpus: float = 1.0

    def __post_init__(self) -> None:
        problems = []
        if not is_cpu_count(self.cpus):
            problems.append(f"cpus = {self.cpus!r} must be {CPU_COUNT}")
        if not is_gpu_share(self.gpus):
            problems.append(f"gpus = {self.gpus!r} must be {GPU_SHARE}")
        if problems:
            raise InputError("resources that nobody could set aside:", problems)


CPU_COUNT = "a whole number from 1"
GPU_SHARE = "a share of a GPU (0 to 1) or a whole number of them"


def is_cpu_count(value: object) -> bool:
    """Whether a number of CPUs can be set aside for a trial."""
    return is_finite_number(value) and value >= 1 and value == int(value)


def is_gpu_share(value: object) -> bool:
    """Whether a share of a GPU, or a number of them, can be set aside for a trial."""
    return is_finite_number(value) and (0 <= value < 1 or is_cpu_count(value))


def is_finite_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number that can be counted with: no truth value, no NaN, no infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of more than 300 digits
        return False
