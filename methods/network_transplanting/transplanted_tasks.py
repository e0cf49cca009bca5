"""Categories by tasks: a transplant network with several task modules, an adapter for each pair.

Zhang, Yang, Yu, Wu: Network Transplanting, 2018, arXiv:1804.10272. The first category, the host,
brings the task modules g_t. Every other category brings its category module f_c once, whatever the
number of its tasks, and is joined to each g_t by an adapter h_ct. `network_transplanting` shows how
an adapter is learned, and the network itself.

What it costs: for each category one training of its networks, and one of an adapter for each of its
tasks. Adapters depend on host and category only, so all orders of growth share them.

Departs from the paper: as `network_transplanting` and `category_networks` say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from methods.network_transplanting.category_networks import CategoryNetworks
from methods.network_transplanting.margins import auc, balanced_error, logits_of, margins
from methods.network_transplanting.network_transplanting import (
    Adapter,
    NetworkTransplanting,
    Transplanted,
    TransplantNetwork,
    on_device,
)
from orchestrator import Kept, MatrixSpec, Method, Metric, Network, Run, Task, Trial, axis, roles

PAIR = ("category", "kind")


class TransplantedTasks(Method):
    """Join the category modules of the guests to all task modules of the host. Tasks are given
    category by category and called `category.task`: first those of the pre-training, then the
    host's, then each guest's, the same tasks in the same order. Each guest is a trial of its own.
    """

    name = "transplanted_tasks"
    tasks = roles("pretrain", "pairs", at_least=3)
    base_role = "pretrain"
    metrics = (
        Metric(
            "balanced_error",
            by=PAIR,
            higher_is_better=False,
            headline=True,
            help="Error on a category's test images, mean over both labels, with its adapter.",
        ),
        Metric(
            "auc",
            by=PAIR,
            help="Probability that an image (or pixel) of label 1 has a larger margin than one of "
            "label 0.",
        ),
        Metric(
            "own_error",
            by=PAIR,
            higher_is_better=False,
            help="Balanced error of the category's own network.",
        ),
        Metric(
            "bare_error",
            by=PAIR,
            higher_is_better=False,
            help="Balanced error of f and g without an adapter between them.",
        ),
        Metric(
            "gap",
            by=PAIR,
            higher_is_better=False,
            headline=True,
            help="Balanced error less that of the category's own network.",
        ),
        Metric(
            "retention",
            by=PAIR,
            higher_is_better=False,
            help="Largest change of a pair's logits as other pairs are joined; 0: none.",
        ),
    )
    components = (Kept("transplanted", by=PAIR), Kept("network", optional=True))
    matrices = (
        MatrixSpec("after", "category", "task", headline=True, help="Balanced error."),
        MatrixSpec("before", "category", "task", help="Balanced error without adapters."),
        MatrixSpec("own", "category", "task", help="Balanced error of the own networks."),
    )

    adapters: NetworkTransplanting = axis(
        NetworkTransplanting(),
        smoke=NetworkTransplanting(steps=1),
        help="how adapters are learned",
    )
    networks: CategoryNetworks = axis(
        CategoryNetworks(),
        smoke=CategoryNetworks.smoke(),
        help="how the networks of a category are trained; its `columns` are the tasks",
    )

    def canonical(self) -> Self:
        # Networks are cut where adapters stand, and trained by `networks`.
        networks = self.networks.replace(split=self.adapters.split)
        return self.replace(networks=networks, adapters=self.adapters.reset("specific", "jointly"))

    @property
    def columns(self) -> int:
        return self.networks.columns

    def rows(self, tasks: Sequence[Task]) -> list[tuple[Task, ...]]:
        """The tasks of each category, those of the pre-training first."""
        return [
            tuple(tasks[first : first + self.columns])
            for first in range(0, len(tasks), self.columns)
        ]

    def check(self, trial: Trial) -> Iterable[str]:
        rows = self.rows(trial.tasks)
        if len(rows) < 3 or len(rows[-1]) < self.columns:
            yield (
                f"networks.columns={self.columns}, so tasks come in rows of {self.columns}: "
                f"pre-training, host, guests; there are {len(trial.tasks)} tasks"
            )
            return
        yield from _misnamed(rows)
        problems = list(self.networks.check(self.networks_of(trial, rows[0], rows[1])))
        if not problems and trial.network is not None:
            for place, network in enumerate(self.networks.specs(trial)):
                tasks = tuple(row[place] for row in rows)
                of_one = trial.replace(method=self.adapters, network=network, tasks=tasks)
                problems += self.adapters.check(of_one)
        if self.adapters.everything or self.adapters.new_task_module:
            problems.append(
                "adapters.everything and adapters.new_task_module are references of "
                "network_transplanting: here task modules are shared, and never change"
            )
        yield from dict.fromkeys(problems)

    def networks_of(
        self, trial: Trial, pretrain: Sequence[Task], category: Sequence[Task]
    ) -> Trial:
        return trial.replace(method=self.networks, tasks=(*pretrain, *category))

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        pretrain, host, *guests = self.rows(trial.tasks)
        needs = {"host": self.networks_of(trial, pretrain, host)}
        if len(guests) == 1:
            return {**needs, "guest": self.networks_of(trial, pretrain, guests[0])}
        for guest in guests:
            needs[category_of(guest[0])] = trial.replace(tasks=(*pretrain, *host, *guest))
        return needs

    def train(self, run: Run) -> None:
        _, host, *guests = self.rows(list(run.tasks))
        if len(guests) == 1:
            paths = self.transplant(run, host, guests[0])
        else:
            run.adopt(*(category_of(guest[0]) for guest in guests))
            paths = learned_paths(run, guests)
        self.grow(run, host, guests, paths)
        tabulate(run, host, guests)

    def transplant(
        self, run: Run, host: Sequence[Task], guest: Sequence[Task]
    ) -> dict[Task, Transplanted]:
        """Learn the adapters of one category, one for each task; the paths through them."""
        split, paths = self.adapters.split, {}
        hosts, own = networks_of(run, "host", host), networks_of(run, "guest", guest)
        # One f for all tasks: that of the first network, whose bits those of the others are.
        f = own[0].extractor(split)
        for task, network, host_network in zip(guest, own, hosts, strict=True):
            g_teacher, g_student = network.head(split), host_network.head(split)
            bare = margins(run, nn.Sequential(f, g_student), task.test)
            stage = f"adapter {name_of(task)}"
            path = self.adapters.joined(run, stage, task, f, g_teacher, g_student)
            joined, mine = margins(run, path, task.test), margins(run, network, task.test)
            run.log(
                balanced_error=balanced_error(*joined),
                auc=auc(*joined),
                own_error=balanced_error(*mine),
                bare_error=balanced_error(*bare),
                gap=balanced_error(*joined) - balanced_error(*mine),
                by=pair(task),
            )
            run.keep("transplanted", path, by=pair(task))
            paths[task] = path
        return paths

    def grow(
        self,
        run: Run,
        host: Sequence[Task],
        guests: Sequence[Sequence[Task]],
        paths: Mapping[Task, Transplanted],
    ) -> None:
        """Build the transplant network, pair by pair. Logs how much the logits of each pair change
        with any later one, which must be 0.
        """
        split, hosts = self.adapters.split, networks_of(run, "host", host)
        first = category_of(host[0])
        net = TransplantNetwork().with_category(first, hosts[0].extractor(split))
        growth = Growth(run)
        for task, network in zip(host, hosts, strict=True):
            # g_t was trained on the host's own features, so nothing stands between.
            identity = Adapter(channels=1, depth=0)
            net = net.with_task(name_of(task), network.head(split))
            net = on_device(run, net.with_adapter(first, name_of(task), identity))
            growth.measure(net, task)
        for guest in guests:
            category = category_of(guest[0])
            net = net.with_category(category, paths[guest[0]].category)
            for task in guest:
                net = on_device(run, net.with_adapter(category, name_of(task), paths[task].adapter))
                growth.measure(net, task)
        for task, change in growth.largest_change.items():
            run.log(retention=change, by=pair(task))
        if len(guests) > 1:
            run.keep("network", net)


class Growth:
    """What each pair of a growing network computes, and how much that has ever changed."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.logits: dict[Task, NDArray[np.float64]] = {}  # of each pair, when it was joined
        self.largest_change: dict[Task, float] = {}

    def measure(self, net: TransplantNetwork, joined: Task) -> None:
        """Hold all earlier pairs against what they were, and remember the one just joined."""
        for task, before in self.logits.items():
            change = float(np.abs(self._logits(net, task) - before).max())
            self.largest_change[task] = max(self.largest_change[task], change)
        self.logits[joined] = self._logits(net, joined)
        self.largest_change[joined] = 0.0

    def _logits(self, net: TransplantNetwork, task: Task) -> NDArray[np.float64]:
        """Logits [N, outputs, ...] of a pair's test images, on its path through the network."""
        path = partial(net, category=category_of(task), task=name_of(task))
        return logits_of(self.run, path, task.test)[0]


