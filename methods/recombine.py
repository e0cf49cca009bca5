"""Measuring compatibility: every extractor with every head, over the networks of any number of
trials, with no training in between.

Paper: none (a measurement); the matrix is that of Gygli, Uijlings, Ferrari, AAAI 2021,
arXiv:2004.03898.

What it costs: no training. Each extractor sees the test images of each task, and each head the
features of each extractor.

Departs from the paper: it is not known on which images the paper evaluates, so both ways are
measured. By extractor, `compatibility` takes images of the extractor's task whose class the head
knows; it may exceed 1, since the own network can be wrong on classes that are no task of the
extractor's. By head, `compatibility_by_head` takes all images of the head's task. Both are
headlines. The normalised compatibility is our own: (accuracy - chance) / (own accuracy on the same
images - chance).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from methods.pieces.matrix_scores import lowest_score, mean_score
from methods.pieces.recombined_networks import NetworkMeasurement, TrainedNetworks
from orchestrator import MatrixSpec, Metric, PairScores, Run, roles


class Recombine(NetworkMeasurement):
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
        Metric(
            "compatibility",
            headline=True,
            chance=0.0,
            help="Accuracy of recombined pairs on images of the extractor's task, from chance (0) "
            "to what the head reaches behind its own extractor there (1); mean over pairs.",
        ),
        Metric(
            "compatibility_by_head",
            headline=True,
            chance=0.0,
            help="The same on images of the head's task.",
        ),
        Metric(
            "recombined_accuracy",
            headline=True,
            help="Accuracy of recombined pairs on images of the extractor's task, mean over pairs.",
        ),
        Metric(
            "own_accuracy",
            headline=True,
            help="Accuracy of the networks as they were trained, mean over them.",
        ),
        Metric(
            "recombined_accuracy_by_head",
            help="Accuracy of recombined pairs on images of the head's task, mean over pairs.",
        ),
        Metric("worst_recombined_accuracy", help="The lowest recombined accuracy of any pair."),
        Metric(
            "unscored_pairs",
            higher_is_better=False,
            help="Pairs without a score: they do not fit, share no class, or lack a network.",
        ),
    )
    matrices = (
        MatrixSpec(
            "accuracy_by_extractor",
            "extractor",
            "head",
            headline=True,
            help="Accuracy on images of the extractor's task whose class the head knows.",
        ),
        MatrixSpec(
            "normalised_by_extractor",
            "extractor",
            "head",
            help="The same from chance (0) to what the head reaches behind its own extractor (1).",
        ),
        MatrixSpec(
            "restricted_by_extractor",
            "extractor",
            "head",
            help="Accuracy on the same images where only classes that both know are answers.",
        ),
        MatrixSpec(
            "accuracy_by_head",
            "extractor",
            "head",
            help="Accuracy on all images of the head's task.",
        ),
        MatrixSpec(
            "normalised_by_head",
            "extractor",
            "head",
            help="The same from chance (0) to the head's own accuracy (1).",
        ),
        MatrixSpec(
            "restricted_by_head",
            "extractor",
            "head",
            help="Accuracy on the same images where only classes that both know are answers.",
        ),
    )

    def train(self, run: Run) -> None:
        networks = self.trained_networks(run)
        scores = run.recombine(networks.extractors, networks.heads, networks.tasks)
        measure_protocol(run, networks, "by_extractor", scores.by_extractor, scores.unjoined)
        measure_protocol(run, networks, "by_head", scores.by_head, scores.unjoined)
        num_networks = len(networks.modules)
        size = num_networks + len(networks.without_network)
        # Pairs that do not fit, or share no class
        unscored = int(np.isnan(scores.by_extractor.accuracy).sum())
        others = ~np.eye(num_networks, dtype=bool)  # [extractor, head] without a network's own head
        run.log(
            compatibility=mean_score(scores.by_extractor.normalised[others]),
            recombined_accuracy=mean_score(scores.by_extractor.accuracy[others]),
            own_accuracy=mean_score(np.diag(scores.by_head.accuracy)),
            worst_recombined_accuracy=lowest_score(scores.by_extractor.accuracy[others]),
            compatibility_by_head=mean_score(scores.by_head.normalised[others]),
            recombined_accuracy_by_head=mean_score(scores.by_head.accuracy[others]),
            # And every pair with a trial that left no network.
            unscored_pairs=unscored + size**2 - num_networks**2,
        )


def measure_protocol(
    run: Run,
    networks: TrainedNetworks,
    name: str,
    scores: PairScores,
    unjoined: Mapping[tuple[int, int], str],
) -> None:
    """Leave the three matrices of a protocol, with the reason where a pair has no score."""
    reasons: dict[tuple[int, int], str] = {}
    for i, j in np.argwhere(scores.count == 0).tolist():
        reasons[i, j] = "no test image of the extractor's task has a class of the head"
    reasons |= unjoined  # that a pair does not fit says more than that it was not counted
    # The scale runs from chance to the head's own accuracy; it needs the second above the first.
    no_scale = (scores.count > 0) & ~(scores.own > scores.chance)
    unnormalised: dict[tuple[int, int], str] = {}
    for i, j in np.argwhere(no_scale).tolist():
        unnormalised[i, j] = "the head's own network guesses on these images"
    count, why = scores.count, {**unnormalised, **reasons}
    networks.measure(
        run, f"accuracy_{name}", scores.accuracy, reasons, count=count, chance=scores.chance
    )
    # On this scale guessing is 0, whatever the number of classes.
    networks.measure(run, f"normalised_{name}", scores.normalised, why, count=count, chance=0.0)
    # Guessing among the common classes scores more than `scores.chance`: none is recorded.
    networks.measure(run, f"restricted_{name}", scores.restricted, reasons, count=count)
