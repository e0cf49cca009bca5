"""A method whose results can be told without running it.

Departs from the paper: there is none.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator import MatrixSpec, Method, Metric, Run, Trial, axis


class Counted(Method):
    """Logs a number that follows from its settings, its seed and what it needs; `expected` says
    which.
    """

    name = "counted"
    uses = frozenset({"seed"})
    metrics = (Metric("value", headline=True),)
    matrices = (MatrixSpec("table", "row", "column", headline=True),)

    number: int = axis(1)
    factor: float = axis(1.0)
    text: str = axis("plain")
    depth: int = axis(0)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        if self.depth <= 0:
            return {}
        return {"before": trial.replace(method=self.replace(depth=self.depth - 1))}

    def own(self, seed: int | None) -> float:
        return self.number * self.factor + len(self.text) + 0.5 * (seed or 0)

    def train(self, run: Run) -> None:
        before = sum(need.metric("value") for need in run.needs.values())
        value = self.own(run.seed) + before
        run.log(value=value)
        run.matrix("table", rows=["a", "b"], columns=["a"], values=[[value], [0.0]])


def expected(trial: Trial) -> float:
    """What a trial of `Counted` logs."""
    method = trial.method
    assert isinstance(method, Counted)
    return method.own(trial.seed) + sum(expected(need) for need in trial.needs.values())
