"""How the objects of a session show themselves: as text in a shell, as HTML in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

GAP = "  "  # between two columns


def as_text(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    table = [list(heads), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(GAP.join(cells).rstrip())
    return lines


def as_html(
    lines: Iterable[str], heads: Sequence[str] = (), rows: Iterable[Sequence[str]] = ()
) -> str:
    """Lines of text, and a table below them where it has heads. Labels and reasons are their
    authors' and no HTML, whatever they look like.
    """
    parts = [f"<div>{escape(line)}</div>" for line in lines]
    if heads:
        head = "".join(f"<th style='text-align: left'>{escape(one)}</th>" for one in heads)
        body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    return "".join(parts)


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td style='text-align: left'>{escape(one)}</td>" for one in row)
