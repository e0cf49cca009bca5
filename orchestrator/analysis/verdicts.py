"""What became of a sweep's claims, as a list that shows itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, overload

from orchestrator.spec.claim import NOT_REPRODUCED, REPRODUCED, UNDECIDED, Verdict
from orchestrator.spec.formatting import counted, html_table

if TYPE_CHECKING:
    import pandas as pd

HEADS = ("paper", "claim", "verdict", "n", "evidence")


class Verdicts(Sequence[Verdict]):
    """The verdict on each claim, in the sweep's order.

    `num_claims` is how many claims the whole sweep has: of a part of it no claim is decided, and
    there are no verdicts.
    """

    def __init__(self, found: Sequence[Verdict], num_claims: int) -> None:
        self._found, self.num_claims = tuple(found), num_claims

    @overload
    def __getitem__(self, place: int) -> Verdict: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Verdict]: ...
    def __getitem__(self, place: int | slice) -> Verdict | Sequence[Verdict]:
        return self._found[place]

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self._found)

    def frame(self) -> pd.DataFrame:
        """One row a claim, with all that a verdict has but the pairs that it rests on."""
        import pandas as pd

        names = [field.name for field in fields(Verdict) if field.name != "pairs"]
        return pd.DataFrame({name: [getattr(v, name) for v in self] for name in names})

    @property
    def _summary(self) -> str:
        if not self._found:
            if self.num_claims:
                return (
                    f"{counted(self.num_claims, 'claim')} of the whole sweep, undecided in a part"
                )
            return "the sweep has no claims"
        words = [one.verdict for one in self]
        kinds = (REPRODUCED, NOT_REPRODUCED, UNDECIDED)
        listed = ", ".join(f"{words.count(kind)} {kind}" for kind in kinds if kind in words)
        return f"{counted(len(self), 'claim')}: {listed}"

    def __repr__(self) -> str:
        papers = [f"{one.paper} " if one.paper else "" for one in self]
        lines = [f"{p}{one.words}: {one.claim}" for p, one in zip(papers, self, strict=True)]
        return "\n  ".join([f"<Verdicts {self._summary}>", *lines])

    def _repr_html_(self) -> str:
        rows = [(v.paper, v.claim, v.words, v.n, v.evidence) for v in self]
        return html_table(HEADS if rows else (), rows, caption=self._summary)
