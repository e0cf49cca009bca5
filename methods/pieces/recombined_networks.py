"""Networks of many settings, seeds and orders of tasks in one matrix: what every measurement of
extractors with heads has in common.

A measurement derives from `NetworkMeasurement`, asks it for the `trained_networks` and puts what it
measures on each pair into a matrix with `TrainedNetworks.measure`::

    class Sums(NetworkMeasurement):
        name = "sums"
        matrices = (MatrixSpec("sums", "extractor", "head"),)

        def train(self, run):
            networks = self.trained_networks(run)
            values = [[... for head in networks.heads] for extractor in networks.extractors]
            networks.measure(run, "sums", values)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from methods.fine_tune import FineTune
from orchestrator import (
    Component,
    Method,
    Network,
    NetworkSpec,
    Piece,
    Run,
    Task,
    Trial,
    axis,
    show,
)


@dataclass(frozen=True)
class TrainedNetworks:
    """Networks of other trials, cut at one split point, in the order of a matrix's rows and
    columns.

    `labels` tell them apart. `without_network` has the label and the outcome of each trial that
    left none, such as one that diverged.
    """

    labels: list[str]
    components: list[Component]
    modules: list[Network]
    split: str
    without_network: dict[str, str]

    @property
    def tasks(self) -> list[Task]:
        """What each network was trained on."""
        return [component.task for component in self.components]

    @property
    def extractors(self) -> list[Piece]:
        return [net.extractor(self.split) for net in self.modules]

    @property
    def heads(self) -> list[Piece]:
        return [net.head(self.split) for net in self.modules]

    def measure(
        self,
        run: Run,
        name: str,
        values: Any,
        notes: Mapping[tuple[int, int], str] | None = None,
        *,
        count: Any = 0,
        chance: Any = np.nan,
    ) -> None:
        """Leave the matrix `name` of the run: `values` by (row, column), NaN where a pair has none,
        and why in `notes`. `count` and `chance` are numbers or arrays of the same shape.

        A trial that left no network keeps its place as a row and a column without values.
        """
        num_networks = len(self.labels)
        size = num_networks + len(self.without_network)
        labels, reasons = list(self.labels), dict(notes or {})
        for row, (label, outcome) in enumerate(self.without_network.items(), start=num_networks):
            labels.append(f"{label} ({outcome})")
            for other in range(size):
                reason = f"{label}: {outcome}, there is no network"
                reasons[row, other] = reasons[other, row] = reason  # its whole row and column

        def padded(entries: Any) -> NDArray[np.float64]:
            # [networks, networks] to [size, size], with NaN in the rows and columns added.
            square = np.broadcast_to(np.asarray(entries, dtype=float), (num_networks, num_networks))
            return np.pad(square, (0, size - num_networks), constant_values=np.nan)

        scores = padded(values)
        components = [*self.components, *[None] * (size - num_networks)]
        run.matrix(
            name,
            rows=labels,
            columns=labels,
            values=scores,
            count=np.nan_to_num(padded(count)),
            chance=padded(chance),
            notes={pair: reasons[pair] for pair in sorted(reasons) if np.isnan(scores[pair])},
            components=[components, components],
        )


class NetworkMeasurement(Method):
    """A measurement on the networks of the methods `of`, trained on this trial's tasks with its
    seed, with each of `other_seeds`, and in each of `other_orders`.
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
        # A split written out and the same one taken from the method are one trial.
        if self.split or not self.of:
            return self
        return self.replace(split=self.of[0].settings().get("split"))

    def check(self, trial: Trial) -> Iterable[str]:
        if not self.of:
            yield (
                "of is empty: name the methods to recombine, "
                "Recombine.grid(of=CompatibleFeatures.grid(...))"
            )
        for method in self.of:
            if "network" not in {kept.name for kept in method.components if "task" in kept.by}:
                yield f"{method.name} keeps no 'network' by task, so there is nothing to recombine"
        if self.split is None and self.of:
            listed = ", ".join(trial.network.splits) if trial.network else "none"
            yield f"split is not set and {self.of[0].name} has none of its own; it may be {listed}"
        different = {spec.label: spec for m in self.of for spec in specs_of_networks(m, trial)}
        for spec in different.values():
            if self.split is not None:
                yield from spec.cannot_cut(self.split)
        if len({trial.seed, *self.other_seeds}) <= len(self.other_seeds):
            yield f"other_seeds {self.other_seeds} repeats a seed (this cell's own is {trial.seed})"
        names = tuple(task.name for task in trial.tasks)
        for order in self.other_orders:
            if sorted(order) != sorted(names):
                yield (
                    f"other_orders: {', '.join(order)} is no order of the tasks {', '.join(names)}"
                )
        if len({names, *self.other_orders}) <= len(self.other_orders):
            yield f"other_orders repeats an order (this cell's own is {', '.join(names)})"

    def trainings(self, trial: Trial) -> dict[str, tuple[int, int | None, tuple[str, ...]]]:
        """By name of the need: the number of its method in `of`, the seed, and the tasks' order."""
        seeds = (trial.seed, *self.other_seeds)
        orders = (tuple(task.name for task in trial.tasks), *self.other_orders)
        trainings = {}
        for number, seed in itertools.product(range(len(self.of)), seeds):
            for place, order in enumerate(orders):
                # Names of needs are in the key: without other orders
                # they are as they were before there were any.
                name = f"{number}/{seed}/{place}" if place else f"{number}/{seed}"
                trainings[name] = (number, seed, order)
        return trainings

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        by_name = {task.name: task for task in trial.tasks}
        needs = {}
        for name, (number, seed, order) in self.trainings(trial).items():
            tasks = tuple(by_name[task] for task in order)
            needs[name] = trial.replace(method=self.of[number], seed=seed, tasks=tasks)
        return needs

    def trained_networks(self, run: Run) -> TrainedNetworks:
        """The networks of all needs. The trial is infeasible with fewer than two."""
        assert self.split is not None  # check refuses a trial without
        prefixes = self.label_prefixes(run.trial)
        labels, components, without_network = [], [], {}
        for name, result in run.needs.items():
            for component in result.components("network"):
                labels.append(prefixes[name] + component.task.name)
                components.append(component)
            # A trial that diverged after its first network was
            # kept can have both: networks and a reason.
            if result.outcome != "done":
                without_network[prefixes[name].rstrip("/") or name] = result.outcome
        if len(components) < 2:
            run.infeasible(f"{len(components)} networks are left to recombine")
        modules = [component.network() for component in components]
        return TrainedNetworks(labels, components, modules, self.split, without_network)

    def label_prefixes(self, trial: Trial) -> dict[str, str]:
        """By name of the need, what tells its networks from the others, such as
        `ingredients=common/seed1/`. What is the same for all is left out.
        """
        method_labels = distinguishing_labels(self.of)
        prefixes = {}
        for name, (number, seed, order) in self.trainings(trial).items():
            parts = [method_labels[number]]
            if self.other_seeds:
                parts.append(f"seed{seed}")
            if self.other_orders:
                parts.append(">".join(order))
            prefixes[name] = "".join(f"{part}/" for part in parts if part)
        return prefixes


