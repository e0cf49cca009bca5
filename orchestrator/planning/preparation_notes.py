"""What a plan tells of how images are prepared: that their normalisation or size is that of a base,
and where methods that stand side by side prepare the images of one task differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from orchestrator.spec.preparation import IMAGENET, Statistics
from orchestrator.spec.task import Task
from orchestrator.spec.trial import Trial

Shape = tuple[int, int, int]
Found = dict[str, dict[str, set[str]]]  # names of methods by task's name and by what they do


def notes_of(trials: Iterable[Trial], image: Callable[[Task], Shape]) -> tuple[str, ...]:
    """Sentences on the trials of a plan, needs included; `image` gives the shape of a task's
    images. Each is told once, however many trials it concerns.
    """
    all_trials = list(trials)
    return (
        *_notes_of_bases(all_trials),
        *_notes_of_pretrained(all_trials),
        *_notes_of_sizes(all_trials, image),
        *_notes_of_differences(all_trials),
    )


def _notes_of_bases(trials: list[Trial]) -> Iterator[str]:
    """Which tasks are normalised as their base's images were, and that differs from their own."""
    concerned: dict[str, tuple[dict[str, None], dict[str, None]]] = {}  # by the base's name
    for trial in trials:
        place = trial.method.base_place
        if place is None:
            continue
        for task in trial.tasks[place + 1 :]:
            if task.normalisation == "base" and task.normalised_by != IMAGENET:
                base = trial.tasks[place].name
                tasks, methods = concerned.setdefault(base, ({}, {}))
                tasks[task.name] = methods[trial.method.name] = None
    for base, (tasks, methods) in concerned.items():
        yield (
            f"{', '.join(tasks)}: normalised by the statistics of their base {base} "
            f"({', '.join(methods)}); .normalised('own') takes their own"
        )


def _notes_of_pretrained(trials: list[Trial]) -> Iterator[str]:
    """Which networks' trained weights decide how images are normalised."""
    concerned: dict[str, dict[str, None]] = {}  # tasks by network
    for trial in trials:
        if trial.network is None or not trial.network.trained_with:
            continue
        for task in trial.tasks:
            if task.normalised_by == IMAGENET:
                concerned.setdefault(trial.network.label, {})[task.name] = None
    for network, tasks in concerned.items():
        yield (
            f"{', '.join(tasks)}: normalised by ImageNet's statistics, as the weights of {network} "
            f"were trained; .normalised('own') takes their own"
        )


def _notes_of_sizes(trials: list[Trial], image: Callable[[Task], Shape]) -> Iterator[str]:
    """Tasks whose images have another size than those that the base was trained on."""
    told: dict[str, None] = {}
    for trial in trials:
        place = trial.method.base_place
        if place is None:
            continue
        base = trial.tasks[place]
        _, height, width = image(base)
        for task in trial.tasks[place + 1 :]:
            _, other_height, other_width = image(task)
            if (height, width) == (other_height, other_width):
                continue
            mend = f".resized({height})" if height == width else "the same .resized(...) for both"
            told[
                f"{task.name}: images of {other_height}x{other_width} on a base of {height}x{width}"
                f" ({base.name}), which its network takes, pooling over what there is; "
                f"{mend} makes them equal"
            ] = None
    yield from told


def _notes_of_differences(trials: list[Trial]) -> Iterator[str]:
    """Tasks whose training images some methods prepare otherwise than others do."""
    normalised: Found = {}
    augmented: Found = {}
    for trial in trials:
        how = trial.method.settings().get("augmentation")
        if how is None:
            continue  # it trains nothing itself
        # What a method with a base learns is its last task, the one that its trial is about.
        has_base = trial.method.base_place is not None
        for task in trial.tasks[-1:] if has_base else trial.tasks:
            name, method = task.name, trial.method.name
            augmented.setdefault(name, {}).setdefault(how, set()).add(method)
            normalised.setdefault(name, {}).setdefault(_named(trial, task), set()).add(method)
    for what, found in (("normalised by", normalised), ("augmentation", augmented)):
        yield from _differences(what, found)


def _named(trial: Trial, task: Task) -> str:
    """The statistics that a task is normalised by, in words."""
    by: Statistics | None = task.normalised_by
    if by is None or by == task.statistics:
        return "own"
    place = trial.method.base_place
    if by == IMAGENET:
        return "imagenet"
    return f"those of {trial.tasks[place].name}" if place is not None else "base"


def _differences(what: str, found: Found) -> Iterator[str]:
    """A sentence for tasks that differ in the same way; none where all methods do the same."""
    tasks: dict[str, list[str]] = {}
    for task, by_value in found.items():
        every = set.union(*by_value.values())
        if all(methods == every for methods in by_value.values()):
            continue
        sides = [f"{value} in {', '.join(sorted(names))}" for value, names in by_value.items()]
        tasks.setdefault(f"{what} {'; '.join(sorted(sides))}", []).append(task)
    for words, names in tasks.items():
        yield f"{', '.join(names)}: {words}: a comparison of these methods compares that, too"
