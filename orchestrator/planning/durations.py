"""How long trials take, from those that have ended and those that run: by method and size, since a
training of ten epochs says of one of a hundred what it takes only once the epochs are counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from orchestrator.spec.trial import Trial

# Settings that say how long a method trains are called as the arguments of `run.fit` are, or end
# so: `epochs`, `retrain_epochs`, `steps`.
LENGTHS = ("epochs", "steps")

Group = tuple[str, str | None]
Family = tuple[str, str | None, tuple[int, ...], int]


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
    def group(self) -> Group:
        """What is the same whatever the length and the number of things to do."""
        return self.method, self.network

    @property
    def family(self) -> Family:
        """What is the same whatever the length."""
        return self.method, self.network, self.counts, self.num_tasks


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
    """Seconds of some trials, and how many they are."""

    def __init__(self) -> None:
        self.seconds, self.number = 0.0, 0

    def add(self, seconds: float) -> None:
        self.seconds += seconds
        self.number += 1

    @property
    def mean(self) -> float:
        return self.seconds / self.number


class Line(NamedTuple):
    """Seconds by length: what a trial takes whatever its length (reading data, the last tests), and
    what each epoch or step adds.
    """

    fixed: float
    each: float

    def at(self, length: float) -> float:
        return self.fixed + self.each * length


class Durations:
    """What trials took. What is not known here is asked of `earlier`, if that is given: another
    day's machine may have been faster.
    """

    def __init__(self, earlier: Durations | None = None) -> None:
        self._earlier = earlier
        self._took: dict[Size, _Sum] = {}
        # What one that runs will take, by what it says of itself; only where none of that size has
        # ended.
        self._foretold: dict[Size, float] = {}
        self._of_group: dict[Group, set[Size]] = defaultdict(set)
        self._lines: dict[Family, Line | None] = {}  # as long as nothing more is known

    def took(self, size: Size, seconds: float) -> None:
        self._foretold.pop(size, None)
        self._took.setdefault(size, _Sum()).add(seconds)
        self._learnt(size)

    def foretell(self, size: Size, seconds: float) -> None:
        """One of this size runs and will have taken so long at its end."""
        if self.mean(size) is None or size in self._foretold:
            self._foretold[size] = seconds
            self._learnt(size)

    def mean(self, size: Size) -> float | None:
        """Of the trials of just this size; None where none has ended or run for a while."""
        if size in self._took:
            return self._took[size].mean
        if size in self._foretold:
            return self._foretold[size]
        return self._earlier.mean(size) if self._earlier else None

    def line(self, size: Size) -> Line | None:
        """Seconds by length, of trials of the same method on the same network, and if there are
        such, with as many things to do; None where none is known.
        """
        if size.family not in self._lines:
            sizes = self._of_group.get(size.group, set())
            alike = {other for other in sizes if other.family == size.family}
            self._lines[size.family] = _line(self._points(alike or sizes))
        line = self._lines[size.family]
        return self._earlier.line(size) if line is None and self._earlier else line

    def expected(self, size: Size) -> float | None:
        """Seconds of a trial of this size: the mean of such, else by their length; None where
        nothing is known of the method on this network.
        """
        mean = self.mean(size)
        if mean is not None:
            return mean
        line = self.line(size)
        return None if line is None else line.at(size.length)

    def _learnt(self, size: Size) -> None:
        self._of_group[size.group].add(size)
        # Other families of the group, of which nothing is known, may go by this one.
        for family in [family for family in self._lines if family[:2] == size.group]:
            del self._lines[family]

    def _points(self, sizes: Iterable[Size]) -> list[tuple[float, float, int]]:
        """Length, mean seconds and number of the trials of each size."""
        points = []
        for size in sizes:
            took = self._took.get(size)
            seconds = self._foretold[size] if took is None else took.mean
            points.append((size.length, seconds, 1 if took is None else took.number))
        return points


def _line(points: list[tuple[float, float, int]]) -> Line | None:
    """The straight line nearest to points of length, seconds and weight, neither part of it
    negative. Of one length only, all is put down to the length.
    """
    if not points:
        return None
    weight = sum(number for *_, number in points)
    length = sum(x * number for x, _, number in points) / weight
    seconds = sum(y * number for _, y, number in points) / weight
    spread = sum(number * (x - length) ** 2 for x, _, number in points)
    if not spread:
        return Line(0.0, seconds / length)
    each = sum(number * (x - length) * (y - seconds) for x, y, number in points) / spread
    if each < 0:
        return Line(seconds, 0.0)
    fixed = seconds - each * length
    if fixed < 0:
        return Line(0.0, seconds / length)
    return Line(fixed, each)
