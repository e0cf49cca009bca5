"""Networks of other trials, cut at one split point: what every measurement of extractors with heads
has in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from methods.fine_tune import FineTune
from orchestrator import Component, Method, Network, NetworkSpec, Run, Task, Trial, axis
from orchestrator.errors import nearest
from orchestrator.spec.canonical import show


@dataclass(frozen=True)
class Found:
    """The networks that a measurement is about: names, components and modules by place, and what is
    left of the trials that have none.
    """

    labels: list[str]
    components: list[Component]
    networks: list[Network]
    lost: dict[str, str]

    @property
    def tasks(self) -> list[Task]:
        return [component.task for component in self.components]


class OfNetworks(Method):
    """Takes the networks of the methods `of`, trained on this trial's tasks with its seed, each of
    `other_seeds`, and in each of `other_orders`.
    """

    accepts_diverged = True

    of: tuple[Method, ...] = axis(
        (), smoke=(FineTune(epochs=1),), help="methods whose networks are recombined"
    )
    split: str | None = axis(
        None, smoke="stage1", help="where they are cut; None takes the first method's own split"
    )
    other_seeds: tuple[int, ...] = axis(
        (), over=((), (1, 2)), smoke=(1,), help="further seeds whose networks join the matrix"
    )
    other_orders: tuple[tuple[str, ...], ...] = axis(
        (), help="further orders of the tasks, by name, whose networks join the matrix"
    )

    def canonical(self) -> Self:
        return (
            self
            if self.split or not self.of
            else self.replace(split=self.of[0].settings().get("split"))
        )

    def check(self, trial: Trial) -> Iterable[str]:
        if not self.of:
            yield "of is empty: name the methods to recombine, Recombine.grid(of=CompatibleFeatures.grid(...))"
        for method in self.of:
            if "network" not in {c.name for c in method.components if "task" in c.by}:
                yield f"{method.name} keeps no 'network' by task, so there is nothing to recombine"
        specs = {spec.label: spec for method in self.of for spec in _networks(method, trial)}
        if self.split is None and self.of:
            listed = ", ".join(trial.network.splits) if trial.network else "none"
            yield f"split is not set and {self.of[0].name} has none of its own; it may be {listed}"
        for spec in specs.values():
            if self.split is not None and self.split not in spec.splits:
                yield f"{spec.name} has no split point {self.split!r}. {nearest(self.split, spec.splits)}"
        if len({trial.seed, *self.other_seeds}) <= len(self.other_seeds):
            yield f"other_seeds {self.other_seeds} repeats a seed (this cell's own is {trial.seed})"
        names = tuple(task.name for task in trial.tasks)
        for order in self.other_orders:
            if sorted(order) != sorted(names):
                yield f"other_orders: {', '.join(order)} is no order of the tasks {', '.join(names)}"
        if len({names, *self.other_orders}) <= len(self.other_orders):
            yield f"other_orders repeats an order (this cell's own is {', '.join(names)})"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        by_name = {task.name: task for task in trial.tasks}
        orders = [tuple(by_name), *self.other_orders]
        seeds = [trial.seed, *self.other_seeds]
        return {
            f"{number}/{seed}" + (f"/{place}" if place else ""): trial.replace(
                method=method, seed=seed, tasks=tuple(by_name[n] for n in order)
            )
            for number, method in enumerate(self.of)
            for seed in seeds
            for place, order in enumerate(orders)
        }

    def found(self, run: Run) -> Found:
        """The networks of all needs. Ends the trial as infeasible where fewer than two are left."""
        found = [
            (name, component)
            for name in run.needs
            for component in run.need(name).components("network")
        ]
        if len(found) < 2:
            run.infeasible(f"{len(found)} networks are left to recombine")
        titles = self._titles(run.trial)
        lost = {
            titles[name].rstrip("/") or name: run.need(name).outcome
            for name in run.needs
            if run.need(name).outcome != "done"
        }
        labels = [titles[name] + component.task.name for name, component in found]
        return Found(
            labels, [c for _, c in found], [cast(Network, c.module()) for _, c in found], lost
        )

    def _titles(self, trial: Trial) -> dict[str, str]:
        """By need, what tells its networks from the others, as a prefix:
        `ingredients=common/seed1/`.
        """
        orders = [tuple(task.name for task in trial.tasks), *self.other_orders]
        methods = _told_apart(self.of)
        titles = {}
        for need in self.needs(trial):
            number, seed, *place = need.split("/")
            order = ">".join(orders[int(place[0]) if place else 0]) if self.other_orders else ""
            parts = [methods[int(number)], f"seed{seed}" if self.other_seeds else "", order]
            titles[need] = "".join(f"{part}/" for part in parts if part)
        return titles


def leave(
    run: Run,
    found: Found,
    name: str,
    values: NDArray[np.float64],
    notes: Mapping[tuple[int, int], str],
    *,
    count: Any = 0,
    chance: Any = np.nan,
) -> None:
    """Measure a matrix over the networks. A trial that left none keeps its place as a row and a
    column; an entry without a value has its note.
    """
    n, more = len(found.labels), len(found.lost)

    def padded(entries: Any) -> NDArray[np.float64]:
        return np.pad(
            np.broadcast_to(np.asarray(entries, dtype=float), (n, n)),
            (0, more),
            constant_values=np.nan,
        )

    reasons = dict(notes)
    for place, (label, outcome) in enumerate(found.lost.items(), start=n):
        for k in range(n + more):
            reasons |= dict.fromkeys(
                [(place, k), (k, place)], f"{label}: {outcome}, there is no network"
            )
    labels = [*found.labels, *(f"{label} ({outcome})" for label, outcome in found.lost.items())]
    whole = padded(values)
    run.matrix(
        name,
        rows=labels,
        columns=labels,
        values=whole,
        count=np.nan_to_num(padded(count)),
        chance=padded(chance),
        notes={place: reasons[place] for place in sorted(reasons) if np.isnan(whole[place])},
        components=[[*found.components, *[None] * more]] * 2,
    )


def _told_apart(methods: tuple[Method, ...]) -> list[str]:
    """Each method by as few settings as tell it from the others of its name, and by its name where
    these differ.
    """
    if len(methods) < 2:
        return [""]
    several = len({m.name for m in methods}) > 1
    found = []
    for method in methods:
        inner = ",".join(
            f"{k}={show(getattr(method, k))}"
            for k in _telling([m for m in methods if m.name == method.name])
        )
        found.append(
            f"{method.name}({inner})" if several and inner else method.name if several else inner
        )
    return found


def _telling(methods: list[Method]) -> list[str]:
    """Settings, in their order, that tell these methods apart; one that adds nothing to those
    before it is left out.
    """
    chosen: list[str] = []
    for name in methods[0].settings():
        if len({repr([getattr(m, n) for n in (*chosen, name)]) for m in methods}) > len(
            {repr([getattr(m, n) for n in chosen]) for m in methods}
        ):
            chosen.append(name)
    return chosen


def _networks(method: Method, trial: Trial) -> list[NetworkSpec]:
    """The trial's network, and those that a method's settings name."""
    named = [
        v
        for value in method.settings().values()
        if isinstance(value, tuple)
        for v in value
        if isinstance(v, NetworkSpec)
    ]
    return [*([trial.network] if trial.network else []), *named]
