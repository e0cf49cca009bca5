"""From a comparison and a decision to a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.analysis.claims.deciding import UNSHOWN, Decision
from orchestrator.analysis.claims.pairing import Comparison
from orchestrator.spec.claim import Claim, Verdict

TOLD = 6  # problems that the evidence tells


def verdict_of(
    claim: Claim,
    statement: str,
    evidence: str,
    comparison: Comparison,
    decision: Decision,
    *,
    n: int | None = None,
    is_seen: bool = False,
) -> Verdict:
    """The verdict on a claim. Where something is missing or does not match, nothing is decided,
    and the evidence says what; unless the decision is seen in what is there (`is_seen`), such as a
    difference in bits.
    """
    count = len(comparison.seeds) if n is None else n
    words = [evidence if count or is_seen else "nothing to compare yet"]
    if comparison.averaged_over and count:
        words.append(f"averaged over {comparison.averaged_over}")
    words += _first_of(comparison.problems)
    if not is_seen and not (comparison.is_complete and count):
        # Without a p, too: it takes no part in the correction over all claims.
        decision = UNSHOWN
    if decision.p == 1.0 and comparison.is_too_regular:  # as certain as two seeds can be
        words.append("two seeds that agree show nothing")
    evidence = "; ".join(words)
    return Verdict(
        claim.paper,
        statement,
        decision.verdict,
        evidence,
        count,
        decision.p,
        pairs=comparison.pairs,
    )


def _first_of(problems: Sequence[str]) -> list[str]:
    """The first few of many problems, and how many more there are: a claim along an axis may have
    one at each value.
    """
    more = len(problems) - TOLD
    return [*problems[:TOLD], *([f"and {more} more like these"] if more > 0 else [])]
