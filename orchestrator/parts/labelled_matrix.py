"""What every matrix can be asked for, be it measured by one trial or a mean over several: its
entries by their labels, which have no value and why, data frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

Values = NDArray[np.float64]
Components = tuple[tuple[str, ...], tuple[str, ...]]
"""References of the components that rows and columns stand for; "" where one stands for none."""

UNKNOWN = "not measured"


@dataclass(frozen=True, repr=False, kw_only=True)
class LabelledMatrix:
    """`values[i, j]` is the score of row i with column j; NaN where the pair has none. All arrays
    are [rows, columns].

    `count` is how many images stand behind an entry, `chance` what guessing scores. `axes` says
    what rows and columns are, such as ("extractor", "head"). `notes`, by (row, column), explain an
    entry, above all why it has no value.
    """

    name: str
    axes: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Values
    count: NDArray[np.int64]
    chance: Values
    notes: Mapping[tuple[int, int], str] = field(default_factory=dict)

    def place(self, row: str, column: str) -> tuple[int, int]:
        """Where the entry of two labels stands in the arrays: `matrix.count[matrix.place("a",
        "b")]`. Raises InputError where there is no such label.
        """
        found, problems = [], []
        for axis, label, known in zip(
            self.axes, (row, column), (self.rows, self.columns), strict=True
        ):
            if label in known:
                found.append(known.index(label))
            else:
                # Both labels are looked at before anything is raised.
                problems.append(f"{axis} {label!r}: {nearest(str(label), known)}")
        if problems:
            if isinstance(row, int) and isinstance(column, int):
                problems.append("by number: matrix.values[row, column]")
            asked = (row, column)
            raise InputError(f"matrix {self.name!r} has no entry {asked!r}:", problems)
        return found[0], found[1]

    def _place_of(self, labels: object) -> tuple[int, int]:
        """The place of what stands between brackets: `matrix["a", "b"]`."""
        # A text of two characters would pass for two labels.
        if not isinstance(labels, tuple) or len(labels) != 2:
            raise InputError(f"an entry is named by its row and its column, got {labels!r}")
        return self.place(*labels)

    def _pair_in(self, components: Components | None, row: str, column: str) -> tuple[str, str]:
        """The components of a row and a column. Raises InputError where one stands for none."""
        i, j = self.place(row, column)
        found = (components[0][i], components[1][j]) if components else ("", "")
        for label, reference in zip((row, column), found, strict=True):
            if not reference:
                raise InputError(f"{label!r} of matrix {self.name} stands for no stored component")
        return found

    @property
    def without_value(self) -> dict[tuple[str, str], str]:
        """The entries that have no value, by the labels of row and column, with the reason."""
        empty = np.argwhere(np.isnan(self.values)).tolist()
        return {(self.rows[i], self.columns[j]): self.notes.get((i, j), UNKNOWN) for i, j in empty}

    def _of_entries(self) -> dict[str, NDArray[Any]]:
        """The arrays of numbers, by the name of their column in a long frame."""
        return {"value": self.values, "count": self.count, "chance": self.chance}

    def frame(self, *, long: bool = False) -> pd.DataFrame:
        """The values as a data frame, rows and columns by their labels; `long` for one row an entry
        with all that is known of it, its note last.
        """
        import pandas as pd

        rows = pd.Index(self.rows, name=self.axes[0])
        columns = pd.Index(self.columns, name=self.axes[1])
        if not long:
            return pd.DataFrame(self.values, rows, columns)
        notes = np.full(self.values.shape, "", dtype=object)
        for place, note in self.notes.items():
            notes[place] = note
        # A matrix of networks against each other may have one name for both sides.
        names = ["row", "column"] if self.axes[0] == self.axes[1] else list(self.axes)
        index = pd.MultiIndex.from_product([rows, columns], names=names)
        entries = {name: array.ravel() for name, array in self._of_entries().items()}
        return pd.DataFrame({**entries, "note": notes.ravel()}, index).reset_index()
