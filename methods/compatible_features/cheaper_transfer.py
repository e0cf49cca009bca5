"""How many steps a new task takes when its network starts from compatible parts, compared with the
usual start from a newly drawn head.

Gygli, Uijlings, Ferrari: Towards Reusable Network Components by Learning Compatible
Representations, AAAI 2021, arXiv:2004.03898, third application.

What it costs: the networks of `rich` and `near`, a training on the target, and another from the
usual start, which sets the bar; all starts share these. The 85 trials of
`sweeps/compatible_transfer.py` took 18 minutes on one core of an AMD EPYC, 2026-11-30.

Departs from the paper: its protocol could not be read and is our reconstruction. The new task takes
the extractor of one network and the head of another; rows of the classifier are matched by the
names of classes. "Final accuracy" is that of the usual start on held-out images (mean of the last
three epochs), so all starts of a seed have the same bar; steps are counted at the ends of epochs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import Tensor

from methods.compatible_features.class_rows import copy_class_rows
from methods.compatible_features.compatible_features import CompatibleFeatures
from methods.pieces.losses import cross_entropy
from orchestrator import (
    Augmentation,
    Curve,
    Method,
    Metric,
    Network,
    Run,
    Trial,
    augmentation_axis,
    axis,
    common_classes,
    constant,
    roles,
    sgd,
)

PARTS = CompatibleFeatures(
    ingredients=frozenset({"rotation", "common", "identical"}), split="stage3"
)


class CheaperTransfer(Method):
    """Train the whole network for `target` from the chosen `start`.

    `parts` is the extractor of `rich` with the head of `near`; `new_head` the same extractor with a
    newly drawn head (the usual transfer, which sets the bar); `near` the whole network of `near`;
    `drawn` has no trained weights. The method `parts` trains both networks, compatible or not.
    """

    name = "cheaper_transfer"
    tasks = roles("rich", "near", "target")
    base_role = "rich"
    metrics = (
        Metric(
            "steps_to_bar",
            higher_is_better=False,
            headline=True,
            help="Steps until validation accuracy reaches the bar; all steps where it never does.",
        ),
        Metric(
            "first_val_accuracy",
            headline=True,
            help="Accuracy on validation images before the first step.",
        ),
        Metric(
            "final_val_accuracy",
            headline=True,
            help="Accuracy on validation images, mean of the last three epochs.",
        ),
        Metric(
            "accuracy", headline=True, help="Accuracy on the target's test images after training."
        ),
        Metric(
            "reached",
            help="1 where the bar was reached, 0 where not; as a mean, the share of seeds.",
        ),
        Metric(
            "mean_val_accuracy", help="Accuracy on validation images, mean over the whole training."
        ),
    )
    plots = (Curve("transfer/val_accuracy", begins="first_val_accuracy"),)

    parts: CompatibleFeatures = axis(
        PARTS,
        smoke=PARTS.replace(epochs=1, split="stage2"),
        help="how the networks of 'rich' and 'near' are trained",
    )
    start: Literal["parts", "new_head", "near", "drawn"] = axis(
        "parts", over=("parts", "new_head", "near", "drawn"), help="what the network starts from"
    )
    split: str = axis(
        "stage3",
        smoke="stage2",
        help="where the extractor of rich ends and the head of near begins",
    )
    share: float = axis(
        0.95,
        over=(0.9, 0.95),
        help="the bar, as a share of the usual start's final accuracy; more: more steps",
    )
    epochs: int = axis(
        20, over=(10, 20), smoke=2, help="passes through the target's training images"
    )
    batch: int = axis(32, over=(16, 32), help="images per step")
    lr: float = axis(
        0.01,
        over=(0.003, 0.01, 0.03),
        help="learning rate, constant, so that every step counts alike",
    )
    augmentation: Augmentation = augmentation_axis()

    def check(self, trial: Trial) -> Iterable[str]:
        _, near, target = trial.tasks
        if trial.network:
            yield from trial.network.cannot_cut(self.split)
        if self.start in ("parts", "near") and not common_classes((target, near)):
            yield (
                f"the head of {near.name} knows no class of {target.name}: "
                f"{', '.join(near.class_names)} and {', '.join(target.class_names)}"
            )
        if not target.held_out:
            yield (
                f"{target.name} holds out no images, on which the steps are counted: "
                ".validation(0.2)"
            )
        if self.parts.other_networks or self.parts.unlabelled:
            yield "parts must give two networks of the trial's own kind, each with labels"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        needs = {}
        if self.start != "drawn":
            needs["parts"] = trial.replace(method=self.parts, tasks=trial.tasks[:2])
        if self.start != "new_head":  # whose final accuracy sets the bar
            # A trial and not a constant: the bar is measured with the same seed, task and settings.
            needs["usual"] = trial.replace(method=self.replace(start="new_head"))
        return needs

    def train(self, run: Run) -> None:
        target = run.tasks[2]
        net = run.network("target", target)
        self.set_initial_weights(run, net)
        accuracies = [run.accuracy(net, target.validation_part)]  # at the start, after each epoch
        fit = run.fit(
            "transfer",
            {"network": net},
            self.loss,
            target.train.augmented(self.augmentation),
            optimizer=sgd(self.lr),
            schedule=constant(),
            epochs=self.epochs,
            batch=self.batch,
            watch=lambda: {"val_accuracy": run.accuracy(net, target.validation_part)},
        )
        # From the curves, not from a list that `watch` fills: a resumed fit skips what it has done.
        for point in fit.curves:
            if point.name == "transfer/val_accuracy":
                accuracies.append(point.value)
        last = accuracies[-3:]  # one epoch alone is noisy
        final = usual = sum(last) / len(last)
        if self.start != "new_head":
            usual = run.need("usual").metric("final_val_accuracy")
        reached = [i for i, accuracy in enumerate(accuracies) if accuracy >= self.share * usual]
        # A run that never reaches the bar counts with all of its steps: it would need more.
        num_epochs = reached[0] if reached else fit.epochs
        run.log(
            steps_to_bar=num_epochs * fit.steps / fit.epochs,
            reached=float(bool(reached)),
            first_val_accuracy=accuracies[0],
            final_val_accuracy=final,
            mean_val_accuracy=sum(accuracies) / len(accuracies),
            accuracy=run.accuracy(net, target.test),
        )

    def loss(self, nets: Any, batch: Any) -> Tensor:
        return cross_entropy(nets["network"](batch.x), batch.y)

    def set_initial_weights(self, run: Run, net: Network) -> None:
        """Give the network, newly drawn for the target, the weights that it starts from."""
        if self.start == "drawn":
            return
        parts = run.need("parts")
        rich_task, near_task, target = run.tasks
        rich = parts.network(task=rich_task.name)
        near = parts.network(task=near_task.name)
        # Extractor first; `near` takes both sides from one network.
        first = near if self.start == "near" else rich
        net.extractor(self.split).load_state_dict(first.extractor(self.split).state_dict())
        if self.start == "new_head":
            return
        net.load_state_dict(self.head_before_classifier(near), strict=False)
        copy_class_rows(near, near_task, net, target)

    def head_before_classifier(self, net: Network) -> dict[str, Tensor]:
        """The weights between split point and classifier, by the network's own names. The
        classifier's rows go by class instead.
        """
        head = net.head(self.split)
        # By identity: a head is a view, and names its layers
        # otherwise than the network that it is of.
        in_head = {id(value) for value in (*head.parameters(), *head.buffers())}
        classifier = f"{net.stage_names[-1]}."
        weights = {}
        for name, value in (*net.named_parameters(), *net.named_buffers()):
            if id(value) in in_head and not name.startswith(classifier):
                weights[name] = value.detach()
        return weights
