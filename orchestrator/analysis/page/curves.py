"""The curves of trainings, of a sweep's cells and of all that they need: means over seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.analysis.estimates import estimate
from orchestrator.analysis.page.plots import Plot, lines_plot, words
from orchestrator.analysis.plots import Line
from orchestrator.analysis.results import Results
from orchestrator.spec.canonical import canonical_json, show
from orchestrator.spec.method import Method
from orchestrator.spec.trial import Trial

KINDS = 40  # trials that differ in more than the seed, whose curves are read
POINTS = 60  # of a line; of more epochs some are left out
TOTAL = 24_000  # points of all curves of a page


def training_curves(results: Results) -> tuple[list[Plot], list[str]]:
    """A plot for each curve that trainings left, and in words what is not in them."""
    by_kind: dict[str, list[Trial]] = {}
    for key, trial in results.plan.trials.items():
        if results.plan.standing(key) == "done" and key in results.plan.records:
            by_kind.setdefault(_kind(trial), []).append(trial)
    points: dict[str, dict[str, Mapping[int, list[float]]]] = {}  # by curve and kind
    num_read = 0
    for kind, trials in by_kind.items():
        if num_read == KINDS:
            break
        found = _points(results, trials)
        num_read += bool(found)  # measurements, which leave no curve, take no place
        for curve, by_epoch in found.items():
            points.setdefault(curve, {})[kind] = by_epoch
    notes = []
    if num_read == KINDS:
        notes.append(f"Curves are those of the first {KINDS} settings of trainings.")
    first = {kind: trials[0] for kind, trials in by_kind.items()}
    return _plots(points, first), notes


def _plots(
    points: Mapping[str, Mapping[str, Mapping[int, list[float]]]], first: Mapping[str, Trial]
) -> list[Plot]:
    found, total = [], 0
    known: dict[tuple[str, ...], list[str]] = {}  # many curves are of the same trials
    for curve, by_kind in points.items():
        kinds = tuple(by_kind)
        if kinds not in known:
            known[kinds] = _names([first[kind] for kind in kinds])
        names = known[kinds]
        lines = []
        for name, by_epoch in zip(names, by_kind.values(), strict=True):
            lines.append(Line(name, list(_mean(by_epoch))))
        total += sum(len(line.points) for line in lines)
        if total > TOTAL:
            break
        y = words(curve.partition("/")[2])  # without its stage
        found.append(lines_plot(curve, lines, "epoch", y))
    return found


def _kind(trial: Trial) -> str:
    """What a trial is but for its seed and what that draws: images, classes."""
    without = ("seed", "needs", "tasks")
    own = {name: value for name, value in trial.identity.items() if name not in without}
    # The identity of a drawn task has the seed, and the classes that it draws.
    tasks = [
        {**task.to_json(), "seed": None} if task.drawing else task.identity()
        for task in trial.tasks
    ]
    return canonical_json({**own, "tasks": tasks})


def _points(results: Results, trials: Sequence[Trial]) -> dict[str, dict[int, list[float]]]:
    """By curve and epoch the values of all seeds."""
    found: dict[str, dict[int, list[float]]] = {}
    for trial in trials:
        for curve, epoch, value, _ in results.plan.records[trial.key]["curves"]:
            if value is not None:
                found.setdefault(curve, {}).setdefault(epoch, []).append(value)
    return found


def _mean(by_epoch: Mapping[int, list[float]]) -> Iterator[tuple[float, float, float]]:
    for epoch in _kept(by_epoch):
        mean = estimate(by_epoch[epoch])
        if mean.n:
            yield float(epoch), mean.mean, float(np.nan_to_num(mean.half))


def _kept(epochs: Iterable[int]) -> list[int]:
    """Of many epochs some, evenly spread, the first and the last among them."""
    every = sorted(epochs)
    if len(every) <= POINTS:
        return every
    places = [round(i * (len(every) - 1) / (POINTS - 1)) for i in range(POINTS)]
    return [every[place] for place in places]


def _names(trials: Sequence[Trial]) -> list[str]:
    """What tells each of these trials from the others: the method where there are several, and the
    settings in which those of one method differ; a number behind where that is not enough.
    """
    told = [_told(trial) for trial in trials]
    methods = [trial.method for trial in trials]
    num_methods = len({method.name for method in methods})
    names = []
    for trial, own in zip(trials, told, strict=True):
        name = trial.method.name
        alike = [place for place, method in enumerate(methods) if method.name == name]
        differing = _differing(own, [told[place] for place in alike])
        words = [
            f"{setting.rpartition('.')[2]} {own[setting]}"
            for setting in differing
            if not _is_blank(trial, setting, [methods[place] for place in alike])
        ]
        names.append(", ".join(words if num_methods == 1 else [name, *words]) or name)
    numbers = Counter(names)
    return [
        f"{name} ({place})" if numbers[name] > 1 else name for place, name in enumerate(names, 1)
    ]


def _differing(own: Mapping[str, str], alike: Sequence[Mapping[str, str]]) -> list[str]:
    """Of what may be said of a trial, what is not the same for all of its method."""
    # Of an inner method that others lack, its name tells them apart, not each of its settings.
    return [name for name in own if len({one[name] for one in alike if name in one}) > 1]


def _is_blank(trial: Trial, name: str, others: Iterable[Method]) -> bool:
    """Whether a setting makes no difference in this trial, so that any of the others' values goes
    back to its own: where networks are cut says nothing of one that is trained by itself.
    """
    if name not in trial.method.settings():  # the network, the tasks, a setting of an inner method
        return False
    values = dict.fromkeys(other.settings()[name] for other in others)
    try:
        changed = [trial.method.replace(**{name: value}) for value in values]
        return all(trial.replace(method=method) == trial for method in changed)
    except Exception:  # the author's own code, asked for what no sweep may have: it matters there
        return False


def _told(trial: Trial) -> dict[str, str]:
    """All that may be said of a trial, by what it is."""
    json = trial.to_json()
    found: dict[str, str] = {}
    if trial.network:
        found["network"] = trial.network.label
    if trial.tasks:
        found["tasks"] = " + ".join(task.name for task in trial.tasks)
    return {**found, **dict(_settings(json["method"]["settings"]))}


def _settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings with their values in words; those of a method within a method behind its name."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and "settings" in value:
            yield f"{prefix}{name}", str(value.get("method", ""))
            yield from _settings(value["settings"], f"{prefix}{name}.")
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            for number, one in enumerate(value):
                yield from _settings({f"{name}.{number}": one}, prefix)
        else:
            yield f"{prefix}{name}", show(value)
