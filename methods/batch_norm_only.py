"""A classifier and batch norms for each task on one frozen network.

Control for Mallya, Davis, Lazebnik: Piggyback, ECCV 2018, arXiv:1801.06519, which trains batch norm
along with its masks in one variant (section 5.3): how much of the gain is due to batch norm alone?

What it costs: for each task a classifier, four numbers per channel of every batch norm, and one
training of them, whose gradients pass through the whole network.

Departs from the paper: it is not in the paper's tables. Training is that of `feature_extraction`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from methods.feature_extraction import FeatureExtraction
from methods.pieces.task_network import Norm, has_batch_norm
from orchestrator import Trial


class BatchNormOnly(FeatureExtraction):
    """Train scale, shift and running statistics of all batch norms, and a classifier, for each
    target.
    """

    name = "batch_norm_only"
    revision = 1  # features change with the batch norms, so none are computed once
    norm: ClassVar[Norm] = "full"

    def check(self, trial: Trial) -> Iterable[str]:
        if trial.network is not None and not has_batch_norm(trial.network):
            yield f"{trial.network.name} has no batch norm to train; use feature_extraction"
