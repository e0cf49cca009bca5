"""From a comparison and a decision to a verdict."""

from __future__ import annotations

from orchestrator.analysis.claims.deciding import UNSHOWN, Decision
from orchestrator.analysis.claims.pairing import Comparison
from orchestrator.spec.claim import Claim, Verdict


def verdict_of(
    claim: Claim,
    statement: str,
    evidence: str,
    comparison: Comparison,
    decision: Decision,
    *,
    n: int | None = None,
) -> Verdict:
    """The verdict on a claim. Where something is missing or does not match, nothing is decided,
    and the evidence says what.
    """
    count = len(comparison.seeds) if n is None else n
    words = [evidence if count else "nothing to compare yet"]
    if comparison.averaged_over and count:
        words.append(f"averaged over {comparison.averaged_over}")
    words += comparison.problems
    decision = decision if comparison.is_complete and count else UNSHOWN
    return Verdict(claim.paper, statement, decision.verdict, "; ".join(words), count, decision.p)
