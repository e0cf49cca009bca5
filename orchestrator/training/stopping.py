"""When a fit stops early and which of its states it keeps: pure functions of its curves, so that a
resumed fit decides the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Curves = Mapping[str, Sequence[float]]
"""Values by name, one an evaluation, as recorded: losses by the names that the loss gives, and what
is watched.
"""
Until = Callable[[Curves], bool]


@dataclass(frozen=True)
class Best:
    """`select=Best("val_accuracy")`: the fit ends with the nets as they were when this curve was
    best, the earliest of equals.
    """

    curve: str
    higher: bool = True

    def beats(self, value: float, best: float | None) -> bool:
        """Whether a value is better than the best so far; NaN never is."""
        if math.isnan(value):
            return False
        return best is None or (value > best if self.higher else value < best)


@dataclass(frozen=True)
class Plateau:
    """`until=Plateau("val_accuracy", patience=5)`: the last `patience` values brought nothing
    better, by more than `least`, than those before.
    """

    curve: str
    patience: int
    higher: bool = True
    least: float = 0.0

    def __call__(self, curves: Curves) -> bool:
        values = [v if self.higher else -v for v in curves[self.curve]]  # so that more is better
        if len(values) <= self.patience:  # there is nothing to compare the last ones with yet
            return False
        return max(values[-self.patience :]) <= max(values[: -self.patience]) + self.least


@dataclass(frozen=True)
class Reached:
    """`until=Reached("val_accuracy", 0.95)`: the curve's last value is at least this (or, with
    `higher=False`, at most).
    """

    curve: str
    value: float
    higher: bool = True

    def __call__(self, curves: Curves) -> bool:
        last = curves[self.curve][-1] if curves[self.curve] else math.nan
        return last >= self.value if self.higher else last <= self.value
