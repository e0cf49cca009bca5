"""Of which task's classes a network's outputs are: components know it, and modules that were loaded
from one remember it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from orchestrator.spec.task import Task
from orchestrator.spec.wording import first_few

SHOWN = 10  # classes of a task that a message names
_MEMORY = "_spolia_tasks"


def remember(module: nn.Module, tasks: Sequence[Task]) -> None:
    """Leave with a module the task whose classes its outputs are; several where it may be any."""
    # Not a buffer: it is no part of the state, and goes along with copies of the module.
    module.__dict__[_MEMORY] = tuple(tasks)


def remembered(module: nn.Module) -> tuple[Task, ...]:
    """The tasks that were left with a module, or with the last one of a sequence; none where
    nobody left any. Only a memory: the module may have been trained on another task since.
    """
    found: tuple[Task, ...] = module.__dict__.get(_MEMORY, ())
    if not found and isinstance(module, nn.Sequential) and len(module):
        return remembered(module[-1])
    return found


def with_classes(task: Task) -> str:
    """`a (0, 1, 2)`: a task and its classes, for messages."""
    return f"{task.name} ({first_few(task.class_names, SHOWN)})"
