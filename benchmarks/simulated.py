"""The method of simulated sweeps, in a module of its own because a plan imports methods by name."""

from __future__ import annotations

from orchestrator import MatrixSpec, Method, Metric, Run, axis


class Simulated(Method):
    """Nothing is run: its results are drawn by the benchmark."""

    name = "simulated"
    uses = frozenset({"seed"})
    metrics = (Metric("score", headline=True), Metric("validation"))

    level: int = axis(0)
    category: int = axis(0)

    def train(self, run: Run) -> None:
        raise AssertionError("simulated results are not trained")


class SimulatedMatrix(Simulated):
    """The same, with a matrix."""

    name = "simulated_matrix"
    matrices = (MatrixSpec("scores", "extractor", "head", headline=True),)