def distinguishing_labels(methods: tuple[Method, ...]) -> list[str]:
    """Each method by as few settings as tell it from the others of its name, and by its name where
    these differ.
    """
    if len(methods) < 2:
        return [""]
    labels = []
    for method in methods:
        # Only methods of one class have the same settings to compare.
        namesakes = [other for other in methods if other.name == method.name]
        names = distinguishing_settings(namesakes)
        settings = ",".join(f"{name}={show(getattr(method, name))}" for name in names)
        if len(namesakes) == len(methods):
            labels.append(settings)
        else:
            labels.append(f"{method.name}({settings})" if settings else method.name)
    return labels


def distinguishing_settings(methods: list[Method]) -> list[str]:
    """Settings, in their order, that tell these methods apart; one that adds nothing to those
    before it is left out.
    """

    def num_different(names: list[str]) -> int:
        return len({repr([getattr(method, name) for name in names]) for method in methods})

    chosen: list[str] = []
    for name in methods[0].settings():
        # Greedy: a setting is listed only where it splits a
        # group that those before it left together.
        if num_different([*chosen, name]) > num_different(chosen):
            chosen.append(name)
    return chosen


def specs_of_networks(method: Method, trial: Trial) -> list[NetworkSpec]:
    """The trial's network, and those that a method's settings name."""
    specs = [trial.network] if trial.network else []
    for value in method.settings().values():
        values = value if isinstance(value, tuple) else (value,)
        specs += [item for item in values if isinstance(item, NetworkSpec)]
    return specs
