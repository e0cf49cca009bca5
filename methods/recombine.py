"""Measuring compatibility: every extractor with every head, over the networks of any number of
trials, with no training in between.

Paper: none (a measurement); the matrix is that of Gygli, Uijlings, Ferrari, AAAI 2021,
arXiv:2004.03898.

Departs from the paper: it is not known on which images the paper evaluates, so both ways are
measured. `by_extractor` (the headline) takes images of the extractor's task whose class the head
knows; `by_head` takes all images of the head's task. The normalised compatibility is our own:
(accuracy - chance) / (own accuracy on the same images - chance).
"""

from __future__ import annotations

import numpy as np

from methods.pieces.matrix_scores import lowest_scored, mean_scored
from methods.pieces.recombined_networks import Found, OfNetworks, leave
from orchestrator import MatrixSpec, Metric, Run, Scores, roles

PROTOCOLS = ("by_extractor", "by_head")


class Recombine(OfNetworks):
    """Cut the networks of other trials at `split` and score every extractor with every head on test
    images.

    Networks come from the methods `of`, trained on this trial's tasks with its seed, each of
    `other_seeds` and in each of `other_orders`. `Recombine.grid(of=networks.together(),
    other_seeds=(1, 2))` puts all of a sweep's into one matrix. A pair without a score says why
    there.
    """

    name = "recombine"
    tasks = roles("tasks", at_least=1)
    metrics = (
        Metric("compatibility", headline=True),
        Metric("recombined_accuracy", headline=True),
        Metric("own_accuracy", headline=True),
        Metric("compatibility_by_head"),
        Metric("recombined_accuracy_by_head"),
        Metric("worst_recombined_accuracy"),
        Metric("unscored_pairs", higher_is_better=False),
    )
    matrices = (
        MatrixSpec("accuracy_by_extractor", "extractor", "head", headline=True),
        MatrixSpec("normalised_by_extractor", "extractor", "head"),
        MatrixSpec("restricted_by_extractor", "extractor", "head"),
        MatrixSpec("accuracy_by_head", "extractor", "head"),
        MatrixSpec("normalised_by_head", "extractor", "head"),
        MatrixSpec("restricted_by_head", "extractor", "head"),
    )

    def train(self, run: Run) -> None:
        assert self.split is not None
        found = self.found(run)
        networks = found.networks
        scores = run.recombine(
            [n.extractor(self.split) for n in networks],
            [n.head(self.split) for n in networks],
            found.tasks,
        )
        for name in PROTOCOLS:
            measure(run, found, scores, name)
        others = ~np.eye(len(networks), dtype=bool)
        first, second = scores.by_extractor, scores.by_head
        run.log(
            compatibility=mean_scored(first.normalised[others]),
            recombined_accuracy=mean_scored(first.accuracy[others]),
            own_accuracy=mean_scored(np.diag(second.accuracy)),
            worst_recombined_accuracy=lowest_scored(first.accuracy[others]),
            compatibility_by_head=mean_scored(second.normalised[others]),
            recombined_accuracy_by_head=mean_scored(second.accuracy[others]),
            unscored_pairs=int(np.isnan(first.accuracy).sum())
            + (len(networks) + len(found.lost)) ** 2
            - len(networks) ** 2,
        )


def measure(run: Run, found: Found, scores: Scores, name: str) -> None:
    """Leave the three matrices of a protocol; a pair without a score says why."""
    protocol = getattr(scores, name)
    reasons = {
        (i, j): "no test image of the extractor's task has a class of the head"
        for i, j in np.argwhere(protocol.count == 0).tolist()
    }
    reasons |= scores.unjoined
    guessing = np.argwhere((protocol.count > 0) & ~(protocol.own > protocol.chance)).tolist()
    own = {(i, j): "the head's own network guesses on these images" for i, j in guessing}
    for what in ("accuracy", "normalised", "restricted"):
        notes = own | reasons if what == "normalised" else reasons
        leave(
            run,
            found,
            f"{what}_{name}",
            getattr(protocol, what),
            notes,
            count=protocol.count,
            chance=protocol.chance,
        )
