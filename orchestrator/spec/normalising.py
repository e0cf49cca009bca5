"""By which statistics the tasks of a trial are normalised, where a task leaves that to the method:
as the base's images were, as those of pretrained weights were, or by its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from orchestrator.spec.preparation import IMAGENET
from orchestrator.spec.task import Task


def with_statistics(
    tasks: Sequence[Task], *, base: int | None, trained_with: Literal["", "imagenet"]
) -> tuple[Task, ...]:
    """A trial's tasks with their normalisation decided.

    `base` is the place of the task on which the base was trained: tasks behind it that say nothing
    take its statistics. `trained_with` is the normalisation of pretrained weights, from which the
    first networks start. What is decided stays so in the trials that this one needs, and in theirs.
    Tasks that no plan has resolved come back as they are, for their statistics are not known.
    """
    if any(task.statistics is None for task in tasks):
        return tuple(tasks)
    decided: list[Task] = []
    for place, task in enumerate(tasks):
        if base is not None and place > base:
            decided.append(_behind(task, decided[base]))
        elif trained_with and not task.normalisation and _has_colours(task):
            decided.append(replace(task, normalisation=trained_with))
        else:
            decided.append(task)
    return tuple(decided)


def _has_colours(task: Task) -> bool:
    """Whether ImageNet's statistics fit; grey images before weights for colours are told of by
    planning.
    """
    return task.statistics is not None and IMAGENET.over(len(task.statistics.mean)) is not None


def _behind(task: Task, base: Task) -> Task:
    """A task whose network starts from the base's: normalised like it, unless it is to be
    otherwise, or is already decided. As it was where the base's statistics do not fit its channels.
    """
    if task.normalisation not in ("", "base") or task.base_statistics is not None:
        return task
    by, own = base.normalised_by, task.statistics
    fitting = None if by is None or own is None else by.over(len(own.mean))
    if fitting is not None and fitting == own:
        # A base on the same data: the very trial that asks for its own statistics.
        return replace(task, normalisation="own")
    return replace(task, normalisation="base", base_statistics=fitting)


def problems_of_normalisation(
    tasks: Sequence[Task], method: str, *, base: int | None
) -> Iterator[str]:
    """Why resolved tasks cannot be normalised as they ask to be, with what to write instead."""
    for place, task in enumerate(tasks):
        if task.statistics is None:
            continue
        channels = len(task.statistics.mean)
        if task.normalisation == "imagenet" and IMAGENET.over(channels) is None:
            yield (
                f"{task.name} has {channels} channel{'s' if channels > 1 else ''}, and ImageNet's "
                f"statistics are of three; write .rgb() behind it, or .normalised('own')"
            )
        if task.normalisation != "base" or task.base_statistics is not None:
            continue
        if base is None:
            yield f"{task.name}.normalised('base'): {method} starts from no base; write 'own'"
        elif place <= base:
            yield (
                f"{task.name}.normalised('base'): it is the task of the base itself; write 'own', "
                f"or 'imagenet'"
            )
