"""Learning tasks one after another, with weights held back where earlier tasks need them.

Kirkpatrick et al.: Overcoming catastrophic forgetting in neural networks, PNAS 2017,
arXiv:1612.00796. Behind each task the diagonal of the Fisher information says how much each weight
matters; later trainings pay for moving it (eq. 3).

Departs from the paper: each task has a classifier of its own, which is not held back; F is cut
where plain gradient descent could not follow the penalty; networks and data are small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orchestrator import (
    Kept,
    MatrixSpec,
    Method,
    Metric,
    Network,
    Run,
    Task,
    Trial,
    axis,
    one_cycle,
    roles,
    sgd,
)


class ElasticWeights(Method):
    """Train on the last of the given tasks, from the network of those before it."""

    name = "elastic_weights"
    revision = 2  # F is cut
    tasks = roles("tasks", at_least=1)
    base_role = "tasks"
    metrics = (
        Metric("accuracy", by=("task",), headline=True, help="Of each task, behind the last."),
        Metric(
            "forgetting",
            by=("task",),
            higher_is_better=False,
            headline=True,
            help="What a task has lost since it was learned.",
        ),
        Metric("mean_accuracy", headline=True, help="Over all tasks."),
    )
    components = (
        Kept("network", by=("task",)),  # with the weights behind the last task
        Kept("anchor", by=("task",)),  # as it was behind its own task: theta* of eq. 3
        Kept("fisher", by=("task",)),  # F of eq. 3, in the form of a network
    )
    matrices = (
        MatrixSpec("accuracies", "measured", "on", headline=True, help="Behind own, behind last."),
    )

    strength: float = axis(
        100.0, over=(0.0, 10.0, 100.0), help="lambda of eq. 3; 0: plain fine-tuning"
    )
    images: int = axis(100, over=(50, 100), smoke=20, help="from which F is estimated")
    epochs: int = axis(10, over=(5, 10), smoke=1, help="training on each task")
    lr: float = axis(0.01, over=(0.01, 0.05), help="highest rate; lambda F is cut to 1 / lr")

    def canonical_for(self, trial: Trial) -> Self:
        # On one task there is nothing to forget: its network is the same for all strengths.
        return self.reset("strength") if len(trial.tasks) == 1 else self

    def check(self, trial: Trial) -> Iterable[str]:
        if self.strength < 0:
            yield f"strength is {self.strength:g}; it holds weights back where it is above 0"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        earlier = trial.tasks[:-1]
        return {"before": trial.replace(tasks=earlier)} if earlier else {}

    def train(self, run: Run) -> None:
        *earlier, task = run.tasks
        net = run.network("network", task)
        frozen: dict[str, nn.Module] = {}
        if earlier:
            before = run.need("before")
            net.take(before.network(task=earlier[-1].name).state_dict())
            for kind in ("anchor", "fisher"):
                frozen |= {
                    f"{kind} {one.name}": before.module(kind, task=one.name) for one in earlier
                }
        run.fit(
            "train",
            {"network": net},
            self.loss,
            task.train,
            frozen=frozen,
            optimizer=sgd(self.lr),
            schedule=one_cycle(),
            epochs=self.epochs,
            batch=32,
        )
        run.keep("anchor", net, by={"task": task.name})
        run.keep("fisher", self.fisher(run, task, net), by={"task": task.name})
        if earlier:
            run.adopt("before")  # anchors and Fisher informations of earlier tasks
        self.measure(run, net)

    def loss(self, nets: Any, batch: Any) -> dict[str, Tensor]:
        net = nets["network"]
        losses = {"task": F.cross_entropy(net(batch.x), batch.y)}
        weights = shared_weights(net)
        names = [name for name in nets if name.startswith("fisher ")] if self.strength else []
        for name in names:
            anchor = shared_weights(nets[name.replace("fisher", "anchor")])
            fisher = shared_weights(nets[name])
            # Where lr * lambda * F is above 4, each step leads further away from the anchor; so no
            # weight is held more firmly than steps of this rate can follow.
            most = 1 / (self.lr * self.strength * len(names))
            moved = [
                (fisher[w].clamp(max=most) * (weights[w] - anchor[w]) ** 2).sum() for w in weights
            ]
            losses[name] = self.strength / 2 * torch.stack(moved).sum()  # eq. 3
        return losses

    def fisher(self, run: Run, task: Task, net: Network) -> Network:
        """Mean square of the gradients of the log-likelihood of answers that the network itself
        would give, for each weight.
        """
        information = run.network("fisher", task).to(run.device)
        for weight in information.parameters():
            weight.detach().zero_()
        # Own answers, drawn by name, so that the labels' noise is no information.
        x, _ = run.images(task.train.few(self.images, seed=run.seed))
        net.eval()
        with torch.no_grad():
            odds = net(x).softmax(1).cpu()  # [images, classes]
        answers = torch.multinomial(odds, 1, generator=run.draw("answers")).to(run.device)
        sums, weights = shared_weights(information), shared_weights(net)
        for image, answer in zip(x, answers, strict=True):
            loss = F.cross_entropy(net(image[None]), answer)
            gradients = torch.autograd.grad(loss, list(weights.values()))
            for name, gradient in zip(weights, gradients, strict=True):
                sums[name].detach().add_(gradient**2 / len(x))
        return information

    def measure(self, run: Run, net: Network) -> None:
        """Every task by its own classifier on the features as they are now."""
        names = [task.name for task in run.tasks]
        values = np.zeros((2, len(names)))  # [behind its own task, behind the last]
        for place, task in enumerate(run.tasks):
            own = now = net
            if task is not run.tasks[-1]:
                before = run.need("before")
                own = before.network("anchor", task=task.name)
                now = before.network(task=task.name).to(run.device)
                now.take(net.state_dict())
            values[:, place] = run.accuracy(own, task.test), run.accuracy(now, task.test)
            by = {"task": task.name}
            run.keep("network", now, by=by)
            run.log(
                accuracy=values[1, place], forgetting=values[0, place] - values[1, place], by=by
            )
        run.log(mean_accuracy=values[1].mean())
        run.matrix("accuracies", rows=["own", "last"], columns=names, values=values)


def shared_weights(net: nn.Module) -> dict[str, nn.Parameter]:
    """All weights but those of the classifier, which each task has of its own."""
    assert isinstance(net, Network)
    classifier = f"{net.stage_names[-1]}."
    return {name: w for name, w in net.named_parameters() if not name.startswith(classifier)}