def category_of(task: Task) -> str:
    """The category of a task that is called `category.task`."""
    return task.name.rpartition(".")[0]


def name_of(task: Task) -> str:
    """The task itself, whatever the category."""
    return task.name.rpartition(".")[2]


def pair(task: Task) -> dict[str, str]:
    """The labels of a pair's metrics and components; `kind` is the task, of any category."""
    return {"category": category_of(task), "kind": name_of(task)}


def networks_of(run: Run, need: str, tasks: Sequence[Task]) -> list[Network]:
    """The networks that a needed trial trained for the tasks of a category."""
    found = run.need(need)
    modules = [found.module("network", task=task.name) for task in tasks]
    return [on_device(run, cast(Network, module)) for module in modules]


def learned_paths(run: Run, guests: Sequence[Sequence[Task]]) -> dict[Task, Transplanted]:
    """The paths that each guest's own trial has learned."""
    paths = {}
    for guest in guests:
        need = run.need(category_of(guest[0]))
        for task in guest:
            paths[task] = cast(Transplanted, need.module("transplanted", **pair(task)))
    return paths


def tabulate(run: Run, host: Sequence[Task], guests: Sequence[Sequence[Task]]) -> None:
    """Balanced errors of the guests, [category, task]: with and without adapters, and of their own
    networks.
    """
    metrics = {"after": "balanced_error", "before": "bare_error", "own": "own_error"}
    for matrix, metric in metrics.items():
        values = np.full((len(guests), len(host)), np.nan)
        for row, guest in enumerate(guests):
            for column, task in enumerate(guest):
                values[row, column] = run.metrics[metric, tuple(pair(task).items())]
        rows, columns = [category_of(guest[0]) for guest in guests], [name_of(t) for t in host]
        run.matrix(matrix, rows=rows, columns=columns, values=values)


def _misnamed(rows: Sequence[Sequence[Task]]) -> Iterator[str]:
    """Why the names of these tasks make no table of categories by tasks."""
    names = [name_of(task) for task in rows[0]]
    for row in rows:
        if not category_of(row[0]) or len({category_of(task) for task in row}) > 1:
            listed = ", ".join(task.name for task in row)
            yield f"{listed}: call the tasks of a category 'category.task', as in 'car.which'"
        elif [name_of(task) for task in row] != names:
            found = ", ".join(name_of(task) for task in row)
            listed = ", ".join(names)
            yield f"{category_of(row[0])} has the tasks {found}; the first row has {listed}"
