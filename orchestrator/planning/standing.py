"""How cells and trials stand, each by its name: what ended otherwise never counts as done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from orchestrator.spec.method import Method
from orchestrator.training.outcome import FINAL

STANDINGS = (*FINAL, "failed", "lost", "blocked", "open")
"""`done`, `diverged` and `infeasible` are results. `failed` raised an exception and `lost` went
away with its machine: the next run tries them again. `blocked` waits for a need that ended in one
of these ways; `open` is anything else that has no result yet.
"""


def count(states: Iterable[str]) -> dict[str, int]:
    """How many there are of each standing that occurs, in the order of `STANDINGS`."""
    return in_order(Counter(states))


def in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of those standings that occur, in the order of `STANDINGS`."""
    return {state: counts[state] for state in STANDINGS if counts.get(state)}


def in_words(counts: Mapping[str, int], *, without: Iterable[str] = ()) -> str:
    """`5 diverged, 9 infeasible`; an empty string where there is nothing to count."""
    left_out = set(without)
    return ", ".join(f"{n} {state}" for state, n in counts.items() if state not in left_out)


def of_total(counts: Mapping[str, int], noun: str = "") -> str:
    """`2 of 14 cells done, 5 diverged, 7 infeasible`: all of them, and done only those that are."""
    total = sum(counts.values())
    done = " ".join(filter(None, [f"{counts.get('done', 0)} of {total}", noun, "done"]))
    return ", ".join(filter(None, [done, in_words(counts, without=["done"])]))


def usable_states(method: Method) -> frozenset[str]:
    """The states of a need with which a method's trial can run."""
    return frozenset(FINAL) if method.accepts_diverged else frozenset({"done"})
