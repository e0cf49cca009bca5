"""Train a small network of our own, then measure how much of it a fine-tuned network of Spolia's
agrees with.

Paper: none (an example of a package of its own).

Departs from the paper: there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from methods.fine_tune import FineTune
from orchestrator import Kept, MatrixSpec, Method, Metric, Network, Run, Trial, adam, axis, roles


class TinyNetwork(Network):
    """Two stages and a classifier; split points: stem, pool."""

    def __init__(self, *, width: int = 4, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU())
        self.set_stages(
            {
                "stem": stem,
                "pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                "classifier": nn.Linear(width, classes),
            }
        )


class Echo(Method):
    """Distil a fine-tuned network into a new one by its logits, and count where the two agree."""

    name = "echo"
    tasks = roles("task")
    metrics = (Metric("accuracy", headline=True), Metric("agreement"))
    components = (Kept("student"),)
    matrices = (MatrixSpec("confusion", "teacher", "student", headline=True),)

    epochs: int = axis(3, over=(3, 10), smoke=1, help="passes through the training images")
    teacher_epochs: int = axis(2, over=(2, 5), smoke=1, help="of the teacher's fine-tuning")

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return {"teacher": trial.replace(method=FineTune(epochs=self.teacher_epochs))}

    def train(self, run: Run) -> None:
        task = run.tasks.task
        teacher, student = (
            run.need("teacher").module("network", task=task.name),
            run.network("student"),
        )
        run.fit(
            "echo",
            {"student": student},
            self.loss,
            task.train,
            optimizer=adam(1e-2),
            epochs=self.epochs,
            batch=32,
            frozen={"teacher": teacher},
        )
        names, counts = list(task.class_names), torch.zeros(task.num_classes, task.num_classes)
        with torch.no_grad():
            from orchestrator import in_order

            for x, _ in in_order(task.test, run.device):
                for t, s in zip(
                    teacher(x).argmax(1).tolist(), student(x).argmax(1).tolist(), strict=True
                ):
                    counts[t, s] += 1
        run.log(
            accuracy=run.accuracy(student, task.test),
            agreement=float(counts.trace() / counts.sum()),
        )
        run.matrix(
            "confusion",
            rows=names,
            columns=names,
            values=(counts / counts.sum(1, keepdim=True).clamp(min=1)).numpy(),
        )
        run.keep("student", student)

    @staticmethod
    def loss(nets: Any, batch: Any) -> torch.Tensor:
        return F.mse_loss(nets["student"](batch.x), nets["teacher"](batch.x))
