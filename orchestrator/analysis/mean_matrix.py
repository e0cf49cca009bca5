"""The mean of a matrix over the trials of one setting, with its interval, as a labelled array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.estimates import Estimate, estimates
from orchestrator.errors import InputError
from orchestrator.parts.labelled_matrix import Components, LabelledMatrix, Values
from orchestrator.parts.matrix import Matrix
from orchestrator.parts.matrix_display import chance_in_words, heat_map, in_html, in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class MeanMatrix(LabelledMatrix):
    """Means over the trials of a setting; all arrays are [rows, columns].

    `values` are means, `half` half-widths of 95 % intervals, `n` says how many trials have a value
    there, `count` how many images stand behind all of them. `notes`, by (row, column), say why
    there is no value. `setting` is what was averaged, by axis, in words; `components` are those of
    each trial, with its seed.
    """

    half: Values
    n: NDArray[np.int64]
    setting: Mapping[str, str] = field(default_factory=dict)
    components: Sequence[tuple[int | None, Components | None]] = ()

    def __getitem__(self, labels: tuple[str, str]) -> Estimate:
        """One entry by the labels of its row and column: `matrix["a", "b"]`. Raises InputError
        where there is no such label.
        """
        i, j = self._place_of(labels)
        return Estimate(float(self.values[i, j]), float(self.half[i, j]), int(self.n[i, j]))

    def pair(self, row: str, column: str, *, seed: int | None = None) -> tuple[str, str]:
        """References of the components that a row and a column stand for in the trial of a seed, as
        `join` takes them; the seed need not be said of a mean over one trial. Raises InputError for
        labels that the matrix does not have, where it is a mean over several trials or none of the
        seed, and where a row or a column stands for no stored component.
        """
        self.place(row, column)  # a wrong label is told before anything else
        of_seed = [one for own, one in self.components if seed is None or own == seed]
        if len(of_seed) > 1 or (self.components and not of_seed):
            seeds = ", ".join(str(own) for own, _ in self.components)
            asked = "" if seed is None else f" There is none of seed {seed!r}."
            raise InputError(
                f"matrix {self.name!r} is a mean over trials, each with components of its own."
                f"{asked} Say whose: pair({row!r}, {column!r}, seed=...), of {seeds}"
            )
        return self._pair_in(of_seed[0] if of_seed else None, row, column)

    @property
    def title(self) -> str:
        """Which setting it is, and what guessing scores."""
        words = [f"{axis}={value}" for axis, value in self.setting.items()]
        told = chance_in_words(self.chance)
        return " ".join([*words, *([f"({told})"] if told else [])])

    def _of_entries(self) -> dict[str, NDArray[Any]]:
        return {
            "value": self.values,
            "half": self.half,
            "n": self.n,
            "count": self.count,
            "chance": self.chance,
        }

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


def mean_of(
    matrices: Sequence[Matrix], setting: Mapping[str, str], seeds: Sequence[int | None] = ()
) -> MeanMatrix | None:
    """The mean of one matrix as several trials, of these seeds, measured it; None where there is
    none, or where their rows or columns differ.
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
        components=[(seed, m.components) for seed, m in zip(seeds, matrices, strict=False)],
    )


def are_alike(matrices: Sequence[Matrix]) -> bool:
    """Whether they have the same rows and columns."""
    return len({(m.rows, m.columns) for m in matrices}) == 1
