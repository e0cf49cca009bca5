"""Heat maps of matrices, drawn without a display."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from orchestrator.matrix import Matrix, Values


def heat_map(matrices: Sequence[tuple[str, Matrix, Values | None]], title: str = "", columns: int = 4) -> bytes:
    """A PNG of one or several matrices, `columns` a row: a heading, the matrix, and half-widths of intervals or None for each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, len(matrices))
    rows = -(-len(matrices) // columns)
    size = max(m.values.shape[1] for _, m, _ in matrices)
    side = float(np.clip(0.55 * size + 1.3, 2.2, 9))
    figure = Figure(figsize=(side * columns + 0.9, (side + 0.35) * rows + (0.4 if title else 0)), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    image: Any = None
    for place, axis in enumerate(axes.flat):
        if place >= len(matrices):
            axis.set_axis_off()
            continue
        heading, matrix, halves = matrices[place]
        image = axis.imshow(matrix.values, vmin=0, vmax=1, cmap="viridis")
        axis.set_title(heading, fontsize=9)
        axis.set_xticks(range(len(matrix.columns)), matrix.columns, fontsize=8, rotation=90 if max(map(len, matrix.columns)) > 3 else 0)
        axis.set_yticks(range(len(matrix.rows)), matrix.rows, fontsize=8)
        axis.set_xlabel(matrix.axes[1], fontsize=8)
        axis.set_ylabel(matrix.axes[0], fontsize=8)
        if matrix.values.size <= 144:
            _write_values(axis, matrix.values, halves)
    figure.colorbar(image, ax=axes.ravel().tolist(), shrink=0.8)
    if title:
        figure.suptitle(title, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _write_values(axis: object, values: Values, halves: Values | None) -> None:
    for (i, j), value in np.ndenumerate(values):
        half = halves[i, j] if halves is not None else float("nan")
        text = "–" if np.isnan(value) else f"{value:.2f}" + (f"\n±{half:.2f}" if np.isfinite(half) else "")
        axis.text(j, i, text, ha="center", va="center", fontsize=8, color="black" if value > 0.6 else "gray" if np.isnan(value) else "white")  # type: ignore[attr-defined]
