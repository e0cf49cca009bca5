"""The best of the settings that one side of a claim leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analysis.claims.pairing import pair
from orchestrator.analysis.claims.places import Setting, setting_in_words, setting_of
from orchestrator.analysis.claims.sides import Side, first_of
from orchestrator.analysis.results import Results
from orchestrator.spec.canonical import is_number
from orchestrator.spec.claim import Labels
from orchestrator.spec.labels import AxisValue, axes_by_name
from orchestrator.spec.trial import Cell


@dataclass(frozen=True)
class Choice:
    """The cells of the settings that were chosen, what these are, in words, and why the choice is
    none (a setting that has no value yet might be the best).
    """

    cells: tuple[Cell, ...]
    words: str
    problems: tuple[str, ...] = ()


def choose(results: Results, metric: str, labels: Labels, over: Sequence[str]) -> Choice:
    """Of the cells that `labels` name those with the highest mean of `metric` over seeds, among the
    values of the axes `over`; the first of equals. Whatever else the cells differ in, tasks say, is
    not chosen: there is a choice for each of its values.
    """
    names = axes_by_name(results.plan.axes)
    chosen_axes = list(dict.fromkeys(names[axis] for axis in over))
    others = [a for a in results.plan.axes if a not in chosen_axes and a != "seed"]
    cells: dict[Setting, dict[Setting, list[Cell]]] = {}  # by all else, by what is chosen
    for cell in results.cells_like(labels):
        candidates = cells.setdefault(setting_of(results, cell, others), {})
        candidates.setdefault(setting_of(results, cell, chosen_axes), []).append(cell)
    best: list[Cell] = []
    problems: list[str] = []
    at: dict[str, list[str]] = {}  # by what was chosen, in words, where
    for setting, candidates in cells.items():
        sides = [Side(results, metric, labels, one) for one in candidates.values()]
        # Candidates are held to what sides are: the same seeds for all, and nothing missing.
        comparison = pair(sides, apart=chosen_axes)
        problems += comparison.problems
        if not comparison.seeds:
            continue
        means = comparison.values.mean(axis=1)  # [candidates]
        number = int(means.argmax())  # the first of equals
        best += list(candidates.values())[number]
        words = _chosen(results, list(candidates), number)
        at.setdefault(words, []).append(setting_in_words(results, _varying(setting, list(cells))))
    return Choice(tuple(best), _told(at), tuple(dict.fromkeys(problems)))


def _varying(setting: Setting, settings: Sequence[Setting]) -> Setting:
    """Of a setting what tells it from the others."""
    distinct = (len(set(values)) for values in zip(*settings, strict=True))
    return tuple(one for one, count in zip(setting, distinct, strict=True) if count > 1)


def _chosen(results: Results, candidates: Sequence[Setting], number: int) -> str:
    """What was chosen, in words, and the axes on which it has the lowest or the highest of the
    numbers that were tried.
    """
    varying = _varying(candidates[number], candidates)
    words = setting_in_words(results, varying) or "one setting"
    edges = []
    for axis, key in varying:
        tried = {dict(candidate)[axis] for candidate in candidates}
        # The edge of what was tried here, which may be less than the axis has in the sweep.
        values = [value for value in results.values.values(axis) if value.key in tried]
        if _is_at_the_edge(key, values):
            edges.append(results.axes[axis])
    return f"{words}, at the edge of what was tried of {', '.join(edges)}" if edges else words


def _is_at_the_edge(key: str, tried: Sequence[AxisValue]) -> bool:
    # Other values have no order, and a single number is no range to be at the edge of.
    numbers = {value.key: value.value for value in tried if is_number(value.value)}
    extremes = (min(numbers.values()), max(numbers.values())) if len(numbers) > 1 else ()
    return key in numbers and numbers[key] in extremes


def _told(at: dict[str, list[str]]) -> str:
    """What was chosen; and where, if it is not the same everywhere."""
    if len(at) < 2:
        return next(iter(at), "nothing")
    return "; ".join(f"{words} at {first_of(places)}" for words, places in at.items())
