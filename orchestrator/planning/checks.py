"""What planning asks of every trial beyond what the trial says of itself: that each name stands for
one class, that networks can be built and cut, that images fit together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from orchestrator.data.resolve import data_record
from orchestrator.parts.network_checks import Shape, problems_of_network
from orchestrator.spec.classes import homeless
from orchestrator.spec.naming import Named, class_paths, names_in
from orchestrator.spec.registry import registered
from orchestrator.spec.task import DataRecord, Task
from orchestrator.spec.trial import Trial
from orchestrator.store.store import Store

WITHOUT_TASKS: Shape = (3, 32, 32)  # the image on which the network of such a trial is tried


class Checks:
    """The checks of one plan: they share records of data sets, and all names that were met."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, DataRecord] = {}
        self._met: dict[tuple[str, str], tuple[str, ...]] = {}  # paths by kind and name
        self._met |= {("method", name): (path,) for name, path in registered().items()}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the records of the data sets that were met warn of."""
        records = sorted(self._records.values(), key=lambda record: record.name)
        return tuple(
            f"{record.name}: {warning}" for record in records for warning in record.warnings
        )

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
        return problems or list(self._problems_of_network(trial))

    def _record(self, task: Task) -> DataRecord:
        if task.data not in self._records:
            self._records[task.data] = data_record(task.data, self._store)
        return self._records[task.data]

    def _image(self, task: Task) -> Shape:
        return task.image(self._record(task))

    def _problems_of_names(self, trial: Trial) -> Iterator[str]:
        """Names that stand for another class here than where they were met before."""
        for named in names_in(trial):
            before = self._met.setdefault((named.kind, named.name), named.paths)
            if before != named.paths:
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

    def _problems_of_network(self, trial: Trial) -> Iterator[str]:
        """What is wrong with the network on images of the first task."""
        if trial.network is not None:
            image = self._image(trial.tasks[0]) if trial.tasks else WITHOUT_TASKS
            yield from problems_of_network(trial.network, image)


def _clash(named: Named, before: tuple[str, ...]) -> str:
    one, other = (_with_files(paths) for paths in (before, named.paths))
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
