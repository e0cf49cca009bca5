"""The mean of a matrix over the trials of one setting, with its interval, as a labelled array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.estimates import Estimate, estimates
from orchestrator.errors import InputError, nearest
from orchestrator.parts.matrix import Matrix, Values
from orchestrator.parts.matrix_display import chance_in_words, heat_map, in_html, in_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class MeanMatrix:
    """Means over the trials of a setting; all arrays are [rows, columns].

    `values` are means, `half` half-widths of 95 % intervals, `n` says how many trials have a value
    there, `count` how many images stand behind all of them, `chance` what guessing scores. `notes`,
    by (row, column), say why there is no value. `setting` is what was averaged, by axis, in words.
    """

    name: str
    axes: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Values
    half: Values
    n: NDArray[np.int64]
    count: NDArray[np.int64]
    chance: Values
    notes: Mapping[tuple[int, int], str] = field(default_factory=dict)
    setting: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, place: tuple[str, str]) -> Estimate:
        """One entry by the labels of its row and column: `matrix["a", "b"]`. Raises InputError
        where there is no such label.
        """
        i, j = self._place(place)
        return Estimate(float(self.values[i, j]), float(self.half[i, j]), int(self.n[i, j]))

    def _place(self, place: tuple[str, str]) -> tuple[int, int]:
        found, problems = [], []
        # A text of two characters would pass for two labels.
        if not isinstance(place, tuple) or len(place) != 2:
            raise InputError(f"an entry is named by its row and its column, got {place!r}")
        for axis, label, known in zip(self.axes, place, (self.rows, self.columns), strict=True):
            if label in known:
                found.append(known.index(label))
            else:
                # Both labels are looked at before anything is raised.
                problems.append(f"{axis} {label!r}: {nearest(str(label), known)}")
        if problems:
            raise InputError(f"matrix {self.name!r} has no entry {place!r}:", problems)
        return found[0], found[1]

    @property
    def title(self) -> str:
        """Which setting it is, and what guessing scores."""
        words = [f"{axis}={value}" for axis, value in self.setting.items()]
        told = chance_in_words(self.chance)
        return " ".join([*words, *([f"({told})"] if told else [])])

    def frame(self, *, long: bool = False) -> pd.DataFrame:
        """The means as a data frame, rows and columns by their labels; `long` for one row an entry
        with value, half, n, count, chance and note.
        """
        import pandas as pd

        rows = pd.Index(self.rows, name=self.axes[0])
        columns = pd.Index(self.columns, name=self.axes[1])
        if not long:
            return pd.DataFrame(self.values, rows, columns)
        notes = np.full(self.values.shape, "", dtype=object)
        for place, note in self.notes.items():
            notes[place] = note
        arrays = {
            "value": self.values,
            "half": self.half,
            "n": self.n,
            "count": self.count,
            "chance": self.chance,
            "note": notes,
        }
        # A matrix of networks against each other may have one name for both sides.
        names = ["row", "column"] if self.axes[0] == self.axes[1] else list(self.axes)
        index = pd.MultiIndex.from_product([rows, columns], names=names)
        entries = {name: array.ravel() for name, array in arrays.items()}
        return pd.DataFrame(entries, index).reset_index()

    def plot(self) -> Figure:
        """The means as a heat map, each with its half-width where there are not too many."""
        return heat_map([(self.title, self, self.half)], self.name.replace("_", " "))

    def __repr__(self) -> str:
        return f"<MeanMatrix {in_words(self)}; {self._trials}>"

    def _repr_html_(self) -> str:
        def text(i: int, j: int) -> str:
            return Estimate(self.values[i, j], self.half[i, j], int(self.n[i, j])).text(3)

        caption = [self.name, *([self.title] if self.title else []), self._trials]
        return in_html(self, "; ".join(caption), text)

    @property
    def _trials(self) -> str:
        least, most = (int(self.n.min()), int(self.n.max())) if self.n.size else (0, 0)
        return f"mean of n={most}" if least == most else f"mean of n={least} to {most}"


def mean_of(matrices: Sequence[Matrix], setting: Mapping[str, str]) -> MeanMatrix | None:
    """The mean of one matrix as several trials measured it; None where there is none, or where
    their rows or columns differ.
    """
    if not matrices or not are_alike(matrices):
        return None
    first = matrices[0]
    found = estimates(np.stack([m.values for m in matrices]))  # [trials, rows, columns]
    chances = np.stack([m.chance for m in matrices])  # [trials, rows, columns]
    # Where all trials have the same chance it is kept to the bit, which a mean might not do.
    is_one = all(np.array_equal(chances[0], chance, equal_nan=True) for chance in chances)
    return MeanMatrix(
        name=first.name,
        axes=first.axes,
        rows=first.rows,
        columns=first.columns,
        values=found.mean,
        half=found.half,
        n=found.n,
        count=np.sum([m.count for m in matrices], axis=0),  # images, of all trials together
        chance=chances[0] if is_one else estimates(chances).mean,
        # Of an entry that some trials have a value of, the note tells why others have none.
        notes={place: note for m in matrices for place, note in m.notes.items()},
        setting=dict(setting),
    )


def are_alike(matrices: Sequence[Matrix]) -> bool:
    """Whether they have the same rows and columns."""
    return len({(m.rows, m.columns) for m in matrices}) == 1
