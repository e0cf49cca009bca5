"""Matrices as people see them: in a line, as HTML tables, as heat maps drawn without a display."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.spec.formatting import html_table, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = NDArray[np.float64]

MOST_WRITTEN = 144  # entries of a matrix whose values are written into its heat map
FEW = 4  # matrices beside each other that are drawn at full size, however many entries they have
LABELLED, LABELLED_OF_MANY = 48, 24  # rows or columns that are all named at the side of a heat map
NAMED = 12  # of those of a matrix that has more of them
SHOWN = 12  # rows and columns of an HTML table


class Labelled(Protocol):
    """Values with labels: [rows, columns], and what rows and columns are."""

    @property
    def name(self) -> str: ...
    @property
    def axes(self) -> tuple[str, str]: ...
    @property
    def rows(self) -> tuple[str, ...]: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def values(self) -> Values: ...
    @property
    def chance(self) -> Values: ...


def in_words(matrix: Labelled) -> str:
    """`accuracy: 2 extractor x 2 head, from 0.100 to 0.950, chance 0.125`."""
    size = f"{len(matrix.rows)} {matrix.axes[0]} x {len(matrix.columns)} {matrix.axes[1]}"
    finite = matrix.values[np.isfinite(matrix.values)]
    if finite.size:
        size += f", from {number(finite.min())} to {number(finite.max())}"
    num_empty = int(np.isnan(matrix.values).sum())
    if num_empty:
        size += f", {num_empty} without a value"
    told = chance_in_words(matrix.chance)
    return f"{matrix.name}: {size}{f', {told}' if told else ''}"


def chance_in_words(chance: Values) -> str:
    """`chance 0.125`, or from where to where; an empty string where it is not known."""
    known = chance[np.isfinite(chance)]
    if not known.size:
        return ""
    low, high = number(known.min()), number(known.max())
    return f"chance {low}" if low == high else f"chance {low} to {high}"


def in_html(matrix: Labelled, caption: str, text: Callable[[int, int], str] | None = None) -> str:
    """A table of the first rows and columns; `text(row, column)` is what stands in an entry
    (default: its value).
    """
    num_rows, num_columns = (min(len(labels), SHOWN) for labels in (matrix.rows, matrix.columns))
    if (num_rows, num_columns) != matrix.values.shape:
        caption += f" (the first {num_rows} x {num_columns})"
    rows = []
    for i, label in enumerate(matrix.rows[:num_rows]):
        columns = range(num_columns)
        values = [text(i, j) if text else number(matrix.values[i, j]) for j in columns]
        rows.append([label, *values])
    heads = [" \\ ".join(matrix.axes), *matrix.columns[:num_columns]]
    return html_table(heads, rows, caption=caption)


def heat_map(
    matrices: Sequence[tuple[str, Labelled, Values | None]], title: str = "", columns: int = 4
) -> Figure:
    """One or several matrices, `columns` a row: a heading, the matrix, and half-widths of intervals
    or None for each. All have one colour scale: from 0 to 1 where all values lie there, else from
    the lowest, or 0, to the highest.
    """
    columns = min(columns, len(matrices))
    rows = -(-len(matrices) // columns)
    low, high = _colour_range([matrix for _, matrix, _ in matrices])
    is_few = len(matrices) <= FEW
    width, height = _panel_size([matrix for _, matrix, _ in matrices], is_few)
    title_height = 0.4 if title else 0
    figure = new_figure(width * columns + 0.9, (height + 0.35) * rows + title_height)
    axes = figure.subplots(rows, columns, squeeze=False)
    image: Any = None
    for axis, (heading, matrix, halves) in zip(axes.flat, matrices, strict=False):
        image = axis.imshow(matrix.values, vmin=low, vmax=high, cmap="viridis")
        axis.set_title(textwrap.fill(heading, int(11 * width)), fontsize=9)
        _label_axes(axis, matrix, LABELLED if is_few else LABELLED_OF_MANY)
        if matrix.values.size <= MOST_WRITTEN:
            _write_values(axis, matrix.values, halves, low + 0.6 * (high - low))
    for unused in axes.flat[len(matrices) :]:
        unused.set_axis_off()
    figure.colorbar(image, ax=axes.ravel().tolist(), shrink=0.8)
    if title:
        figure.suptitle(title, fontsize=10)
    return without_formulas(figure)


def _colour_range(matrices: Sequence[Labelled]) -> tuple[float, float]:
    """The values at the ends of the colour scale."""
    finite = np.concatenate([[0.0], *(m.values[np.isfinite(m.values)] for m in matrices)])
    if finite.min() >= 0 and finite.max() <= 1:
        return 0.0, 1.0
    return float(finite.min()), float(finite.max())


def _panel_size(matrices: Sequence[Labelled], is_few: bool) -> tuple[float, float]:
    """Width and height in inches at which the largest of the matrices can be read. Where values are
    not written into it, many matrices are smaller, or their picture had forty million pixels.
    """
    num_rows = max(len(matrix.rows) for matrix in matrices)
    num_columns = max(len(matrix.columns) for matrix in matrices)
    most = 9.0 if is_few or num_rows * num_columns <= MOST_WRITTEN else 4.0
    width, height = np.clip([0.55 * num_columns + 1.3, 0.55 * num_rows + 1.3], 2.2, most)
    return float(width), float(height)


def _label_axes(axis: Any, matrix: Labelled, most: int) -> None:
    """Labels at the sides; of more than `most` a few, evenly spaced, since a text takes a
    millisecond and none of them could be read.
    """
    num_rows, num_columns = matrix.values.shape
    rows = range(0, num_rows, 1 if num_rows <= most else -(-num_rows // NAMED))
    columns = range(0, num_columns, 1 if num_columns <= most else -(-num_columns // NAMED))
    longest = max(map(len, matrix.columns))
    rotation = 90 if longest > 3 else 0
    axis.set_xticks(columns, [matrix.columns[j] for j in columns], fontsize=8, rotation=rotation)
    axis.set_yticks(rows, [matrix.rows[i] for i in rows], fontsize=8)
    axis.set_xlabel(matrix.axes[1], fontsize=8)
    axis.set_ylabel(matrix.axes[0], fontsize=8)


def _write_values(axis: Any, values: Values, halves: Values | None, bright: float) -> None:
    """Every value in its field, with its half-width below; black on fields brighter than the value
    `bright` has.
    """
    for (i, j), value in np.ndenumerate(values):
        if np.isnan(value):
            text, colour = "–", "gray"
        else:
            text, colour = f"{value:.2f}", "black" if value > bright else "white"
            if halves is not None and np.isfinite(halves[i, j]):
                text += f"\n±{halves[i, j]:.2f}"
        axis.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)


def new_figure(width: float, height: float) -> Figure:
    """A matplotlib figure that needs no display; width and height in inches. A notebook shows it
    whether or not `%matplotlib inline` was said.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Drawn(Figure):
        def _repr_png_(self) -> bytes:
            return as_png(self)

    figure = Drawn(figsize=(width, height), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    return figure


def without_formulas(figure: Figure) -> Figure:
    """The figure with its labels as their authors wrote them: a dollar in one is a dollar, and
    begins no formula.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


def as_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    without_formulas(figure).savefig(buffer, format="png")
    return buffer.getvalue()
