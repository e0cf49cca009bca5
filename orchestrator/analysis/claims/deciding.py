"""How a claim is decided: an interval against a bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from orchestrator.analysis.results import Estimate


class Decision(TypedDict):
    """Whether a claim is shown to hold or shown to fail, as `Claim.verdict` takes it. Neither is
    shown where an interval straddles the bar, or is NaN for want of seeds.
    """

    holds: bool
    fails: bool


UNSHOWN = Decision(holds=False, fails=False)


def above(found: Estimate, bar: float) -> Decision:
    """Holds where the whole 95 % interval is above the bar, fails where it is below."""
    return Decision(holds=found.low > bar, fails=found.high < bar)


def between(found: Estimate, lower: float, upper: float) -> Decision:
    """Holds where the whole 95 % interval is between two bars, fails where it is beyond either."""
    return Decision(
        holds=lower < found.low and found.high < upper,
        fails=found.high < lower or found.low > upper,
    )


def every(decisions: Sequence[Decision]) -> Decision:
    """Holds where all of several decisions hold, fails where any of them fails."""
    return Decision(
        holds=all(decision["holds"] for decision in decisions),
        fails=any(decision["fails"] for decision in decisions),
    )
