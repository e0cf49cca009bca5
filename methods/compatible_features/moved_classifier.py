"""A classifier trained on the features of one extractor and used unchanged on those of others, of
other architectures, too.

Gygli, Uijlings, Ferrari: Towards Reusable Network Components by Learning Compatible
Representations, AAAI 2021, arXiv:2004.03898, second application.

What it costs: the extractors, and one short training of a head on each; only the heads are kept.
The 105 trials of `sweeps/compatible_architectures.py` took 18 minutes on one core of an AMD EPYC,
2026-11-30.

Departs from the paper: its procedure could not be read and is our reconstruction. Extractors end
with a projection to one feature shape (`methods.networks.projected`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from methods.compatible_features.compatible_features import CompatibleFeatures
from methods.pieces.fixed_features import features_or_images
from methods.pieces.losses import cross_entropy
from methods.pieces.matrix_scores import lowest_score, mean_score
from orchestrator import (
    Augmentation,
    Features,
    Kept,
    MatrixSpec,
    Method,
    Metric,
    Run,
    Scores,
    Trial,
    augmentation_axis,
    axis,
    one_cycle,
    roles,
    sgd,
)

TRAINING = CompatibleFeatures(ingredients=frozenset({"rotation", "common"}), split="stage3")


class MovedClassifier(Method):
    """Train a head for the task `new` on each of several frozen extractors, and score every head on
    every extractor.

    The extractors are trained by `extractors`, one on each task after `new`; `other_networks` there
    gives them other architectures.
    """

    name = "moved_classifier"
    revision = 2  # 2: features are computed once, in other batches
    tasks = roles("new", "learned", at_least=3)
    metrics = (
        Metric(
            "kept_share",
            headline=True,
            chance=0.0,
            help="What a head keeps of its accuracy above chance on other extractors.",
        ),
        Metric(
            "moved_accuracy",
            headline=True,
            help="Accuracy of heads on extractors that they were not trained on.",
        ),
        Metric(
            "own_accuracy",
            headline=True,
            help="Accuracy of heads on the extractors that they were trained on.",
        ),
        Metric(
            "worst_kept_share",
            headline=True,
            help="The lowest share that any head keeps on any other extractor.",
        ),
        Metric(
            "kept_share_from",
            by=("extractor",),
            help="The share kept by the head trained on this extractor, mean over the others.",
        ),
    )
    components = (Kept("head", by=("extractor",)),)
    matrices = (
        MatrixSpec(
            "accuracy",
            "extractor",
            "head trained on",
            headline=True,
            help="Accuracy of a head on an extractor, on test images of the new task.",
        ),
        MatrixSpec(
            "kept",
            "extractor",
            "head trained on",
            help="The same from chance (0) to the head's accuracy on its own extractor (1).",
        ),
    )

    extractors: CompatibleFeatures = axis(
        TRAINING,
        smoke=TRAINING.replace(epochs=1, split="stage2"),
        help="how the extractors are trained",
    )
    split: str = axis(
        "stage3",
        smoke="stage2",
        help="where extractors end and the new head begins; later: a smaller head",
    )
    epochs: int = axis(
        20,
        over=(10, 20),
        smoke=1,
        help="training of each new head; more: it fits its own extractor better",
    )
    batch: int = axis(64, over=(32, 64), help="images per step")
    lr: float = axis(
        0.05, over=(0.01, 0.05), help="highest learning rate of the one-cycle schedule"
    )
    augmentation: Augmentation = augmentation_axis()

    def check(self, trial: Trial) -> Iterable[str]:
        training = self.needs(trial)["extractors"]
        yield from self.extractors.check(training)
        num_others = len(self.extractors.other_networks)
        if trial.network is None or (num_others and num_others != len(training.tasks) - 1):
            return
        for spec in self.extractors.network_specs(training).values():
            yield from spec.cannot_cut(self.split)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return {"extractors": trial.replace(method=self.extractors, tasks=trial.tasks[1:])}

    def train(self, run: Run) -> None:
        new, *learned = run.tasks
        trained = run.need("extractors")
        specs = self.extractors.network_specs(trained.trial)
        extractors, heads = [], []
        for task in learned:
            component = trained.component("network", task=task.name)
            extractor = component.network().extractor(self.split)
            # The same first weights for every head of one build:
            # what differs is the extractor alone.
            head = run.network("new", new, spec=specs[task.name]).head(self.split)
            images = new.train.augmented(self.augmentation)
            data = features_or_images(run, extractor, images)
            run.fit(
                f"head on {task.name}",
                {"head": head},
                partial(self.loss, is_computed=isinstance(data, Features)),
                data,
                frozen={"extractor": extractor},
                optimizer=sgd(self.lr),
                schedule=one_cycle(),
                epochs=self.epochs,
                batch=self.batch,
            )
            run.keep("head", head, by={"extractor": task.name}, requires=component)
            extractors.append(extractor)
            heads.append(head)
        # Extractor i, head j: [learned, learned]
        scores = run.recombine(extractors, heads, [new] * len(heads))
        self.report(run, [task.name for task in learned], scores)

    def loss(self, nets: Any, batch: Any, *, is_computed: bool) -> Tensor:
        features = batch.x if is_computed else nets["extractor"](batch.x)
        return cross_entropy(nets["head"](features), batch.y)

    def report(self, run: Run, names: Sequence[str], scores: Scores) -> None:
        """The matrices of extractors and heads, and what a head keeps of (own accuracy - chance)
        when it is moved. All heads are for one task, so this is measured by head.
        """
        accuracy, kept = scores.by_head.accuracy, scores.by_head.normalised
        # What is kept is 0 for a head that guesses.
        chances = {"accuracy": scores.by_head.chance, "kept": 0.0}
        for name, values in (("accuracy", accuracy), ("kept", kept)):
            run.matrix(
                name,
                rows=names,
                columns=names,
                values=values,
                count=scores.by_head.count,
                chance=chances[name],
                notes=scores.unjoined,
            )
        # All but a head on the extractor that it learned on
        moved = ~np.eye(len(names), dtype=bool)
        run.log(
            kept_share=mean_score(kept[moved]),
            moved_accuracy=mean_score(accuracy[moved]),
            own_accuracy=float(np.diag(accuracy).mean()),
            worst_kept_share=lowest_score(kept[moved]),
        )
        for column, name in enumerate(names):
            # Over the extractors that it was moved to
            share = mean_score(kept[moved[:, column], column])
            run.log(kept_share_from=share, by={"extractor": name})
