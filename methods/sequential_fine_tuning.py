"""One network fine-tuned on task after task, and what it forgets.

McCloskey and Cohen: Catastrophic interference in connectionist networks, 1989; the baseline of
every method here that keeps a base as it is.

Departs from the paper: nothing known. Each task keeps the classifier that it was trained with; the
layers before it move on with every later task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
from torch import nn

from methods.fine_tune import FineTune
from methods.pieces.task_orders import ACCURACY, PLACED, log_places
from orchestrator import Method, Metric, Network, Run, Trial, axis, roles


class SequentialFineTuning(Method):
    """Measure every task after every task of an order. The trainings are fine_tune trials on the
    prefixes of the order, which orders share.
    """

    name = "sequential_fine_tuning"
    tasks = roles("tasks", at_least=2)
    metrics = (
        Metric("accuracy", by=("task",), headline=True),
        Metric("forgetting", by=("task",), higher_is_better=False, headline=True),
        PLACED,
    )
    matrices = (ACCURACY,)

    training: FineTune = axis(FineTune(), smoke=FineTune(epochs=1), help="of each task in turn")

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        prefixes = {
            task.name: trial.replace(method=self.training, tasks=trial.tasks[:i])
            for i, task in enumerate(trial.tasks, start=1)
        }
        return prefixes | {
            trial.tasks[0].name: trial.replace(
                method=self.training.base or self.training, tasks=trial.tasks[:1]
            )
        }

    def train(self, run: Run) -> None:
        nets = [
            cast(Network, run.need(task.name).module("network", task=task.name))
            for task in run.tasks
        ]
        values = np.full((len(nets), len(nets)), np.nan)
        for row, net in enumerate(nets):
            body = net.extractor(net.splits[-1])
            for column in range(row + 1):
                head = nets[column].head(net.splits[-1])
                values[row, column] = run.accuracy(
                    nn.Sequential(body, head), run.tasks[column].test
                )
        names = [task.name for task in run.tasks]
        run.matrix("accuracy", rows=names, columns=names, values=values)
        log_places(run, list(values[-1, 1:]))
        for number, name in enumerate(names):
            run.log(
                accuracy=values[-1, number],
                forgetting=values[number, number] - values[-1, number],
                by={"task": name},
            )
