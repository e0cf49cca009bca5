"""What planning asks of every trial beyond what the trial says of itself: that each name stands for
one class, that networks can be built and cut, that images fit together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from orchestrator.data.resolve import known_record
from orchestrator.parts.network_checks import (
    Shape,
    fails_on_size,
    features_shape,
    problems_of_network,
    size_that_fits,
)
from orchestrator.spec.classes import homeless
from orchestrator.spec.naming import Named, class_paths, names_in, networks_in
from orchestrator.spec.registry import registered
from orchestrator.spec.task import DataRecord, Task
from orchestrator.spec.trial import NetworkSpec, Trial
from orchestrator.store.store import Store

WITHOUT_TASKS: Shape = (3, 32, 32)  # images on which networks of such a trial are tried


class Checks:
    """The checks of one plan: they share records of data sets, and all names that were met."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, DataRecord] = {}
        self._met: dict[tuple[str, str], Named] = {}  # by kind and name
        # Registered methods hold their names, even where no trial is of them.
        for name, path in registered().items():
            self._met["method", name] = Named("method", name, (path,))

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
        # In steps, each only where those before found nothing: later ones would fail on what is
        # wrong, or tell it a second time. Building networks takes longest and comes last.
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
        problems = problems or list(dict.fromkeys(self._problems_of_networks(trial)))
        return problems or list(self._problems_of_features(trial))

    def image(self, task: Task) -> Shape:
        """Shape [C, H, W] of a task's images."""
        return task.image(self._record(task))

    def _record(self, task: Task) -> DataRecord:
        if task.data not in self._records:
            self._records[task.data] = known_record(task.data, self._store)
        return self._records[task.data]

    def _problems_of_names(self, trial: Trial) -> Iterator[str]:
        """Names that stand for another class here than where they were met before."""
        for named in names_in(trial):
            # Over all trials of the plan: the two that clash need not be in one trial.
            before = self._met.setdefault((named.kind, named.name), named)
            if before != named:
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
        # Weights that were trained on three channels have been dealt with above.
        if trial.method.mixes_channels or trained or len(set(channels.values())) < 2:
            return
        others = [name for name in channels if name not in grey]
        # What .rgb() mends is told with the mend.
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

    def _problems_of_networks(self, trial: Trial) -> Iterator[str]:
        """What is wrong with the networks, those among settings too, on images of the tasks."""
        for network in networks_in(trial):
            if trial.tasks:
                yield from self._problems_of_network(network, trial.tasks)
            else:
                # Any image will do to see whether it can be built and cut.
                yield from problems_of_network(network, WITHOUT_TASKS)

    def _problems_of_network(self, network: NetworkSpec, tasks: Sequence[Task]) -> Iterator[str]:
        """What is wrong with one on images of the first task, else on those of the others; and
        where their size may be what is wrong, what mends it.
        """
        first, *others = tasks
        image = self.image(first)
        if problems := problems_of_network(network, image):
            yield from problems
            fitting = size_that_fits(network, image) if fails_on_size(problems) else None
            if fitting:
                yield (
                    f"{network.name} takes images of {fitting}x{fitting}: "
                    f"write .resized({fitting}) behind {first.name}"
                )
            return
        for task in others:
            shape = self.image(task)
            problems = problems_of_network(network, shape)
            yield from problems
            if fails_on_size(problems):
                mend = f".resized({image[1]}) behind {task.name}"
                # .resized(n) makes squares; images that are none have to change on both sides.
                if image[1] != image[2]:
                    mend = f"the same .resized(...) behind {first.name} and {task.name}"
                yield (
                    f"{network.name} takes the images of {first.name}, {_size(image)}, but not "
                    f"those of {task.name}, {_size(shape)}; write {mend}"
                )

    def _problems_of_features(self, trial: Trial) -> Iterator[str]:
        """Features that should have one shape, because something reads them all, and have not."""
        for wanted in trial.method.same_features(trial):
            # By what people call it, the shape at the split, without the images' own axis.
            shapes = {
                f"{network.label} on {task.name}": features_shape(
                    network, wanted.split, self.image(task)
                )
                for network, task in wanted.networks
            }
            if len(set(shapes.values())) > 1:
                listed = (f"{'x'.join(map(str, shape))} of {on}" for on, shape in shapes.items())
                yield (
                    f"{trial.method.name}: features at {wanted.split!r} differ in shape: "
                    f"{', '.join(listed)}. {wanted.because}"
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
    """Height by width, as in the records of data sets."""
    return f"{image[1]}x{image[2]}"


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
