"""Claims in words: which cells a claim speaks of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.spec.canonical import show
from orchestrator.spec.claim import ABSENT, Labels, several
from orchestrator.spec.labels import longer_text
from orchestrator.spec.task import Task


def text(labels: Labels, one: Callable[[Any], str] | None = None) -> str:
    """`axis=value` and so on, without axes that cells are to lack; `one` puts a value in words."""
    words = []
    for axis, value in labels.items():
        if value != ABSENT:
            words.append(f"{axis}={' or '.join(map(one or _one, several(value)))}")
    return " ".join(words)


def _one(value: Any) -> str:
    tasks = value if isinstance(value, tuple) else (value,)
    if tasks and all(isinstance(task, Task) for task in tasks):
        return " + ".join(task.name for task in tasks)
    return show(value)


def only_in(labels: Labels, others: Labels) -> Labels:
    """The labels on axes that the others do not name."""
    return {axis: value for axis, value in labels.items() if axis not in others}


def contrast(first: Labels, second: Labels) -> tuple[str, str, str]:
    """In words: the first labels and the second, both without what they share, and what they
    share, as a prefix of a sentence. Tasks that are called alike are told with more.
    """
    common = {axis: value for axis, value in first.items() if second.get(axis) == value}
    sides = only_in(first, common), only_in(second, common)
    one, other = map(text, sides)
    if one == other:
        one, other = (text(side, longer_text) for side in sides)
    return one, other, prefix(common)


def prefix(labels: Labels) -> str:
    """`axis=value: `, or nothing where all cells are meant."""
    words = text(labels)
    return f"{words}: " if words else ""


def at(labels: Labels) -> str:
    """` at axis=value`, or nothing where all cells are meant."""
    words = text(labels)
    return f" at {words}" if words else ""
