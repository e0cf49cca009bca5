"""Claims: statements of a paper as tests on a sweep's results.

Two steps: `pairing` says which values stand against each other and what is missing, `deciding`
tests them against a bar. Cells are paired by seed; other axes are averaged within a seed and must
be the same on all sides, so n counts distinct seeds. `reproduced` and `not reproduced` need a
one-sided test at 2.5 % (a 95 % interval on one side of the bar); whatever is not shown is
`undecided`, and so is anything incomplete or unbalanced, which says what is missing.
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
from orchestrator.spec.claim import Claim, Entry, Labels, Verdict, entry, verdicts

__all__ = [
    "AboveAll",
    "Claim",
    "DependsOn",
    "Entry",
    "Equal",
    "GainHigher",
    "Higher",
    "Keeps",
    "Labels",
    "NoWorse",
    "Ranked",
    "Recovered",
    "Related",
    "Spread",
    "Unchanged",
    "Varies",
    "Verdict",
    "Within",
    "entry",
    "verdicts",
]
