"""What planning asks of every trial beyond what the trial says of itself: that each name stands for
one class, that networks can be built and cut, that images fit together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from orchestrator.data.resolve import data_record
from orchestrator.parts.network_checks import (
    Shape,
    problems_of_network,
    size_that_fits,
    takes,
)
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
        problems = [
            *self._problems_of_names(trial),
            *self._problems_of_channels(trial),
            *_problems_of_augmentation(trial),
        ]
        return problems or list(self._problems_of_network(trial))

    def image(self, task: Task) -> Shape:
        """Shape [C, H, W] of a task's images."""
        return task.image(self._record(task))

    def _record(self, task: Task) -> DataRecord:
        if task.data not in self._records:
            self._records[task.data] = data_record(task.data, self._store)
        return self._records[task.data]

    def _problems_of_names(self, trial: Trial) -> Iterator[str]:
        """Names that stand for another class here than where they were met before."""
        for named in names_in(trial):
            before = self._met.setdefault((named.kind, named.name), named.paths)
            if before != named.paths:
                yield _clash(named, before)

    def _problems_of_channels(self, trial: Trial) -> Iterator[str]:
        """Images of different numbers of channels before one network, or before weights that were
        trained on another number.
        """
        channels = {task.name: self.image(task)[0] for task in trial.tasks}
        grey = [name for name, count in channels.items() if count == 1]
        trained = trial.network is not None and bool(trial.network.trained_with)
        if trained and trial.network and grey:
            yield (
                f"{trial.network.label} begins with weights that were trained on three channels, "
                f"and images of {', '.join(grey)} are grey; write .rgb() behind them"
            )
        if trial.method.mixes_channels or trained or len(set(channels.values())) < 2:
            return
        others = [name for name in channels if name not in grey]
        if grey and {channels[name] for name in others} == {3}:
            yield (
                f"{trial.method.name}: images of {', '.join(grey)} are grey, those of "
                f"{', '.join(others)} have colours, and one network sees them all; "
                f"write .rgb() behind the grey tasks"
            )
            return
        listed = ", ".join(f"{name} {count}" for name, count in channels.items())
        yield (
            f"{trial.method.name}: one network sees all images, and they differ in channels: "
            f"{listed}. Only grey ones can be given more, three, by .rgb()"
        )

    def _problems_of_network(self, trial: Trial) -> Iterator[str]:
        """What is wrong with the network on images of the first task, and whether it takes those of
        the other tasks, too.
        """
        network = trial.network
        if network is None:
            return
        if not trial.tasks:
            yield from problems_of_network(network, WITHOUT_TASKS)
            return
        first, *others = trial.tasks
        image = self.image(first)
        if problems := problems_of_network(network, image):
            yield from problems
            if fitting := size_that_fits(network, image):
                yield (
                    f"{network.name} takes images of {fitting}x{fitting}: "
                    f"write .resized({fitting}) behind {first.name}"
                )
            return
        for task in others:
            shape = self.image(task)
            if shape[1:] != image[1:] and not takes(network, shape):
                mend = f".resized({image[1]}) behind {task.name}"
                if image[1] != image[2]:
                    mend = f"the same .resized(...) behind {first.name} and {task.name}"
                yield (
                    f"{network.name} takes the images of {first.name}, {_size(image)}, but not "
                    f"those of {task.name}, {_size(shape)}; write {mend}"
                )


def _problems_of_augmentation(trial: Trial) -> Iterator[str]:
    """Augmented images whose labels are masks, which would stay where they are."""
    how = trial.method.settings().get("augmentation", "none")
    masked = [task.name for task in trial.tasks if task.masks]
    if how != "none" and masked:
        yield (
            f"{trial.method.name}: augmentation={how!r}, but the labels of {', '.join(masked)} are "
            f"masks, which would not move with the images; leave it at 'none'"
        )


def _size(image: Shape) -> str:
    """Width by height, as sizes are told."""
    return f"{image[2]}x{image[1]}"


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
