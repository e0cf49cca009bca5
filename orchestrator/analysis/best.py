"""The best of a sweep's settings in one metric, and how far the next best is behind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.analysis.estimates import Estimate
from orchestrator.analysis.groups import Column, Group
from orchestrator.analysis.selection import setting_of
from orchestrator.errors import InputError
from orchestrator.spec.formatting import html_table


@dataclass(frozen=True, repr=False)
class BestSetting:
    """The setting with the best mean of a metric, and the next best.

    `where` are its values by their axes, as every `where=` takes them; `value` is its mean with its
    interval and n, `missing` which of its trials are in no mean. `next` and `next_value` are the
    same of the second best, empty and None where it is the only one. `overlaps` says whether the
    intervals of the two overlap: then these seeds do not tell them apart. None where one of them
    has no interval. `not_compared` is how many settings have no value.
    """

    metric: str
    where: Mapping[str, Any]
    title: str
    value: Estimate
    missing: str
    next: Mapping[str, Any]
    next_title: str
    next_value: Estimate | None
    not_compared: int

    @property
    def overlaps(self) -> bool | None:
        other = self.next_value
        # One seed has no interval, and an unknown overlap is neither of the two.
        if other is None or math.isnan(self.value.half) or math.isnan(other.half):
            return None
        # No test: means may differ clearly where their intervals overlap a little.
        return self.value.low <= other.high and other.low <= self.value.high

    def __repr__(self) -> str:
        lines = [f"<BestSetting {self.metric} {_with_n(self.value)}: {self.title}>"]
        if self.next_value is not None:
            lines.append(f"  next: {_with_n(self.next_value)}: {self.next_title}; {self._apart}")
        lines += [f"  {note}" for note in self._notes()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [("best", self.title, self.value, self.value.n)]
        if self.next_value is not None:
            rows.append(("next", self.next_title, self.next_value, self.next_value.n))
        caption = "; ".join([self.metric, *([self._apart] if self._apart else []), *self._notes()])
        return html_table(("", "setting", "mean", "n"), rows, caption=caption)

    @property
    def _apart(self) -> str:
        if self.next_value is None:
            return ""
        if self.overlaps is None:
            return "no interval to tell them apart by"
        return "the intervals overlap" if self.overlaps else "the intervals do not overlap"

    def _notes(self) -> list[str]:
        notes = [f"of the best: {self.missing}"] if self.missing else []
        if self.not_compared:
            have = "setting has" if self.not_compared == 1 else "settings have"
            notes.append(f"{self.not_compared} {have} no value yet")
        return notes


def best_of(column: Column, groups: Sequence[Group], *, highest: bool) -> BestSetting:
    """The group with the highest mean, or the lowest; the first of equals. Raises InputError where
    none has a value.
    """
    found = [(group, group.value(column)) for group in groups]
    # One seed is enough to be ranked; n stands beside every mean.
    ranked = [(group, value) for group, value in found if value.n]
    if not ranked:
        raise InputError(f"no setting has a value of {column.title} yet")
    # The sort is stable, so that of equals the first in the sweep comes first.
    ranked.sort(key=lambda one: -one[1].mean if highest else one[1].mean)
    best, value = ranked[0]
    second, next_value = ranked[1] if len(ranked) > 1 else (None, None)
    return BestSetting(
        metric=column.title,
        where=setting_of(best),
        title=best.title,
        value=value,
        missing=best.missing,
        next=setting_of(second) if second else {},
        next_title=second.title if second else "",
        next_value=next_value,
        not_compared=len(found) - len(ranked),
    )


def _with_n(value: Estimate) -> str:
    return f"{value} (n={value.n})"
