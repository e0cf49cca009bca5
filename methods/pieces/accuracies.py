"""The accuracies of one task's network that methods with many tasks log alike: on test images, also
among the five likeliest classes, and on validation images.
"""

from __future__ import annotations

from torch import nn

from orchestrator import Metric, Run, Task

TOP = 5
ACCURACIES = (
    Metric(
        "accuracy", by=("task",), headline=True, help="Accuracy on the test images of each task."
    ),
    Metric(
        "val_accuracy",
        by=("task",),
        optional=True,
        help="Accuracy on validation images, for choosing among settings.",
    ),
    Metric(
        "top5_accuracy",
        by=("task",),
        optional=True,
        help="Share of test images whose class is among the five likeliest; told of tasks with "
        "more than five classes.",
    ),
)
"""What `log_accuracies` logs."""


def log_accuracies(run: Run, net: nn.Module, task: Task) -> float:
    """Log `accuracy`, which is handed back, `top5_accuracy` where the task has more than five
    classes (as the authors of Piggyback and PackNet do), and `val_accuracy` where it holds out
    images.
    """
    by = {"task": task.name}
    # One pass through the test images for both
    tops = (1, TOP) if task.num_classes > TOP and not task.masks else (1,)
    accuracy, *among_five = run.accuracies(net, task.test, top=tops)
    run.log(accuracy=accuracy, by=by)
    if among_five:
        run.log(top5_accuracy=among_five[0], by=by)
    if task.held_out:
        run.log(val_accuracy=run.accuracy(net, task.validation_part), by=by)
    return accuracy
