"""What was run, and what its numbers mean: settings, networks, tasks, seeds, code, definitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.analysis import definitions
from orchestrator.analysis.page.plots import words
from orchestrator.analysis.results import Results
from orchestrator.planning.plan import Plan
from orchestrator.spec.canonical import show
from orchestrator.spec.settings import settings_of
from orchestrator.spec.trial import Trial
from orchestrator.spec.wording import duration, first_few

VERSIONS = ("spolia", "python", "torch", "torchvision", "numpy")
SHOWN = 8  # values of a setting that are named
Rows = list[tuple[str, str]]


def command(results: Results) -> str:
    """The line that runs the sweep; blank where no file has."""
    file = results.store.file_of_sweep(results.plan.name)
    if file is None:
        return ""
    # A page may be handed on: it tells no folders but those below the current one.
    here = Path.cwd()
    return f"spolia run {file.relative_to(here) if file.is_relative_to(here) else file.name}"


def grid(results: Results) -> Rows:
    """The axes of the sweep with their values."""
    values = results.values
    rows = []
    for axis in values.names:
        texts = [value.text for value in values.values(axis)]
        rows.append((results.axes[axis], ", ".join(texts)))
    return rows


def constant(results: Results) -> Rows:
    """What is the same in all cells: networks, tasks, and the settings of methods that are not
    varied.
    """
    plan = results.plan
    varied = set(plan.axes)
    trials = [cell.trial for cell in plan.cells]
    rows = []
    networks = dict.fromkeys(t.network.label for t in trials if t.network)
    if "network" not in varied and networks:
        rows.append(("network", ", ".join(networks)))
    tasks = dict.fromkeys(" + ".join(task.name for task in t.tasks) for t in trials if t.tasks)
    if "tasks" not in varied and tasks:
        rows.append(("tasks", ", ".join(tasks)))
    # What a task that has a name of its own is made of.
    every = dict.fromkeys(task for t in trials for task in t.tasks)
    named = {task.name: replace(task, label="").name for task in every}
    rows += [(name, made_of) for name, made_of in named.items() if made_of != name]
    rows.append(("arithmetic", ", ".join(dict.fromkeys(t.numerics for t in trials))))
    return rows


def methods(plan: Plan) -> list[dict[str, Any]]:
    """Each method with its trials: how many there are, what they took, and its settings with all
    their values.
    """
    by_name: dict[str, list[Trial]] = {}
    for trial in plan.trials.values():
        by_name.setdefault(trial.method.name, []).append(trial)
    found = []
    for name, trials in by_name.items():
        seconds = sum(plan.seconds.get(trial.key, 0.0) for trial in trials)
        found.append(
            {
                "name": name,
                "what": (type(trials[0].method).__doc__ or "").strip().partition("\n\n")[0],
                "count": len(trials),
                "compute": duration(seconds) if seconds else "–",
                "settings": _settings(trials),
            }
        )
    return found


def _settings(trials: list[Trial]) -> Rows:
    """The settings of trials of one method, each with all the values that it has in them."""
    values: dict[str, dict[str, None]] = {}
    for trial in trials:
        for name in settings_of(type(trial.method)):
            value = getattr(trial.method, name)
            values.setdefault(name, {})[show(value)] = None
    # Of many values, such as every need of a grid, the first few.
    return [(name, first_few(list(texts), SHOWN)) for name, texts in values.items()]


def made_with(results: Results) -> Rows:
    """The code, versions and devices that made the results, each with how many trials it made
    where there are several.
    """
    records = results.plan.records.values()
    sources = [record["provenance"] for record in records if "provenance" in record]
    rows = [("commit", _counted(_commit(one) for one in sources))]
    for name in VERSIONS:
        rows.append((name, _counted(str(one[name]) for one in sources if name in one)))
    rows.append(("device", _counted(str(one["device"]) for one in sources if "device" in one)))
    return [(name, text) for name, text in rows if text]


def _commit(source: Mapping[str, Any]) -> str:
    if "commit" not in source:
        return ""
    return str(source["commit"])[:12] + (" with changes" if source.get("changed") else "")


def _counted(texts: Iterator[str]) -> str:
    counts = Counter(text for text in texts if text)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{text} ({count})" for text, count in counts.most_common())


def metrics(results: Results) -> list[dict[str, str]]:
    """What each metric is: its meaning, which end is better, and where guessing is."""
    return [
        {
            "name": words(one.name),
            "what": one.what,
            "better": one.better,
            "chance": "" if one.chance is None else f"{one.chance:g}",
            "by": ", ".join(one.by),
        }
        for one in definitions.metrics(results)
    ]


def matrices(results: Results) -> list[dict[str, str]]:
    """What each matrix is: its meaning, its rows and its columns."""
    return [
        {"name": words(one.name), "what": one.help, "down": one.rows, "across": one.columns}
        for one in definitions.matrices(results)
    ]
