"""Trials by what tells them apart in their sweep, in a line that fits a terminal."""

from __future__ import annotations

from collections import Counter

from orchestrator.planning.plan import Plan
from orchestrator.session.trials import shared_values
from orchestrator.spec.labels import AxisValue, short_names
from orchestrator.spec.trial import Trial


class TrialNames:
    """What trials of a plan are called: `recombine common pool seed=0`.

    The method, and the values of those axes along which the sweep's cells differ and that all cells
    share which are the trial or need it; numbers and truth values with the axis's name. Where that
    leaves several trials alike, their tasks tell them apart.
    """

    def __init__(self, plan: Plan) -> None:
        values = plan.values
        self._names = {
            axis: name
            for axis, name in short_names(plan.axes).items()
            if axis != "method" and len(values.values(axis)) > 1
        }
        shared = shared_values(plan)
        self._texts = {key: self._text(trial, shared[key]) for key, trial in plan.trials.items()}
        self._counts = Counter(self._texts.values())

    def of(self, trial: Trial) -> str:
        text = self._texts[trial.key]
        if self._counts[text] < 2 or not trial.tasks:
            return text
        return f"{text} on {'+'.join(task.name for task in trial.tasks)}"

    def _text(self, trial: Trial, values: dict[str, AxisValue]) -> str:
        told = [_told(name, values[axis]) for axis, name in self._names.items() if axis in values]
        return " ".join([trial.method.name, *told])


def _told(name: str, value: AxisValue) -> str:
    is_word = isinstance(value.value, str) or not isinstance(value.value, bool | int | float)
    is_clear = is_word and value.text not in ("none", "True", "False")
    return value.text if is_clear else f"{name}={value.text}"
