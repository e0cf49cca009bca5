"""What the numbers of a sweep mean, as its methods declare them: for the terminal, the page, and
whoever shows them elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.analysis.results import Results
from orchestrator.spec.declarations import MatrixSpec


@dataclass(frozen=True)
class Definition:
    """A metric: what it is, whether `higher` or `lower` values are better (empty where methods do
    not agree), what guessing scores (None where they do not say or differ), what it is logged by.
    """

    name: str
    what: str
    better: str
    chance: float | None
    by: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """All of it that a reader of a table needs; empty where nothing is known."""
        parts = [self.what] if self.what else []
        if self.better == "lower":  # higher is what everybody expects
            parts.append("Lower is better.")
        if self.chance is not None:
            parts.append(f"Guessing gives {self.chance:g}.")
        return " ".join(parts)


def metrics(results: Results) -> list[Definition]:
    """Of every metric that the sweep's methods declare."""
    return [metric(results, name) for name in results.metrics()]


def metric(results: Results, name: str) -> Definition:
    """Of one metric. Where methods mean different things by it, all of them, each with who does."""
    declared = results.declared(name)
    is_higher_better = results.is_higher_better(name)
    return Definition(
        name=name,
        what=_by_method(results, name),
        better={True: "higher", False: "lower", None: ""}[is_higher_better],
        chance=results.chance_of(name),
        by=tuple(dict.fromkeys(label for one in declared for label in one.by)),
    )


def _by_method(results: Results, name: str) -> str:
    """What a metric is, in one sentence or in one a method."""
    methods: dict[str, list[str]] = {}
    by_name = {cell.trial.method.name: cell.trial.method for cell in results.plan.cells}
    for method in by_name.values():
        for one in method.metrics:
            if one.name == name and one.help:
                methods.setdefault(one.help, []).append(method.name)
    if len(methods) < 2:
        return next(iter(methods), "")
    return " ".join(f"{', '.join(names)}: {what}" for what, names in methods.items())


def matrices(results: Results) -> list[MatrixSpec]:
    """Every matrix that the sweep's methods declare, as the first of them does."""
    found: dict[str, MatrixSpec] = {}
    for cell in results.plan.cells:
        for matrix in cell.trial.method.matrices:
            found.setdefault(matrix.name, matrix)
    return list(found.values())
