"""Claims in words: which cells a claim speaks of."""

from __future__ import annotations

from typing import Any

from orchestrator.spec.canonical import show
from orchestrator.spec.claim import ABSENT, Labels, several
from orchestrator.spec.task import Task


def text(labels: Labels) -> str:
    """`axis=value` and so on, without axes that cells are to lack."""
    words = []
    for axis, value in labels.items():
        if value != ABSENT:
            words.append(f"{axis}={' or '.join(_one(value) for value in several(value))}")
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
    share, as a prefix of a sentence.
    """
    common = {axis: value for axis, value in first.items() if second.get(axis) == value}
    return text(only_in(first, common)), text(only_in(second, common)), prefix(common)


def prefix(labels: Labels) -> str:
    """`axis=value: `, or nothing where all cells are meant."""
    words = text(labels)
    return f"{words}: " if words else ""


def at(labels: Labels) -> str:
    """` at axis=value`, or nothing where all cells are meant."""
    words = text(labels)
    return f" at {words}" if words else ""
