"""Heat maps of matrices, and lines of metrics against each other, drawn without a display."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from orchestrator.parts.matrix import Matrix, Values

MOST_WRITTEN = 144  # entries of a matrix whose values are written into its heat map


def heat_map(
    matrices: Sequence[tuple[str, Matrix, Values | None]], title: str = "", columns: int = 4
) -> bytes:
    """A PNG of one or several matrices, `columns` a row: a heading, the matrix, and half-widths of
    intervals or None for each. Colours go from 0 to 1 where all values do, else from the lowest, or
    0, to the highest."""
    columns = min(columns, len(matrices))
    rows = -(-len(matrices) // columns)
    low, high = _colour_range([matrix for _, matrix, _ in matrices])
    width, height = _panel_size([matrix for _, matrix, _ in matrices])
    title_height = 0.4 if title else 0
    figure = _new_figure(width * columns + 0.9, (height + 0.35) * rows + title_height)
    axes = figure.subplots(rows, columns, squeeze=False)
    image: Any = None
    for axis, (heading, matrix, halves) in zip(axes.flat, matrices, strict=False):
        image = axis.imshow(matrix.values, vmin=low, vmax=high, cmap="viridis")
        axis.set_title(textwrap.fill(heading, int(11 * width)), fontsize=9)
        _label_axes(axis, matrix)
        if matrix.values.size <= MOST_WRITTEN:
            _write_values(axis, matrix.values, halves, low + 0.6 * (high - low))
    for unused in axes.flat[len(matrices) :]:
        unused.set_axis_off()
    figure.colorbar(image, ax=axes.ravel().tolist(), shrink=0.8)
    if title:
        figure.suptitle(title, fontsize=10)
    return _as_png(figure)


def _colour_range(matrices: Sequence[Matrix]) -> tuple[float, float]:
    """The values at the ends of the colour scale."""
    finite = np.concatenate([[0.0], *(m.values[np.isfinite(m.values)] for m in matrices)])
    if finite.min() >= 0 and finite.max() <= 1:
        return 0.0, 1.0
    return float(finite.min()), float(finite.max())


def _panel_size(matrices: Sequence[Matrix]) -> tuple[float, float]:
    """Width and height in inches at which the largest of the matrices can be read."""
    num_rows = max(len(matrix.rows) for matrix in matrices)
    num_columns = max(len(matrix.columns) for matrix in matrices)
    width, height = np.clip([0.55 * num_columns + 1.3, 0.55 * num_rows + 1.3], 2.2, 9)
    return float(width), float(height)


def _label_axes(axis: Any, matrix: Matrix) -> None:
    longest = max(map(len, matrix.columns))
    rotation = 90 if longest > 3 else 0
    axis.set_xticks(range(len(matrix.columns)), matrix.columns, fontsize=8, rotation=rotation)
    axis.set_yticks(range(len(matrix.rows)), matrix.rows, fontsize=8)
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


BARS = 12  # points of a line that each show an error bar


@dataclass(frozen=True)
class Line:
    """One line of a plot: its name, and points (x, y, half-width of y's interval); a single point
    stands alone.
    """

    name: str
    points: Sequence[tuple[float, float, float]]


def lines(series: Sequence[Line], x: str, y: str) -> bytes:
    """A PNG of lines and points with error bars, or bands where a line has many points."""
    from matplotlib import colormaps

    figure = _new_figure(9, 4.6 + 0.12 * max(0, len(series) - 14))
    axis = figure.subplots()
    for number, line in enumerate(series):
        _draw_line(axis, line, colormaps["tab20"](number % 20))
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=7)
    return _as_png(figure)


def _draw_line(axis: Any, line: Line, colour: Any) -> None:
    xs, ys, halves = (np.array(values) for values in zip(*sorted(line.points), strict=True))
    halves = np.nan_to_num(halves)
    if len(xs) > BARS:
        axis.plot(xs, ys, color=colour, label=line.name, linewidth=1.4)
        axis.fill_between(xs, ys - halves, ys + halves, color=colour, alpha=0.1, linewidth=0)
        return
    axis.errorbar(
        xs,
        ys,
        yerr=halves,
        fmt="o-" if len(xs) > 1 else "D",
        color=colour,
        label=line.name,
        markersize=4,
        capsize=2,
        linewidth=1.2,
        elinewidth=0.7,
    )


def _new_figure(width: float, height: float) -> Any:
    """A matplotlib figure that needs no display; width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    return figure


def _as_png(figure: Any) -> bytes:
    from matplotlib.text import Text

    # Labels are their authors': a dollar in one is a dollar, not a formula.
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


# Viridis at nine places, for pictures that are made by the thousand: drawing one with matplotlib
# takes a quarter of a second.
_VIRIDIS = (
    (68, 1, 84),
    (71, 45, 123),
    (59, 82, 139),
    (44, 114, 142),
    (33, 145, 140),
    (40, 174, 128),
    (94, 201, 98),
    (173, 220, 48),
    (253, 231, 37),
)


# Lengths in a picture of one matrix, in pixels.
_FIELD, _MARGIN, _HEADINGS, _CHARACTER = 60, 12, 56, 8


def matrix_svg(matrix: Matrix) -> str:
    """One matrix as an SVG picture: rows down, columns across, values from 0 to 1 as colours and in
    writing.
    """
    title = f"{matrix.name}: {matrix.axes[0]} down, {matrix.axes[1]} across"
    left, top = 16 + _CHARACTER * max(len(row) for row in matrix.rows), _HEADINGS
    width = max(left + _FIELD * len(matrix.columns), _CHARACTER * len(title)) + _MARGIN
    height = top + _FIELD * len(matrix.rows) + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="6" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for j, column in enumerate(matrix.columns):
        heading = column if len(column) <= 7 else column[:6] + "…"
        x = left + _FIELD * j + _FIELD / 2
        parts.append(f'<text x="{x}" y="{top - 6}" text-anchor="middle">{escape(heading)}</text>')
    for i, row in enumerate(matrix.rows):
        y = top + _FIELD * i
        parts.append(
            f'<text x="{left - 6}" y="{y + _FIELD / 2 + 4}" text-anchor="end">{escape(row)}</text>'
        )
        for j in range(len(matrix.columns)):
            parts.append(_svg_field(float(matrix.values[i, j]), left + _FIELD * j, y))
    return "\n".join([*parts, "</svg>"])


def _svg_field(value: float, x: int, y: int) -> str:
    """One entry of a matrix: a coloured square with the value in it, grey where there is none."""
    if np.isnan(value):
        fill, ink, text = "#eee", "gray", "–"
    else:
        fill, ink, text = _colour(value), "black" if value > 0.6 else "white", _brief(value)
    middle, baseline = x + _FIELD / 2, y + _FIELD / 2 + 4
    return (
        f'<rect x="{x}" y="{y}" width="{_FIELD}" height="{_FIELD}" fill="{fill}"/>'
        f'<text x="{middle}" y="{baseline}" text-anchor="middle" fill="{ink}">{text}</text>'
    )


def _brief(value: float) -> str:
    """`0.53`, or `1.2M` for what is counted."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.1f}{unit}"
    return f"{value:.2f}"


def _colour(value: float) -> str:
    """The colour of a value as #rrggbb; values outside 0 to 1 have the colour of the nearer end."""
    position = min(max(value, 0.0), 1.0) * (len(_VIRIDIS) - 1)
    low = min(int(position), len(_VIRIDIS) - 2)
    channels = zip(_VIRIDIS[low], _VIRIDIS[low + 1], strict=True)
    mixed = [round(start + (end - start) * (position - low)) for start, end in channels]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)
