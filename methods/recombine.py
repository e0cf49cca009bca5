"""Measuring compatibility: every extractor with every head, over the networks of any number of trials, with no training in between.

Paper: none (a measurement); the matrix is that of Gygli, Uijlings, Ferrari, AAAI 2021, arXiv:2004.03898.

Departs from the paper: it is not known on which images the paper evaluates, so both ways are measured. `by_extractor` (the headline) takes images of
the extractor's task whose class the head knows; `by_head` takes all images of the head's task. The normalised compatibility is our own:
(accuracy - chance) / (own accuracy on the same images - chance).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from methods.fine_tune import FineTune
from orchestrator.canonical import show
from orchestrator.errors import nearest
from orchestrator.method import MatrixSpec, Method, Metric, axis, roles
from orchestrator.network import Network
from orchestrator.result import Component
from orchestrator.run import Run
from orchestrator.trial import Trial

Array = NDArray[np.float64]
PROTOCOLS = ("by_extractor", "by_head")


class Recombine(Method):
    """Cut the networks of other trials at `split` and score every extractor with every head on test images.

    `of` are the methods whose networks take part, trained on this trial's tasks with its seed and with each of `other_seeds`.
    """

    name = "recombine"
    tasks = roles("tasks", at_least=1)
    accepts_diverged = True
    metrics = (
        Metric("compatibility", headline=True),
        Metric("recombined_accuracy", headline=True),
        Metric("own_accuracy", headline=True),
        Metric("compatibility_by_head"),
        Metric("recombined_accuracy_by_head"),
        Metric("worst_recombined_accuracy"),
    )
    matrices = (
        MatrixSpec("accuracy_by_extractor", "extractor", "head", headline=True),
        MatrixSpec("normalised_by_extractor", "extractor", "head"),
        MatrixSpec("restricted_by_extractor", "extractor", "head"),
        MatrixSpec("accuracy_by_head", "extractor", "head"),
        MatrixSpec("normalised_by_head", "extractor", "head"),
        MatrixSpec("restricted_by_head", "extractor", "head"),
    )

    of: tuple[Method, ...] = axis((), smoke=(FineTune(epochs=1),), help="methods whose networks are recombined")
    split: str | None = axis(None, smoke="stage1", help="where they are cut; None takes the first method's own split")
    other_seeds: tuple[int, ...] = axis((), over=((), (1, 2)), smoke=(1,), help="further seeds whose networks join the matrix")

    def canonical(self) -> Self:
        return self if self.split or not self.of else self.replace(split=self.of[0].settings().get("split"))

    def check(self, trial: Trial) -> Iterable[str]:
        if not self.of:
            yield "of is empty: name the methods to recombine, Recombine.grid(of=CompatibleFeatures.grid(...))"
        for method in self.of:
            if "network" not in {c.name for c in method.components if "task" in c.by}:
                yield f"{method.name} keeps no 'network' by task, so there is nothing to recombine"
        splits = trial.network.splits if trial.network else ()
        if self.split is None and self.of:
            yield f"split is not set and {self.of[0].name} has none of its own; it may be {', '.join(splits)}"
        elif self.split is not None and self.split not in splits:
            yield f"{trial.network.name if trial.network else 'the network'} has no split point {self.split!r}. {nearest(self.split, splits)}"
        if len({trial.seed, *self.other_seeds}) <= len(self.other_seeds):
            yield f"other_seeds {self.other_seeds} repeats a seed (this cell's own is {trial.seed})"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        seeds = [trial.seed, *self.other_seeds]
        return {f"{number}/{seed}": trial.replace(method=method, seed=seed) for number, method in enumerate(self.of) for seed in seeds}

    def train(self, run: Run) -> None:
        assert self.split is not None
        found = [(name, component) for name in run.needs for component in run.need(name).components("network")]
        if len(found) < 2:
            run.infeasible(f"{len(found)} networks are left to recombine")
        # What diverged keeps its place as a row and a column without scores.
        lost = [f"{self.title(name)}{run.need(name).outcome}" for name in run.needs if run.need(name).outcome != "done"]
        networks = [cast(Network, component.module()) for _, component in found]
        labels = self.labels(found)
        scores = run.recombine([n.extractor(self.split) for n in networks], [n.head(self.split) for n in networks], [c.task for _, c in found])
        for name in PROTOCOLS:
            p = getattr(scores, name)
            for what in ("accuracy", "normalised", "restricted"):
                values, count, chance = (_padded(v, len(lost)) for v in (getattr(p, what), p.count, p.chance))
                run.matrix(f"{what}_{name}", rows=labels + lost, columns=labels + lost, values=values, count=np.nan_to_num(count), chance=chance)
        others = ~np.eye(len(networks), dtype=bool)
        first, second = scores.by_extractor, scores.by_head
        run.log(compatibility=_mean(first.normalised[others]), recombined_accuracy=_mean(first.accuracy[others]),
                own_accuracy=_mean(np.diag(second.accuracy)), worst_recombined_accuracy=_lowest(first.accuracy[others]),
                compatibility_by_head=_mean(second.normalised[others]),
                recombined_accuracy_by_head=_mean(second.accuracy[others]))  # fmt: skip

    def labels(self, found: list[tuple[str, Component]]) -> list[str]:
        """Names of the networks: the task, and method and seed where they differ."""
        return [self.title(need) + component.task.name for need, component in found]

    def title(self, need: str) -> str:
        number, seed = need.split("/")
        parts = [show(self.of[int(number)]) if len(self.of) > 1 else "", f"seed{seed}" if self.other_seeds else ""]
        return "".join(p + "/" for p in parts if p)


def _padded(values: Array, more: int) -> Array:
    return np.pad(values.astype(float), (0, more), constant_values=np.nan)


def _mean(values: Array) -> float:
    """Mean over the pairs that have a score; NaN where none has."""
    scored = values[~np.isnan(values)]
    return float(scored.mean()) if len(scored) else float("nan")


def _lowest(values: Array) -> float:
    scored = values[~np.isnan(values)]
    return float(scored.min()) if len(scored) else float("nan")
