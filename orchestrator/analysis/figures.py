"""Heat maps of matrices, drawn without a display."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np

from orchestrator.parts import matrix_display
from orchestrator.parts.labelled_matrix import Values
from orchestrator.parts.matrix import Matrix
from orchestrator.parts.matrix_display import Labelled, as_png


def heat_map(
    matrices: Sequence[tuple[str, Labelled, Values | None]], title: str = "", columns: int = 4
) -> bytes:
    """A PNG of one or several matrices; see `orchestrator.parts.matrix_display.heat_map`."""
    return as_png(matrix_display.heat_map(matrices, title, columns))


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

FIELDS = 1024  # entries up to which each is a field with its value in writing
SIDE = 256  # pixels of an image of more entries, each way; noise of this size is 260 KB of text


def matrix_svg(matrix: Matrix) -> str:
    """One matrix as an SVG picture: rows down, columns across, values from 0 to 1 as colours and,
    where there are not too many, in writing.
    """
    title = f"{matrix.name}: {matrix.axes[0]} down, {matrix.axes[1]} across"
    if matrix.values.size > FIELDS:
        return _svg_of_many(matrix, title)
    left, top = 16 + _CHARACTER * max(len(row) for row in matrix.rows), _HEADINGS
    width = max(left + _FIELD * len(matrix.columns), _CHARACTER * len(title)) + _MARGIN
    parts = _svg_head(title, width, top + _FIELD * len(matrix.rows) + _MARGIN)
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


def _svg_head(title: str, width: int, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="6" y="20" font-weight="bold">{escape(title)}</text>',
    ]


def _svg_of_many(matrix: Matrix, title: str) -> str:
    """A matrix of very many entries: one image inside the picture, a few pixels an entry, instead
    of as many fields, which would be megabytes that no browser scrolls through gladly. Where there
    are more entries than SIDE either way, neighbours share a place, which has their mean.
    """
    num_rows, num_columns = matrix.values.shape
    values, down, across = thinned(matrix.values)
    scale = max(2, min(8, 900 // max(values.shape)))  # pixels a place
    width, height = scale * values.shape[1], scale * values.shape[0]
    size = f"{num_rows} x {num_columns} entries; none is grey"
    if down * across > 1:
        size += f"; means of {down} x {across} each"
    whole_width = max(width + 2 * _MARGIN, _CHARACTER * max(len(title), len(size)) + _MARGIN)
    encoded = base64.b64encode(_pixels(values)).decode()
    return "\n".join(
        [
            *_svg_head(title, whole_width, _HEADINGS + height + _MARGIN),
            f'<text x="6" y="42">{size}</text>',
            f'<image x="{_MARGIN}" y="{_HEADINGS}" width="{width}" height="{height}" '
            'preserveAspectRatio="none" style="image-rendering: pixelated" '
            f'href="data:image/png;base64,{encoded}"/>',
            "</svg>",
        ]
    )


def thinned(values: Values) -> tuple[Values, int, int]:
    """Means of blocks of neighbours, at most SIDE each way, and how many entries a block has down
    and across; entries that are NaN do not count.
    """
    rows, columns = values.shape
    down, across = -(-rows // SIDE), -(-columns // SIDE)
    if down * across == 1:
        return values, 1, 1
    padding = ((0, -rows % down), (0, -columns % across))
    padded = np.pad(values, padding, constant_values=np.nan)
    # [rows of blocks, down, columns of blocks, across]
    blocks = padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across)
    known = (~np.isnan(blocks)).sum(axis=(1, 3))
    with np.errstate(invalid="ignore"):  # a block of which nothing is known is 0 / 0, a NaN
        return np.nansum(blocks, axis=(1, 3)) / known, down, across


def _pixels(values: Values) -> bytes:
    """A PNG of one pixel an entry, in the colours of `colour`."""
    from PIL import Image

    stops = np.array(_VIRIDIS, dtype=float)  # [9, 3]
    places = np.linspace(0, 1, len(stops))
    # `interp` takes no NaN; those places are painted grey below.
    known = np.nan_to_num(values)
    # [rows, columns, 3]
    mixed = np.stack([np.interp(known, places, channel) for channel in stops.T], axis=-1)
    mixed[np.isnan(values)] = 0xEE
    buffer = io.BytesIO()
    Image.fromarray(np.rint(mixed).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def _svg_field(value: float, x: int, y: int) -> str:
    """One entry of a matrix: a coloured square with the value in it, grey where there is none."""
    if np.isnan(value):
        fill, ink, text = "#eee", "gray", "–"
    else:
        fill, ink, text = colour(value), ink_on(value), brief(value)
    middle, baseline = x + _FIELD / 2, y + _FIELD / 2 + 4
    return (
        f'<rect x="{x}" y="{y}" width="{_FIELD}" height="{_FIELD}" fill="{fill}"/>'
        f'<text x="{middle}" y="{baseline}" text-anchor="middle" fill="{ink}">{text}</text>'
    )


def brief(value: float) -> str:
    """`0.53`, or `1.2M` for what is counted."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.1f}{unit}"
    return f"{value:.2f}"


def ink_on(value: float) -> str:
    """What can be read on the colour of a value."""
    return "black" if value > 0.6 else "white"


def colour(value: float) -> str:
    """The colour of a value as #rrggbb; values outside 0 to 1 have the colour of the nearer end."""
    position = min(max(value, 0.0), 1.0) * (len(_VIRIDIS) - 1)
    low = min(int(position), len(_VIRIDIS) - 2)
    channels = zip(_VIRIDIS[low], _VIRIDIS[low + 1], strict=True)
    mixed = [round(start + (end - start) * (position - low)) for start, end in channels]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)
