"""How things show themselves in a notebook: small HTML tables, escaped. It needs nothing but the
standard library, so that any room may use it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

ROWS = 20  # of a table; more are counted


def html_table(
    heads: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str = ""
) -> str:
    """A table of texts under a caption; whatever a text looks like, it is shown as it is. Of many
    rows the first, and how many more there are.
    """
    texts = [[f"<td>{escape(str(value))}</td>" for value in row] for row in rows]
    lines = ["<table>"]
    if caption:
        lines.append(f'<caption style="text-align: left">{escape(caption)}</caption>')
    if heads:
        cells = "".join(f"<th>{escape(str(head))}</th>" for head in heads)
        lines.append(f"<thead><tr>{cells}</tr></thead>")
    lines.append("<tbody>")
    lines += [f"<tr>{''.join(row)}</tr>" for row in texts[:ROWS]]
    if len(texts) > ROWS:
        span = max(len(heads), 1)
        lines.append(f'<tr><td colspan="{span}">and {len(texts) - ROWS} more</td></tr>')
    return "\n".join([*lines, "</tbody>", "</table>"])


def number(value: float, digits: int = 3) -> str:
    """A number for a table; a dash for what is none."""
    return "–" if math.isnan(value) else f"{value:z.{digits}f}"


def counted(count: int, noun: str) -> str:
    """`1 cell`, `36 cells`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
