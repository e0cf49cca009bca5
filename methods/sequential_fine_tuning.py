"""One network fine-tuned on task after task, and what it forgets.

McCloskey and Cohen: Catastrophic interference in connectionist networks, 1989; the baseline of
every method here that keeps a base as it is.

What it costs: one network and a classifier per task; a training of the whole network for each task
of an order, which orders with the same beginning share.

Departs from the paper: nothing known. Each task keeps the classifier that it was trained with; the
layers before it move on with every later task.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import nn

from methods.fine_tune import FineTune
from methods.pieces.task_orders import (
    ACCURACY_AFTER_EACH_TASK,
    ACCURACY_AT_PLACE,
    log_accuracy_by_place,
)
from orchestrator import Method, Metric, Run, Trial, axis, roles


class SequentialFineTuning(Method):
    """Measure every task after every task of an order. The trainings are fine_tune trials on the
    prefixes of the order, which orders share.
    """

    name = "sequential_fine_tuning"
    tasks = roles("tasks", at_least=2)
    base_role = "tasks"
    metrics = (
        Metric(
            "accuracy",
            by=("task",),
            headline=True,
            of_targets=True,
            help="Accuracy on the test images of each task after the last one was learned.",
        ),
        Metric(
            "forgetting",
            by=("task",),
            higher_is_better=False,
            headline=True,
            help="How much accuracy a task has lost since it was learned.",
        ),
        ACCURACY_AT_PLACE,
    )
    matrices = (ACCURACY_AFTER_EACH_TASK,)

    training: FineTune = axis(FineTune(), smoke=FineTune(epochs=1), help="of each task in turn")

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        """By each task's name the network trained on the order up to this task."""
        first = self.training.base or self.training
        needs = {trial.tasks[0].name: trial.replace(method=first, tasks=trial.tasks[:1])}
        for count, task in enumerate(trial.tasks[1:], start=2):
            needs[task.name] = trial.replace(method=self.training, tasks=trial.tasks[:count])
        return needs

    def train(self, run: Run) -> None:
        names = [task.name for task in run.tasks]
        nets = [run.need(name).network(task=name) for name in names]
        # [after task, on task]; NaN above the diagonal
        values = np.full((len(nets), len(nets)), np.nan)
        for row, net in enumerate(nets):
            body = net.extractor(net.splits[-1])
            for column in range(row + 1):
                # An earlier task's own classifier on the body as it is now.
                head = nets[column].head(net.splits[-1])
                data = run.tasks[column].test
                values[row, column] = run.accuracy(nn.Sequential(body, head), data)
        run.matrix("accuracy", rows=names, columns=names, values=values)
        final = values[-1]
        log_accuracy_by_place(run, list(final[1:]))
        for number, name in enumerate(names):
            forgetting = values[number, number] - final[number]  # 0 for the last task
            run.log(accuracy=final[number], forgetting=forgetting, by={"task": name})
