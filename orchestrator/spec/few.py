"""Of many values a few, in words: for messages. Apart from `formatting`, which is among the code
that results are made by.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

ALL_SAID, SAID = 5, 3  # as many values are all named; of more the first

_Value = TypeVar("_Value")


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
