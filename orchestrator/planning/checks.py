"""What planning asks of every trial beyond what the trial says of itself: that each name stands for
one class, that networks can be built and cut, that images fit together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from orchestrator.data.resolve import data_record
from orchestrator.parts.network_checks import Shape, problems_of_network
from orchestrator.spec.classes import homeless
from orchestrator.spec.naming import Named, class_paths, names_in, networks_in
from orchestrator.spec.registry import registered
from orchestrator.spec.task import DataRecord, Task
from orchestrator.spec.trial import Trial
from orchestrator.store.store import Store

WITHOUT_TASKS: Shape = (3, 32, 32)  # images on which networks of such a trial are tried


class Checks:
    """The checks of one plan: they share records of data sets, and all names that were met."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, DataRecord] = {}
        self._met: dict[tuple[str, str], Named] = {}  # by kind and name
        for name, path in registered().items():
            self._met["method", name] = Named("method", name, (path,))

    def resolved(self, task: Task) -> Task:
        """The task with its data's digest and classes. Raises DataError."""
        return task.resolve(self._record(task))

    def problems(self, trial: Trial) -> list[str]:
        """Why a trial whose tasks are resolved cannot run, or must not."""
        problems = trial.problems()
        if problems:
            return problems
        without_home = list(filter(None, map(homeless, class_paths(trial))))
        if without_home:
            return without_home
        problems = [*self._problems_of_names(trial), *self._problems_of_channels(trial)]
        return problems or list(dict.fromkeys(self._problems_of_networks(trial)))

    def _record(self, task: Task) -> DataRecord:
        if task.data not in self._records:
            self._records[task.data] = data_record(task.data, self._store)
        return self._records[task.data]

    def _image(self, task: Task) -> Shape:
        return task.image(self._record(task))

    def _problems_of_names(self, trial: Trial) -> Iterator[str]:
        """Names that stand for another class here than where they were met before."""
        for named in names_in(trial):
            before = self._met.setdefault((named.kind, named.name), named)
            if before != named:
                yield _clash(named, before)

    def _problems_of_channels(self, trial: Trial) -> Iterator[str]:
        """Grey and colour images before one network."""
        if trial.method.mixes_channels:
            return
        grey = [task.name for task in trial.tasks if self._image(task)[0] == 1]
        if grey and len(grey) < len(trial.tasks):
            colour = [task.name for task in trial.tasks if task.name not in grey]
            yield (
                f"{trial.method.name}: images of {', '.join(grey)} are grey, those of "
                f"{', '.join(colour)} have colours, and one network sees them all; "
                f"write .rgb() behind the grey tasks"
            )

    def _problems_of_networks(self, trial: Trial) -> Iterator[str]:
        """What is wrong with the networks, those among settings too, on images of the tasks."""
        images = dict.fromkeys(self._image(task) for task in trial.tasks) or [WITHOUT_TASKS]
        for network in networks_in(trial):
            for image in images:
                yield from problems_of_network(network, image)


def _clash(named: Named, before: Named) -> str:
    if named.paths == before.paths:
        return (
            f"the network {named.name!r} is written with two sets of defaults, {before.defaults} "
            f"and {named.defaults}, and defaults are in no key. Give its NetworkSpec the same ones "
            f"everywhere, and write what differs as settings"
        )
    one, other = (_with_files(paths) for paths in (before.paths, named.paths))
    return (
        f"two {named.kind}s are called {named.name!r}, and results are found by name: "
        f"{one} and {other}. Rename one of them"
    )


def _with_files(paths: tuple[str, ...]) -> str:
    return " of ".join(f"{path} ({_file(path)})" for path in paths)


def _file(path: str) -> str:
    """The file of a class, for people."""
    name = path.partition(":")[0]
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    return str(file) if file else "not imported"
