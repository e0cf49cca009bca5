"""The seam between the driver, which knows trials, and whatever runs processes on machines, which
knows none: a pool takes lots from a source, and tells it what its workers say of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.executors.assignment import Assignment
from orchestrator.executors.handshake import Greeting
from orchestrator.executors.placement import Nodes, Placement
from orchestrator.training.attempts import Attempt


@dataclass(frozen=True)
class Lot:
    """Trials for one worker, by key, one after another. `placement` is set aside for each of them
    in turn; `unfit` are the ids of nodes that they must not go to.
    """

    number: int
    keys: tuple[str, ...]
    placement: Placement
    unfit: tuple[str, ...] = ()


class Source(Protocol):
    """Where a pool gets its lots, and whom it tells: `Lots`, or its likeness in another process."""

    def take(self, freed: Placement | None) -> Lot | None:
        """What to run next, of the placement `freed` of a worker that has become free, where there
        is such; None where nothing is ready now.
        """
        ...

    def is_finished(self) -> bool:
        """Whether there will never be a lot again."""
        ...

    def heard(self, lot: Lot, attempts: Sequence[Attempt], nodes: Collection[str] = ()) -> None:
        """What a worker reported of its lot; where it was unfit, with the ids of all nodes that
        have room for such a lot.
        """
        ...

    def gone(self, lot: Lot, why: str, is_node: bool) -> None:
        """A worker went away with its lot, perhaps with its machine."""
        ...

    def noted(self, text: str) -> None:
        """Something that people may want to know."""
        ...


class Pool(Protocol):
    """Processes on machines. Raises PoolEnded where it is gone as a whole."""

    def nodes(self) -> Nodes:
        """The machines there are, and the kinds of them that are started when asked for."""
        ...

    def greetings(
        self, store: str, probe: str, classes: Sequence[str], variables: Mapping[str, str]
    ) -> list[Greeting]:
        """What every machine says of itself, with these variables in its environment."""
        ...

    def drain(self, lots: Source, assignment: Assignment, slots: int) -> None:
        """Run lots until there will never be one again, `slots` at a time at most."""
        ...


class PoolEnded(Exception):  # noqa: N818 - it may be started again
    """The pool is gone, and its workers with it; the message says what of it went."""
