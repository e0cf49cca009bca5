"""What a method declares of itself: the metrics, components, matrices and plots it leaves, the
tasks it takes, what it runs on.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A number that `train` logs, once for each combination of the labels in `by`. Summaries show
    the `headline` ones; `optional` where some settings leave none. A `timing` is measured with a
    clock: it differs each time, so it is no part of what tells two results apart."""

    name: str
    by: tuple[str, ...] = ()
    higher_is_better: bool = True
    headline: bool = False
    optional: bool = False
    timing: bool = False


@dataclass(frozen=True)
class Plot:
    """Two metrics of a sweep to draw against each other: cells that differ in the setting `along`
    only are one line, all others points. Axes `over` which to average (such as `tasks`) are
    averaged within a seed."""

    metric: str
    against: str
    along: str = ""
    over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curve:
    """A curve of a fit to draw, by its whole name (`transfer/val_accuracy`): a line for each
    setting, over epochs, averaged over seeds. `begins` names a metric that holds the value before
    the first epoch."""

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
    """A matrix that `train` measures: what its rows and columns are; summaries show the `headline`
    one.
    """

    name: str
    rows: str
    columns: str
    headline: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Roles:
    """What tasks a method takes, in order; `more` says that the last role may be filled any number
    of times.
    """

    names: tuple[str, ...]
    at_least: int
    more: bool

    def problem(self, count: int) -> str | None:
        """Why this many tasks do not fit, or None."""
        if count < self.at_least or (count > len(self.names) and not self.more):
            wanted = f"at least {self.at_least}" if self.more else str(self.at_least)
            return f"takes {wanted} task{'s' if wanted != '1' else ''} ({', '.join(self.names)}), got {count}"
        return None


def roles(*names: str, at_least: int | None = None) -> Roles:
    """`roles("source", "target")` takes exactly two tasks; `roles("tasks", at_least=1)` one or
    more.
    """
    return Roles(names, len(names) if at_least is None else at_least, at_least is not None)


@dataclass(frozen=True)
class Resources:
    """A hint of what one trial uses: CPU threads, and the share of a GPU where there is one. Never
    part of a key.
    """

    cpus: int = 1
    gpus: float = 1.0
