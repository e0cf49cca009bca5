"""The matrices of a page: every setting's mean as coloured entries, and what stands behind each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.estimates import Estimate
from orchestrator.analysis.figures import brief, colour, ink_on
from orchestrator.analysis.matrix_pictures import Panel, panels, unscored
from orchestrator.analysis.mean_matrix import MeanMatrix
from orchestrator.analysis.page.plots import axes_in_question, words
from orchestrator.analysis.results import Results

MOST = 40  # rows or columns that are shown; of more, several are one
WRITTEN = 144  # entries up to which each has its value in writing
TOTAL = 12_000  # entries on a page
SHORT = 12  # characters of a key

Numbers = NDArray[np.float64]


class Budget:
    """How many entries the page still has room for, and the references of components, each once."""

    def __init__(self) -> None:
        self.left = TOTAL
        self.references: dict[str, int] = {}

    def number_of(self, reference: str) -> int:
        """The place of a reference among all of the page."""
        key, slash, rest = reference.partition("/")
        return self.references.setdefault(f"{key[:SHORT]}{slash}{rest}", len(self.references))


def families(results: Results) -> tuple[list[dict[str, Any]], list[str]]:
    """Each matrix that the methods declare, the headline one first, and the references that its
    entries name by number. A family has steps, one for each value of the axis that the slider goes
    along, with the matrices of the other settings at each.
    """
    budget = Budget()
    names = sorted(results.matrix_names(), key=lambda name: name != results.headline_matrix())
    found = [_family(results, name, budget) for name in names]
    return [one for one in found if one["steps"]], list(budget.references)


def _family(results: Results, name: str, budget: Budget) -> dict[str, Any]:
    all_panels = panels(results, name)
    axis = _slider_axis(results, all_panels)
    drawn: list[_Drawn] = []
    for panel in all_panels:
        # What a page cannot hold is not even averaged.
        if budget.left <= 0:
            break
        one = _Drawn(panel, panel.mean)
        budget.left -= min(one.mean.values.size, MOST * MOST)
        drawn.append(one)
    low, high = _ends([one.mean for one in drawn])
    steps: dict[str, list[dict[str, Any]]] = {}
    for one in _in_order(results, drawn):
        value = str(one.panel.labels[axis]) if axis else ""
        without = [text for key, text in one.panel.parts.items() if key != axis]
        matrix = _matrix(one.mean, " · ".join(without), low, high, budget)
        steps.setdefault(value, []).append(matrix)
    first = drawn[0].mean if drawn else None
    is_headline = name == results.headline_matrix()
    return {
        "name": name,
        "title": words(name),
        "down": first.axes[0] if first else "",
        "across": first.axes[1] if first else "",
        "axis": axis,
        "steps": [{"value": value, "matrices": found} for value, found in steps.items()],
        "low": brief(low),
        "high": brief(high),
        "colours": [colour(i / 8) for i in range(9)],
        "notes": unscored(results, name) if is_headline else [],
        "num_left_out": len(all_panels) - len(drawn),
    }


@dataclass(frozen=True)
class _Drawn:
    panel: Panel
    mean: MeanMatrix


def _slider_axis(results: Results, drawn: Sequence[Panel]) -> str:
    """The axis along which the slider goes: the first of those in question on which the settings
    that have the matrix differ. Blank where there is none.
    """
    for axis in axes_in_question(results):
        name = results.axes[axis]
        if len({str(panel.labels[name]) for panel in drawn}) > 1:
            return name
    return ""


def _in_order(results: Results, drawn: Sequence[_Drawn]) -> list[_Drawn]:
    """As the settings stand in the sweep."""
    places = {id(group): place for place, group in enumerate(results.groups())}
    return sorted(drawn, key=lambda one: places[id(one.panel.group)])


def _ends(means: Sequence[MeanMatrix]) -> tuple[float, float]:
    """The values at the ends of the colours: 0 and 1 where all lie there."""
    finite = np.concatenate([[0.0], *(m.values[np.isfinite(m.values)] for m in means)])
    if finite.min() >= 0 and finite.max() <= 1:
        return 0.0, 1.0
    return float(finite.min()), float(finite.max())


def _matrix(
    mean: MeanMatrix, heading: str, low: float, high: float, budget: Budget
) -> dict[str, Any]:
    num_rows, num_columns = mean.values.shape
    down, across = (math.ceil(size / MOST) for size in mean.values.shape)
    values = _blocks(mean.values, down, across)
    is_whole = down == across == 1
    table = {
        "heading": heading,
        "rows": _block_labels(mean.rows, down),
        "columns": _block_labels(mean.columns, across),
        "entries": [[_entry(value, low, high) for value in row] for row in values],
        "is_dense": values.size > WRITTEN,
        "size": "" if is_whole else f"{num_rows} x {num_columns} entries, {down} x {across} in one",
        "n": int(mean.n.max()) if mean.n.size else 0,
    }
    return {**table, "behind": _behind(mean, budget) if is_whole else {"values": _plain(values)}}


def _entry(value: float, low: float, high: float) -> dict[str, str]:
    """The text of one entry and its colours."""
    if math.isnan(value):
        return {"text": "–", "fill": "", "ink": ""}
    place = (value - low) / (high - low) if high > low else 0.0
    return {"text": brief(value), "fill": colour(place), "ink": ink_on(place)}


def _behind(mean: MeanMatrix, budget: Budget) -> dict[str, Any]:
    """What the entries of a matrix rest on, [rows][columns] each: the mean in words, how many
    trials and images, chance; by place the note; by seed the components of rows and columns.
    """
    texts = []
    for of_row in zip(mean.values, mean.half, mean.n.tolist(), strict=True):
        texts.append([Estimate(*one).text(3) for one in zip(*of_row, strict=True)])
    components = []
    for seed, pair in mean.components:
        # Rows and columns that are no stored components have blank references.
        if pair is not None and any(map(any, pair)) and mean.values.size <= WRITTEN:
            numbers = [[budget.number_of(one) for one in labels] for labels in pair]
            components.append({"seed": seed, "rows": numbers[0], "columns": numbers[1]})
    return {
        "values": _plain(mean.values),
        "texts": texts,
        "n": _once(mean.n.tolist()),
        "count": _once(mean.count.tolist()),
        "chance": _once(_plain(mean.chance)),
        "notes": {",".join(map(str, place)): note for place, note in mean.notes.items()},
        "components": components,
    }


def _once(entries: list[list[Any]]) -> Any:
    """The entries, or the one value that all of them have."""
    distinct = {value for row in entries for value in row}
    return distinct.pop() if len(distinct) == 1 else entries


def _plain(values: Numbers) -> list[list[float | None]]:
    """Numbers as JSON has them, which knows no NaN."""
    return [[None if math.isnan(v) else v for v in row] for row in values.tolist()]


def _blocks(values: Numbers, down: int, across: int) -> Numbers:
    """Means of blocks of entries; NaN where a block has no value."""
    if down == across == 1:
        return values
    rows = [values[i : i + down] for i in range(0, len(values), down)]
    found = np.full((len(rows), math.ceil(values.shape[1] / across)), np.nan)
    for i, row in enumerate(rows):
        for j in range(found.shape[1]):
            block = row[:, j * across : (j + 1) * across]
            known = block[np.isfinite(block)]
            found[i, j] = known.mean() if known.size else np.nan
    return found


def _block_labels(labels: Sequence[str], size: int) -> list[str]:
    """The labels of blocks: the first and the last of each."""
    if size == 1:
        return list(labels)
    blocks = [labels[i : i + size] for i in range(0, len(labels), size)]
    return [f"{one[0]} … {one[-1]}" if len(one) > 1 else one[0] for one in blocks]
