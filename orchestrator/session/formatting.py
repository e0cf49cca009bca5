"""How the objects of a session show themselves: as text in a shell, as HTML in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from orchestrator.spec.formatting import html_table

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
    """A table, where it has heads, and lines of text below it. Labels and reasons are their
    authors' and no HTML, whatever they look like.
    """
    table = [html_table(heads, rows)] if heads else []
    return "".join([*table, *(f"<div>{escape(line)}</div>" for line in lines)])
