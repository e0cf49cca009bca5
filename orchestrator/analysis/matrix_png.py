"""A matrix as a small PNG, drawn in milliseconds: for pictures that are made by the hundred and lie
beside each other, all on one colour scale.
"""

from __future__ import annotations

import io
import textwrap
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.analysis.figures import brief, colour, ink_on, thinned
from orchestrator.parts.labelled_matrix import Values
from orchestrator.parts.matrix_display import Labelled

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

Scale = tuple[float, float]
"""The values at the two ends of the colours."""

LARGEST = 720  # pixels of the fields of a matrix, each way
FIELD = 64  # pixels of a field, at most
WRITTEN = 40  # pixels of a field from which its value stands in it
LINE = 16  # pixels from one line of text to the next
CHARACTER = 7  # pixels of a character, about
LONGEST = 20  # characters of a label
NARROWEST = 260  # pixels of a picture
_GREY = "#eeeeee"


def scale_of(values: Values, known: Scale = (0.0, 1.0)) -> Scale:
    """A scale for these values, too: from 0 to 1 where all lie there."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return known
    return min(known[0], float(finite.min())), max(known[1], float(finite.max()))


def matrix_png(matrix: Labelled, title: str, scale: Scale, halves: Values | None = None) -> bytes:
    """Rows down, columns across, the title above (in as many lines as keep the picture narrow, for
    it may be shown small) and the scale below. Values are in writing, with their half-widths, where
    there is room; of many rows or columns some are named, and of very many neighbours share a
    field, which has their mean.
    """
    values, down, across = thinned(matrix.values)
    rows, columns = matrix.rows[::down], matrix.columns[::across]
    field = max(2, min(FIELD, LARGEST // max(values.shape)))
    left = 8 + _width(rows)
    upright = _width(columns) > field
    size = f"{matrix.axes[0]} down, {matrix.axes[1]} across"
    if down * across > 1:
        size += f"; means of {down} x {across}"
    width = max(left + field * values.shape[1] + 8, NARROWEST)
    titles, sizes = (textwrap.wrap(text, (width - 16) // CHARACTER) for text in (title, size))
    lines = [*titles, *sizes]
    top = (len(lines) + 1) * LINE + (_width(columns) if upright else LINE)
    height = top + field * values.shape[0] + 2 * LINE + 8
    page = _Page(width, height)
    for number, line in enumerate(lines):
        page.text(8, 6 + number * LINE, line, strong=number < len(titles))
    page.fields(left, top, field, _placed(values, scale))
    page.labels_down(left - 4, top, field, rows)
    page.labels_across(left, top - 4, field, columns, upright)
    if field >= WRITTEN and halves is not None and down * across == 1:
        page.values(left, top, field, values, halves, scale)
    elif field >= WRITTEN:
        page.values(left, top, field, values, np.full(values.shape, np.nan), scale)
    page.scale(8, height - LINE - 6, scale)
    return page.png()


def _placed(values: Values, scale: Scale) -> Values:
    """Values by their place between the ends of the scale, 0 to 1."""
    low, high = scale
    return (values - low) / (high - low)


def _width(labels: Any) -> int:
    """Pixels of the longest of some labels."""
    return CHARACTER * min(LONGEST, max(map(len, labels), default=0)) + 6


def _cut(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"


class _Page:
    """A white picture."""

    def __init__(self, width: int, height: int) -> None:
        from PIL import Image, ImageDraw

        self._image = Image.new("RGB", (width, height), "white")
        self._draw = ImageDraw.Draw(self._image)
        self._font = _font()

    def text(self, x: int, y: int, text: str, *, strong: bool = False) -> None:
        self._draw.text(
            (x, y), text, fill="black", font=self._font, stroke_width=0.3 if strong else 0
        )

    def fields(self, left: int, top: int, field: int, placed: Values) -> None:
        from PIL import Image

        small = Image.fromarray(_colours(placed))  # one pixel a field
        size = (field * placed.shape[1], field * placed.shape[0])
        self._image.paste(small.resize(size, Image.Resampling.NEAREST), (left, top))

    def labels_down(self, right: int, top: int, field: int, labels: Any) -> None:
        every = -(-LINE // field)
        for i in range(0, len(labels), every):
            self._draw.text(
                (right, top + field * i + field // 2),
                _cut(labels[i]),
                fill="black",
                font=self._font,
                anchor="rm",
            )

    def labels_across(self, left: int, bottom: int, field: int, labels: Any, upright: bool) -> None:
        every = -(-LINE // field)
        for j in range(0, len(labels), every):
            middle = left + field * j + field // 2
            if not upright:
                self._draw.text(
                    (middle, bottom), _cut(labels[j]), fill="black", font=self._font, anchor="mb"
                )
                continue
            turned = self._upright(_cut(labels[j]))
            self._image.paste(turned, (middle - turned.width // 2, bottom - turned.height))

    def _upright(self, text: str) -> Image:
        from PIL import Image, ImageDraw

        line = Image.new("RGB", (int(self._draw.textlength(text, font=self._font)) + 2, LINE - 2))
        draw = ImageDraw.Draw(line)
        draw.rectangle((0, 0, *line.size), fill="white")
        draw.text((0, 0), text, fill="black", font=self._font)
        return line.transpose(Image.Transpose.ROTATE_90)

    def values(
        self, left: int, top: int, field: int, values: Values, halves: Values, scale: Scale
    ) -> None:
        placed = _placed(values, scale)
        for (i, j), value in np.ndenumerate(values):
            text, ink = "–", "gray"
            if not np.isnan(value):
                text, ink = brief(float(value)), ink_on(float(placed[i, j]))
            if np.isfinite(halves[i, j]):
                text += f"\n±{brief(float(halves[i, j]))}"
            middle = (left + field * j + field // 2, top + field * i + field // 2)
            self._draw.multiline_text(
                middle, text, fill=ink, font=self._font, anchor="mm", align="center", spacing=2
            )

    def scale(self, x: int, y: int, scale: Scale) -> None:
        low, high = map(brief, scale)
        self.text(x, y, low)
        start = x + int(self._draw.textlength(low, font=self._font)) + 6
        self.fields(start, y + 3, 10, np.linspace(0, 1, 12)[None])
        self.text(start + 126, y, high)

    def png(self) -> bytes:
        buffer = io.BytesIO()
        self._image.save(buffer, format="PNG")
        return buffer.getvalue()


def _colours(placed: Values) -> Any:
    """The colours of places from 0 to 1, [rows, columns, 3]; grey where there is none."""
    known = np.clip(np.rint(np.nan_to_num(placed) * 255), 0, 255).astype(int)
    return _table()[np.where(np.isnan(placed), 256, known)]


@lru_cache(maxsize=1)
def _table() -> Any:
    """256 colours from one end of the scale to the other, and grey, [257, 3]."""
    stops = [*(colour(i / 255) for i in range(256)), _GREY]
    return np.array([[int(s[i : i + 2], 16) for i in (1, 3, 5)] for s in stops], dtype=np.uint8)


@lru_cache(maxsize=1)
def _font() -> FreeTypeFont:
    """What matplotlib writes with: Pillow's own font has hardly more than Latin letters."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 11)
