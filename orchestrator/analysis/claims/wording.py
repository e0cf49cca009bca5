"""Claims in words: which cells a claim speaks of. Values are called what tables call them, so that
two that look alike (floats equal to six digits, tasks of one name) read apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.analysis.results import Results
from orchestrator.spec.claim import Labels, is_absent, several
from orchestrator.spec.labels import axes_by_name, label_of


def text(results: Results, labels: Labels) -> str:
    """`axis=value` and so on, without axes that cells are to lack."""
    words = []
    for name, value in labels.items():
        if not is_absent(value):
            called = [_called(results, name, one) for one in several(value)]
            words.append(f"{name}={' or '.join(called)}")
    return " ".join(words)


def _called(results: Results, name: str, value: Any) -> str:
    """What tables call a value of an axis, or of what a metric is logged by."""
    names = axes_by_name(results.plan.axes)
    if name not in names or is_absent(value):
        return label_of(value)
    return results.values.find(names[name], value).text


def shared(results: Results, first: Labels, *others: Labels) -> Labels:
    """The labels that all of several have: by the values they mean, so that 1 is not True."""

    def meant(labels: Labels, name: str) -> Any:
        wanted = results.wanted({name: labels[name]})
        # Labels of metrics are no axes and have no keys; their texts are what is logged.
        return list(wanted.values()) or [label_of(one) for one in several(labels[name])]

    return {
        name: value
        for name, value in first.items()
        if all(name in other and meant(other, name) == meant(first, name) for other in others)
    }


def only_in(labels: Labels, others: Labels) -> Labels:
    """The labels on axes that the others do not name."""
    return {axis: value for axis, value in labels.items() if axis not in others}


def contrast(results: Results, first: Labels, second: Labels) -> tuple[str, str, str]:
    """In words: the first labels and the second, both without what they share, and what they
    share, as a prefix of a sentence.
    """
    common = shared(results, first, second)
    one, other = (_side(results, only_in(labels, common)) for labels in (first, second))
    return one, other, prefix(results, common)


def told_apart(results: Results, sides: Sequence[Labels]) -> tuple[str, ...]:
    """Each of several sides in words, without what all of them share."""
    if len(sides) == 1:
        return (text(results, sides[0]) or "all cells",)
    common = shared(results, *sides)
    return tuple(_side(results, only_in(labels, common)) for labels in sides)


def _side(results: Results, labels: Labels) -> str:
    without = [f"no {axis}" for axis, value in labels.items() if is_absent(value)]
    # That cells lack an axis is worth a word only where nothing else tells the side.
    return text(results, labels) or " and ".join(without) or "all cells"


def prefix(results: Results, labels: Labels) -> str:
    """`axis=value: `, or nothing where all cells are meant."""
    words = text(results, labels)
    return f"{words}: " if words else ""


def at(results: Results, labels: Labels) -> str:
    """` at axis=value`, or nothing where all cells are meant."""
    words = text(results, labels)
    return f" at {words}" if words else ""


def number(value: float) -> str:
    """A bar in words: six digits where these are all there are, else every one."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
