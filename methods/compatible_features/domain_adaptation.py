"""A classifier for a domain without labels, through an extractor made compatible with it.

Gygli, Uijlings, Ferrari: Towards Reusable Network Components by Learning Compatible
Representations, AAAI 2021, arXiv:2004.03898, first application; Sun, Tzeng, Darrell, Efros:
Unsupervised Domain Adaptation through Self-Supervision, 2019, arXiv:1909.11825, for one network
shared by both domains.

What it costs: a network for each domain, and one trained on the source only. The 360 trials of
`sweeps/compatible_adaptation.py` took 70 minutes, one after another on two busy AMD EPYC cores,
2026-11-30.

Departs from the paper: the procedure of the first could not be read and is our reconstruction; of
the second only rotation is here. Re-estimated batch norm (Li et al. 2016, arXiv:1603.04779) is a
control: a target extractor sees target images in training, which alone could explain a gain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from torch import nn

from methods.compatible_features.compatible_features import CompatibleFeatures
from methods.pieces.batch_norm_statistics import re_estimated
from orchestrator import (
    MatrixSpec,
    Method,
    Metric,
    Run,
    Trial,
    axis,
    common_classes,
    roles,
)

TRAINING = CompatibleFeatures(
    ingredients=frozenset({"rotation", "identical"}), incremental=True, unlabelled=True
)


class DomainAdaptation(Method):
    """Score the source's head on the target's images: with the target's extractor, with the
    source's own, and as a network that saw the source only; the first and the last also with the
    statistics of batch norm re-estimated on the target's images.

    `training` trains both networks without the target's labels: with `incremental=True` the
    target's extractor learns alone against the frozen rotation head of the source; with the
    ingredient `shared` there is one extractor, trained with rotation on both domains. Images of
    classes that the source lacks do not count.
    """

    name = "domain_adaptation"
    tasks = roles("source", "target")
    metrics = (
        Metric(
            "adapted_accuracy",
            headline=True,
            help="Accuracy on the target's images: its own extractor with the source's head.",
        ),
        Metric(
            "gain",
            headline=True,
            help="Adapted accuracy, less that of a network that saw the source only.",
        ),
        Metric(
            "re_estimated_accuracy",
            headline=True,
            help="Accuracy of the source-only network with the target's batch norm statistics.",
        ),
        Metric(
            "source_only_accuracy",
            help="Accuracy on the target's images of a network that saw the source only.",
        ),
        Metric(
            "unadapted_accuracy",
            help="Accuracy on the target's images of the source's own extractor and head.",
        ),
        Metric(
            "gain_over_unadapted",
            help="Adapted accuracy, less that of the source's own extractor and head.",
        ),
        Metric(
            "gain_over_re_estimated",
            help="Adapted accuracy, less that with re-estimated batch norm statistics.",
        ),
        Metric(
            "adapted_re_estimated_accuracy",
            headline=True,
            help="Accuracy of the compatible extractor with the source's head on the target, with "
            "batch norm's statistics of both re-estimated there.",
        ),
        Metric(
            "re_estimated_gain",
            help="The same less the source-only network with re-estimated batch norm.",
        ),
        Metric(
            "source_accuracy",
            help="Accuracy on the source's images of the network that saw the source only.",
        ),
    )
    matrices = (
        MatrixSpec(
            "accuracy",
            "network",
            "images",
            headline=True,
            help="Accuracy of each network on the test images of source and target.",
        ),
    )

    training: CompatibleFeatures = axis(
        TRAINING,
        smoke=TRAINING.replace(epochs=1, split="stage2"),
        help="how both networks are trained; the target is unlabelled",
    )

    def check(self, trial: Trial) -> Iterable[str]:
        if not self.training.unlabelled:
            yield "training uses the target's labels: set unlabelled=True"
        source, target = trial.tasks
        if not common_classes((source, target)):
            yield (
                f"{source.name} knows no class of {target.name}: "
                f"{', '.join(source.class_names)} and {', '.join(target.class_names)}"
            )

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        # What somebody has who never heard of the target: the same
        # training without anything that aims at compatibility.
        plain = self.training.replace(
            ingredients=(), incremental=False, unlabelled=False, other_networks=()
        )
        return {
            "networks": trial.replace(method=self.training),
            "source_only": trial.replace(method=plain, tasks=trial.tasks[:1]),
        }

    def train(self, run: Run) -> None:
        source, target = run.tasks
        trained = run.need("networks")
        on_source = trained.network(task=source.name)
        on_target = trained.network(task=target.name)
        source_only = run.need("source_only").module("network", task=source.name)
        split = self.training.split
        adapted = nn.Sequential(on_target.extractor(split), on_source.head(split))
        # All five end with a head that learned the source's classes from the source's labels.
        networks = {
            "adapted": adapted,
            # The head's batch norms have the source's statistics; the extractor's the target's.
            "adapted_re_estimated": re_estimated(run, adapted, target.train),
            "unadapted": on_source,
            "source_only": source_only,
            # AdaBN: no training, only the target's batch norm statistics.
            "re_estimated": re_estimated(run, source_only, target.train),
        }
        scores = {}
        for name, net in networks.items():
            # Outputs are the source's classes; the target's labels are read as these, by name.
            scores[name] = [run.accuracy(net, task.test, outputs_of=source) for task in run.tasks]
        run.matrix(
            "accuracy",
            rows=list(networks),
            columns=[task.name for task in run.tasks],
            values=np.array(list(scores.values())),  # [network, images of source and target]
            chance=1 / source.num_classes,
        )
        log_gains(run, {name: accuracies[1] for name, accuracies in scores.items()})
        run.log(source_accuracy=scores["source_only"][0])


def log_gains(run: Run, on_target: Mapping[str, float]) -> None:
    """Log each network's accuracy on the target's images, and what the compatible extractor gains
    over the others.
    """
    adapted, both = on_target["adapted"], on_target["adapted_re_estimated"]
    run.log(
        adapted_accuracy=adapted,
        adapted_re_estimated_accuracy=both,
        source_only_accuracy=on_target["source_only"],
        unadapted_accuracy=on_target["unadapted"],
        re_estimated_accuracy=on_target["re_estimated"],
        gain=adapted - on_target["source_only"],
        gain_over_unadapted=adapted - on_target["unadapted"],
        gain_over_re_estimated=adapted - on_target["re_estimated"],
        re_estimated_gain=both - on_target["re_estimated"],
    )
