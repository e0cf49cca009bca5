"""How long trials take, from those that have ended: by method and size, since a training of ten
epochs says of one of a hundred what it takes only once the epochs are counted.
"""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.spec.trial import Trial

# Settings that say how long a method trains are called as the arguments of `run.fit` are, or end
# so: `epochs`, `retrain_epochs`, `steps`.
LENGTHS = ("epochs", "steps")


class Size(NamedTuple):
    """Trials of one size take about as long: of one method on one network, with as long trainings
    and as many things to do. What else is set makes little difference.
    """

    method: str
    network: str | None
    length: float  # epochs and steps that the settings ask for; 1 where none do
    counts: tuple[int, ...]  # how many values each setting has that is a collection
    num_tasks: int

    @property
    def group(self) -> tuple[str, str | None]:
        """What is the same whatever the length."""
        return self.method, self.network


def size_of(trial: Trial) -> Size:
    length, counts = 0.0, []
    for name, value in trial.method.settings().items():
        if isinstance(value, tuple | frozenset):
            counts.append(len(value))
        elif isinstance(value, int | float) and name.rpartition("_")[2] in LENGTHS:
            length += value
    network = None if trial.network is None else trial.network.label
    return Size(trial.method.name, network, length or 1.0, tuple(counts), len(trial.tasks))


class _Sum:
    """Seconds of some trials, and how many units they are for."""

    def __init__(self) -> None:
        self.seconds, self.units = 0.0, 0.0

    def add(self, seconds: float, units: float) -> None:
        self.seconds += seconds
        self.units += units

    @property
    def each(self) -> float:
        return self.seconds / self.units


class Durations:
    """What trials took. What is not known here is asked of `earlier`, if that is given: another
    day's machine may have been faster.
    """

    def __init__(self, earlier: Durations | None = None) -> None:
        self._earlier = earlier
        self._of_size: dict[Size, _Sum] = {}
        self._of_group: dict[tuple[str, str | None], _Sum] = {}

    def took(self, size: Size, seconds: float) -> None:
        self._of_size.setdefault(size, _Sum()).add(seconds, 1)
        self._of_group.setdefault(size.group, _Sum()).add(seconds, size.length)

    def mean(self, size: Size) -> float | None:
        """Of the trials of just this size; None where none has ended."""
        if size in self._of_size:
            return self._of_size[size].each
        return self._earlier.mean(size) if self._earlier else None

    def rate(self, size: Size) -> float | None:
        """Seconds for a unit of length, of the same method on the same network."""
        if size.group in self._of_group:
            return self._of_group[size.group].each
        return self._earlier.rate(size) if self._earlier else None

    def expected(self, size: Size) -> float | None:
        """Seconds of a trial of this size: the mean of such, else by their length; None where
        nothing is known of the method on this network.
        """
        mean = self.mean(size)
        if mean is not None:
            return mean
        rate = self.rate(size)
        return None if rate is None else rate * size.length
