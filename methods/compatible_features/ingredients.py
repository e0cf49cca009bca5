"""What makes networks compatible: how each starts, what its images carry, and why a setting of
these does not go with another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from torch import nn

from orchestrator import (
    Data,
    InputError,
    Network,
    NetworkSpec,
    Run,
    Task,
    Trial,
    common_classes,
    randint,
    relabel,
)
from orchestrator.errors import nearest

if TYPE_CHECKING:
    from methods.compatible_features.compatible_features import CompatibleFeatures

Ingredient = Literal["rotation", "common", "identical", "trained", "shared"]


def told_apart(method: CompatibleFeatures, tasks: Sequence[Task]) -> tuple[str, ...]:
    """The classes that the ingredient `common` tells apart. A network that is trained first knows
    no others than its own.
    """
    return method.classes or common_classes(tasks[:1] if method.incremental else tasks)


def networks(method: CompatibleFeatures, trial: Trial) -> dict[str, NetworkSpec]:
    """By task, the network that learns it."""
    assert trial.network is not None
    specs = (trial.network, *(method.other_networks or [trial.network] * (len(trial.tasks) - 1)))
    return {task.name: spec for task, spec in zip(trial.tasks, specs, strict=True)}


def start(method: CompatibleFeatures, run: Run, task: Task) -> Network:
    """A task's network before its training: all from one start where initial weights are identical
    (Gygli et al. 2020, 'identical initial weights'), the first one as trained where that is the
    ingredient, and with the first task's own layers up to the split point where they are shared."""
    spec, first = networks(method, run.trial)[task.name], run.tasks[0]
    if "identical" in method.ingredients:
        net = run.network(task.name, task, start="identical", spec=spec)
        if method.identical_part == "extractor":
            net.head(method.split).load_state_dict(
                run.network(task.name, task, spec=spec).head(method.split).state_dict()
            )
        return net
    net = run.network(task.name, task, spec=spec)
    if "trained" in method.ingredients and task.name != first.name:
        trained = run.need("first").module("network", task=first.name).state_dict()
        net.take(trained)
        for row, name in enumerate(task.class_names):
            if (
                name in first.class_names
            ):  # rows of the classifier go by their class, as where initial weights are identical
                for part in ("weight", "bias"):
                    getattr(net.last_layer, part).data[row] = trained[
                        f"{net.stage_names[-1]}.{part}"
                    ][first.class_names.index(name)]
    return net


def same_features(method: CompatibleFeatures, run: Run, nets: Mapping[str, nn.Module]) -> None:
    """Raises InputError where networks that are to fit together have features of different shapes
    at the split point.
    """
    if not method.heads:
        return
    shapes = {
        f"{networks(method, run.trial)[name].label} on {name}": net.shape(
            method.split, run.image(run.tasks.by_name[name])
        )
        for name, net in nets.items()
        if isinstance(net, Network)
    }
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{'x'.join(map(str, shape))} of {name}" for name, shape in shapes.items())
        raise InputError(
            f"features at {method.split!r} differ in shape: {told}. One auxiliary head reads them all; projected(...) brings them to one shape"
        )


def data(method: CompatibleFeatures, run: Run, task: Task) -> Data:
    """A task's training images with what the auxiliary heads are to tell."""
    found = task.train.augmented() if method.augment else task.train
    found = found.drawing(rotation=randint(4)) if "rotation" in method.ingredients else found
    found = (
        found.labelled(common=relabel(task, told_apart(method, run.tasks)))
        if "common" in method.ingredients
        else found
    )
    return found.ordered("all") if method.same_order else found


def reasons(method: CompatibleFeatures, trial: Trial) -> Iterator[str]:
    """Why a trial cannot be run as written."""
    given, tasks = method.ingredients, trial.tasks
    if method.other_networks and len(method.other_networks) != len(tasks) - 1:
        yield f"other_networks names {len(method.other_networks)} networks for the {len(tasks) - 1} tasks behind the first"
        return
    for spec in (
        dict.fromkeys(spec.label for spec in networks(method, trial).values())
        if trial.network
        else ()
    ):
        network = next(n for n in networks(method, trial).values() if n.label == spec)
        if method.split_matters and method.split not in network.splits:
            yield f"{network.name} has no split point {method.split!r}. {nearest(method.split, network.splits)}"
    if method.incremental and len(tasks) < 2:
        yield "incremental training needs a task behind the first"
    if "trained" in given and not method.incremental:
        yield "the ingredient 'trained' starts later networks from the first one, so it needs incremental=True"
    for one, other in (("trained", "identical"), ("shared", "identical"), ("shared", "trained")):
        if {one, other} <= given:
            yield f"the ingredients {one!r} and {other!r} each say how a network starts; keep one of them"
    if "shared" in given and (method.incremental or method.other_networks):
        yield "the ingredient 'shared' trains one extractor with all tasks at once: it goes with neither incremental training nor other networks"
    if method.unlabelled and ("rotation" not in given or len(tasks) < 2):
        yield "unlabelled tasks are those behind the first, and learn by the ingredient 'rotation' only"
    yield from (
        f"a task is called {name!r}, like an ingredient; tell them apart with .named('...')"
        for name in {t.name for t in tasks} & given
    )
    yield from _about_classes(method, tasks)


def _about_classes(method: CompatibleFeatures, tasks: Sequence[Task]) -> Iterator[str]:
    known = list(dict.fromkeys(name for task in tasks for name in task.class_names))
    for name in method.classes:
        if name not in known:
            yield f"classes: no task has a class {name!r}. {nearest(name, known)}"
    if "common" not in method.ingredients:
        return
    wanted = told_apart(method, tasks)
    for task in tasks[:1] if method.unlabelled else tasks:
        mine = [name for name in wanted if name in task.class_names]
        if len(mine) < 2:
            told = ", ".join(mine) or "none"
            yield f"the ingredient 'common' needs at least two classes that all tasks share; {task.name} has {told} of {', '.join(wanted) or 'none'}"
