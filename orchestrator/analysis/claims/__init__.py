"""Claims: statements of a paper as tests on a sweep's results.

A verdict rests on differences paired by seed: other axes are averaged within a seed first, so n
counts distinct seeds, unless a claim names axes that make pairs, too. `reproduced` and `not
reproduced` need a 95 % interval (Student's t) on one side of the bar; whatever the interval
straddles is `undecided`, and so is anything with fewer than two seeds.
"""

from orchestrator.analysis.claims.comparisons import (
    AboveAll,
    Equal,
    GainHigher,
    Higher,
    Keeps,
    NoWorse,
    Recovered,
    Within,
)
from orchestrator.analysis.claims.trends import (
    DependsOn,
    Ranked,
    Related,
    Spread,
    Unchanged,
    Varies,
)
from orchestrator.spec.claim import Claim, Verdict, check, verdicts

__all__ = [
    "AboveAll",
    "Claim",
    "DependsOn",
    "Equal",
    "GainHigher",
    "Higher",
    "Keeps",
    "NoWorse",
    "Ranked",
    "Recovered",
    "Related",
    "Spread",
    "Unchanged",
    "Varies",
    "Verdict",
    "Within",
    "check",
    "verdicts",
]
