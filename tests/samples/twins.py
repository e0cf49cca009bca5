"""A second method called `count`.

Departs from the paper: there is none.
"""

from __future__ import annotations

from orchestrator import Method, Metric


class Count(Method):
    name = "count"
    uses = frozenset({"seed"})
    metrics = (Metric("total"),)

    def train(self, run):
        run.log(total=0)
