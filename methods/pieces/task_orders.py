"""Several targets on one base, with one trial per target: what all orders of the tasks share, and
the table of accuracy after each task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from methods.pieces.accuracies import log_accuracies
from orchestrator import (
    MatrixSpec,
    Method,
    Metric,
    Network,
    Part,
    PartWithBase,
    Run,
    Task,
    Trial,
)

ACCURACY_AT_PLACE = Metric(
    "accuracy_at",
    by=("place",),
    optional=True,
    help="Final accuracy of the task that was learned in this place, from 1.",
)
ACCURACY_AFTER_EACH_TASK = MatrixSpec(
    "accuracy",
    "learned",
    "evaluated",
    headline=True,
    help="Accuracy on the test images of one task after another was learned.",
)


def needs_of_targets(trial: Trial, base: Method) -> Mapping[str, Trial]:
    """The training of the base on the first task, as the need `base`, and where there are several
    targets, this very method on each of them alone, by the target's name.
    """
    source, *targets = trial.tasks
    needs = {"base": trial.replace(method=base, tasks=(source,))}
    if len(targets) > 1:
        for target in targets:
            # Neither the order nor the other targets are in that trial, so all orders share it.
            needs[target.name] = trial.replace(tasks=(source, target))
    return needs


def base_network(run: Run) -> Network:
    """The first task's network, which the need `base` trained, on the device of the run."""
    source = run.tasks[0].name
    return run.need("base").network(task=source).to(run.device)


def learn_or_adopt(run: Run, learn: Callable[[Run, Task, Network], None]) -> None:
    """With one target, `learn` it on the base's network; several were learned in trials of their
    own, see `needs_of_targets`. Then measure as `measure_accuracy_after_each_task` does.
    """
    _source, *targets = run.tasks
    names = [target.name for target in targets]
    if len(targets) == 1:
        learn(run, targets[0], base_network(run))
    else:
        run.adopt(*names)
    measure_accuracy_after_each_task(run, names)


def keep_part(run: Run, task: Task, part: Part, base: Network) -> None:
    """Log the accuracies of a task's part with the base that it computes on, and keep the part as
    `part`. The base stays out of it: it is required by its digest.
    """
    log_accuracies(run, PartWithBase(part, base), task)
    network = run.need("base").component("network", task=run.tasks[0].name)
    run.keep("part", part, by={"task": task.name}, requires=network)


def measure_accuracy_after_each_task(run: Run, targets: Sequence[str]) -> None:
    """Measure `ACCURACY_AFTER_EACH_TASK` over the first task and the targets, and log
    `ACCURACY_AT_PLACE`; `accuracy` of each target is logged before.

    For a method that changes neither the base nor what was learned before: a column is constant
    from its diagonal on, and the certificates of the fits say so.
    """
    source = run.tasks[0].name
    scores = [run.need("base").metric("accuracy", task=source)]
    scores += [run.metrics["accuracy", (("task", target),)] for target in targets]
    values = np.full((len(scores), len(scores)), np.nan)
    for row in range(len(scores)):
        # [after task, on task]; tasks not learned yet stay NaN
        values[row, : row + 1] = scores[: row + 1]
    log_accuracy_by_place(run, scores[1:])
    names = [source, *targets]
    run.matrix("accuracy", rows=names, columns=names, values=values)


def log_accuracy_by_place(run: Run, scores: Sequence[float]) -> None:
    """Log the final accuracies of the tasks after the first by their place in the order, from 1.
    Averaged over orders that bring every task to every place, it is the effect of the place alone.
    """
    for place, score in enumerate(scores, start=1):
        run.log(accuracy_at=score, by={"place": str(place)})
