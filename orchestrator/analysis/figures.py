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


def heat_map(
    matrices: Sequence[tuple[str, Matrix, Values | None]], title: str = "", columns: int = 4
) -> bytes:
    """A PNG of one or several matrices, `columns` a row: a heading, the matrix, and half-widths of
    intervals or None for each. Colours go from 0 to 1 where all values do, else from the lowest, or
    0, to the highest."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, len(matrices))
    rows = -(-len(matrices) // columns)
    finite = np.concatenate([[0.0], *(m.values[np.isfinite(m.values)] for _, m, _ in matrices)])
    low, high = (
        (0.0, 1.0)
        if finite.min() >= 0 and finite.max() <= 1
        else (float(finite.min()), float(finite.max()))
    )
    width, height = (
        float(np.clip(0.55 * max(m.values.shape[d] for _, m, _ in matrices) + 1.3, 2.2, 9))
        for d in (1, 0)
    )
    figure = Figure(
        figsize=(width * columns + 0.9, (height + 0.35) * rows + (0.4 if title else 0)),
        layout="constrained",
        dpi=110,
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    image: Any = None
    for place, axis in enumerate(axes.flat):
        if place >= len(matrices):
            axis.set_axis_off()
            continue
        heading, matrix, halves = matrices[place]
        image = axis.imshow(matrix.values, vmin=low, vmax=high, cmap="viridis")
        axis.set_title(textwrap.fill(heading, int(11 * width)), fontsize=9)
        axis.set_xticks(
            range(len(matrix.columns)),
            matrix.columns,
            fontsize=8,
            rotation=90 if max(map(len, matrix.columns)) > 3 else 0,
        )
        axis.set_yticks(range(len(matrix.rows)), matrix.rows, fontsize=8)
        axis.set_xlabel(matrix.axes[1], fontsize=8)
        axis.set_ylabel(matrix.axes[0], fontsize=8)
        if matrix.values.size <= 144:
            _write_values(axis, matrix.values, halves, low + 0.6 * (high - low))
    figure.colorbar(image, ax=axes.ravel().tolist(), shrink=0.8)
    if title:
        figure.suptitle(title, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(9, 4.6 + 0.12 * max(0, len(series) - 14)), layout="constrained", dpi=110
    )
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for number, line in enumerate(series):
        xs, ys, halves = (np.array(values) for values in zip(*sorted(line.points), strict=True))
        style, colour, halves = (
            "o-" if len(xs) > 1 else "D",
            colormaps["tab20"](number % 20),
            np.nan_to_num(halves),
        )
        if len(xs) > BARS:
            axis.plot(xs, ys, color=colour, label=line.name, linewidth=1.4)
            axis.fill_between(xs, ys - halves, ys + halves, color=colour, alpha=0.1, linewidth=0)
        else:
            axis.errorbar(
                xs,
                ys,
                yerr=halves,
                fmt=style,
                color=colour,
                label=line.name,
                markersize=4,
                capsize=2,
                linewidth=1.2,
                elinewidth=0.7,
            )
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=7)
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


def matrix_svg(matrix: Matrix) -> str:
    """One matrix as an SVG picture: rows down, columns across, values from 0 to 1 as colours and in
    writing.
    """
    title = f"{matrix.name}: {matrix.axes[0]} down, {matrix.axes[1]} across"
    side, left, top = 60, 16 + 8 * max(len(r) for r in matrix.rows), 56
    width, height = (
        max(left + side * len(matrix.columns), 8 * len(title)) + 12,
        top + side * len(matrix.rows) + 12,
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="6" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for j, column in enumerate(matrix.columns):
        shown = column if len(column) <= 7 else column[:6] + "…"
        parts.append(
            f'<text x="{left + side * j + side / 2}" y="{top - 6}" text-anchor="middle">{escape(shown)}</text>'
        )
    for i, row in enumerate(matrix.rows):
        y = top + side * i
        parts.append(
            f'<text x="{left - 6}" y="{y + side / 2 + 4}" text-anchor="end">{escape(row)}</text>'
        )
        for j in range(len(matrix.columns)):
            value, x = float(matrix.values[i, j]), left + side * j
            fill, ink, text = (
                ("#eee", "gray", "–")
                if np.isnan(value)
                else (_colour(value), "black" if value > 0.6 else "white", _brief(value))
            )
            parts.append(
                f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="{fill}"/>'
                f'<text x="{x + side / 2}" y="{y + side / 2 + 4}" text-anchor="middle" fill="{ink}">{text}</text>'
            )
    return "\n".join([*parts, "</svg>"])


def _brief(value: float) -> str:
    """`0.53`, or `1.2M` for what is counted."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.1f}{unit}"
    return f"{value:.2f}"


def _colour(value: float) -> str:
    place = min(max(value, 0.0), 1.0) * (len(_VIRIDIS) - 1)
    low = min(int(place), len(_VIRIDIS) - 2)
    mixed = (
        round(a + (b - a) * (place - low))
        for a, b in zip(_VIRIDIS[low], _VIRIDIS[low + 1], strict=True)
    )
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _write_values(axis: Any, values: Values, halves: Values | None, bright: float) -> None:
    for (i, j), value in np.ndenumerate(values):
        half = halves[i, j] if halves is not None else float("nan")
        text = (
            "–"
            if np.isnan(value)
            else f"{value:.2f}" + (f"\n±{half:.2f}" if np.isfinite(half) else "")
        )
        axis.text(
            j,
            i,
            text,
            ha="center",
            va="center",
            fontsize=8,
            color="black" if value > bright else "gray" if np.isnan(value) else "white",
        )
