"""Several targets on one base, one trial a target: what every order of tasks shares, and the table
of accuracy after each task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from orchestrator import MatrixSpec, Method, Metric, Run, Trial

PLACED = Metric("accuracy_at", by=("place",), optional=True)
ACCURACY = MatrixSpec("accuracy", "learned", "evaluated", headline=True)


def needs_of_targets(trial: Trial, base: Method) -> Mapping[str, Trial]:
    """The base, and where there are several targets, this very method on each of them alone."""
    source, *targets = trial.tasks
    alone = {t.name: trial.replace(tasks=(source, t)) for t in targets} if len(targets) > 1 else {}
    return {"base": trial.replace(method=base, tasks=(source,)), **alone}


def accuracy_table(run: Run, names: Sequence[str]) -> None:
    """After each task the accuracy on every task so far, the base's included, for a method that
    changes neither the base nor what was learned before: a column is constant, and the certificates
    of the fits say so."""
    source = run.tasks[0].name
    scores = [
        run.need("base").metric("accuracy", task=source),
        *(run.metrics["accuracy", (("task", name),)] for name in names),
    ]
    values = [
        [score if column <= row else np.nan for column, score in enumerate(scores)]
        for row in range(len(scores))
    ]
    log_places(run, scores[1:])
    run.matrix("accuracy", rows=[source, *names], columns=[source, *names], values=np.array(values))


def log_places(run: Run, scores: Sequence[float]) -> None:
    """Log the final accuracies of the tasks behind the first by their place in the order. Averaged
    over orders that bring every task to every place, it is the effect of the place alone."""
    for place, score in enumerate(scores, start=1):
        run.log(accuracy_at=score, by={"place": str(place)})
