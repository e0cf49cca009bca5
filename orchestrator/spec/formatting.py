"""How things show themselves: small HTML tables in a notebook, escaped, numbers, lists. It needs
nothing but the standard library, so that any room may use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from html import escape
from typing import TypeVar

ROWS = 20  # of a table; more are counted
ALL_SAID, SAID = 5, 3  # as many values are all named; of more the first

_Value = TypeVar("_Value")


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


def few_in_words(
    values: Iterable[_Value], everywhere: Collection[_Value], words_of: Callable[[_Value], str]
) -> list[str]:
    """The words for each of some values; of many for the first, those before others that are not
    `everywhere`, and how many more there are.
    """
    ordered = [*values]
    if len(ordered) <= ALL_SAID:
        return [words_of(value) for value in ordered]
    ordered.sort(key=lambda value: value in everywhere)  # stable
    return [*(words_of(value) for value in ordered[:SAID]), f"{len(ordered) - SAID} more"]


def counted(count: int, noun: str) -> str:
    """`1 cell`, `36 cells`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
