"""The accuracy of a network on images: one computation for methods and for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.data.batches import in_order, relabelled
from orchestrator.data.labelled_images import LabelledImages, part_of
from orchestrator.data.resolve import known
from orchestrator.errors import InputError, nearest
from orchestrator.parts.as_it_was import in_eval_mode, on_device
from orchestrator.parts.joining import Joined
from orchestrator.parts.outputs import remembered, with_classes
from orchestrator.parts.result import Component
from orchestrator.parts.stacked_heads import NOT_OF_SHAPE
from orchestrator.spec.task import Data, Task, relabel
from orchestrator.training.arithmetic import arithmetic, default_device

Batches = Iterable[tuple[Tensor, Tensor]]  # images [B, C, H, W] and labels [B]


@torch.no_grad()
def share_correct(
    net: nn.Module, batches: Batches, *, table: Tensor | None = None, among: Tensor | None = None
) -> float:
    """Share of images (where labels are masks: of pixels) whose largest logit is the label's; NaN
    where none counts. The net is on the images' device, and its mode is left as it was.

    `table`, [classes of the images], has the output that stands for each class, negative where
    there is none; `among` are the outputs that the choice is restricted to.
    """
    return shares_correct(net, batches, (1,), table=table, among=among)[0]


@torch.no_grad()
def shares_correct(
    net: nn.Module,
    batches: Batches,
    tops: Sequence[int],
    *,
    table: Tensor | None = None,
    among: Tensor | None = None,
) -> list[float]:
    """The same for several numbers of guesses in one pass: for each of `tops`, the share of images
    whose label is among so many outputs of largest logit.
    """
    hits, total = [0] * len(tops), 0
    with in_eval_mode(net):
        for x, y in batches:
            logits = net(x)  # [B, outputs], with masks [B, outputs, H, W]
            label = y if table is None else relabelled(table, y)
            if among is not None:
                logits = logits[:, among]
            for place, top in enumerate(tops):
                # [B, top, ...]; of equals the first, which `topk` does not promise
                guesses = (
                    logits.argmax(1, keepdim=True) if top == 1 else logits.topk(top, 1).indices
                )
                guesses = guesses if among is None else among[guesses]
                hits[place] += int((guesses == label.unsqueeze(1)).sum())
            total += int((label >= 0).sum())  # below 0: a class that is none of the outputs
    return [count / total if total else float("nan") for count in hits]


def outputs_for(images: Task, outputs: Task, device: torch.device) -> Tensor:
    """The table of `share_correct` for images of one task and outputs that are another's."""
    return torch.tensor(relabel(images, outputs.class_names), device=device)


def accuracy(
    net: nn.Module | Component,
    data: Task | Data | LabelledImages,
    *,
    among: Sequence[int | str] | None = None,
    outputs_of: Task | None = None,
    batch: int = 512,
    device: str | None = None,
) -> float:
    """Share of images that a network is right about, as a method would measure it: `accuracy(net,
    task)` on the task's test part, or on `task.validation_part`, or on `images(...)`.

    Outputs stand for the classes of `outputs_of`: by default those that a component or the head of
    a joined one was trained on, for any other module those of `data`. A module that was loaded from
    a component, or joined of modules, has to be told where that may be wrong: on images of other
    classes it is an InputError. Images of classes that no output stands for do not count; NaN where
    there are no others. `among` restricts the choice to these outputs, by class name or by number:
    `among=common_classes([a, b])`.

    Computed in fp32 and eval mode, on a GPU if there is one; afterwards the network is where and in
    the mode that it was. Nothing is trained. Raises InputError where images do not fit the network,
    or its outputs the classes.
    """
    module = _module_of(net)
    part = data.data if isinstance(data, LabelledImages) else part_of(data)
    own = _classes_of_outputs(net, part.task, outputs_of)
    outputs = own or part.task
    where = _device(device)
    if not isinstance(batch, int) or batch < 1:
        raise InputError(f"accuracy: batch={batch!r} is no number of images, from 1")
    with arithmetic(torch.get_num_threads(), "fp32", where), on_device(module, where):
        first = next(_batches(data, part, where, 1), None)
        if first is None:
            return float("nan")
        width = _num_outputs(module, first[0], part.task)
        if width != outputs.num_classes and (own is not None or among is None):
            raise InputError(
                f"the network has {width} outputs and {outputs.name} {outputs.num_classes} "
                "classes; say with outputs_of= which task's classes its outputs are"
            )
        table = outputs_for(part.task, outputs, where) if own is not None else None
        chosen = None if among is None else _numbers(among, outputs, width).to(where)
        batches = _batches(data, part, where, batch)
        return share_correct(module, batches, table=table, among=chosen)


def _module_of(net: object) -> nn.Module:
    """The module, of a component the network that it makes. Raises InputError for anything else."""
    module = net.ready() if isinstance(net, Component) else net
    if not isinstance(module, nn.Module):
        raise InputError(
            f"accuracy takes a network or a component, got {type(net).__name__}; a reference is "
            "opened by Component.open(reference, store), a result has result.component(name, ...)"
        )
    return module


def _classes_of_outputs(net: nn.Module | Component, images: Task, said: Task | None) -> Task | None:
    """The task whose classes the outputs of a network are, its classes known; None where they are
    those of the images. Raises InputError where they may be those of several tasks.
    """
    if said is not None:
        return known(_task(said))
    if isinstance(net, Joined) and net.task is not None:
        return known(net.task)
    candidates = net.output_tasks if isinstance(net, Component) else remembered(net)
    # What the store has is as its task trained it. A module may have been trained since.
    if isinstance(net, Component) and len(candidates) == 1:
        return candidates[0]
    # A joined network of unknown origin is a guess for whatever images; a whole one was made by
    # somebody who knows.
    is_open = isinstance(net, Joined) and not candidates
    if is_open or any(task.class_names != images.class_names for task in candidates):
        raise InputError(_question(net, candidates, images))
    return None


def _task(said: object) -> Task:
    if isinstance(said, Task):
        return said
    raise InputError(
        "accuracy: outputs_of= takes a task, such as result.tasks['b'] or component.task, "
        f"got {said!r}"
    )


def _question(net: nn.Module | Component, candidates: Sequence[Task], images: Task) -> str:
    """What has to be said of the outputs of a network that may be the classes of several tasks."""
    what = "the network was loaded from the store, where it was"
    if isinstance(net, Component):
        what = f"{net.record.title} was"
    elif isinstance(net, Joined):
        what = "the head of the joined network was"
    trained = f"trained on {' or '.join(map(with_classes, candidates))}"
    if not candidates:
        trained = "trained on a task that nobody named"
    say = "accuracy(..., outputs_of=task)"
    if isinstance(net, Joined):
        say = f"join(..., task=task) or {say}"
    return (
        f"accuracy: {what} {trained}; the images are of {with_classes(images)}. Say which task's "
        f"classes the outputs are: {say}"
    )


def _device(name: str | None) -> torch.device:
    """The device of this name (default: a GPU if there is one). Raises InputError for a name that
    is none, and for a device that this machine does not have.
    """
    if name is None:
        return torch.device(default_device())
    there = ["cpu"]
    there += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    there += ["cuda"] if len(there) > 1 else []
    if torch.backends.mps.is_available():
        there.append("mps")
    if str(name) not in there:
        listed = ", ".join(map(repr, there))
        raise InputError(f"accuracy: this machine has no device {name!r}. It has: {listed}")
    return torch.device(name)


def _batches(
    data: Task | Data | LabelledImages, part: Data, device: torch.device, batch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    if not isinstance(data, LabelledImages):
        yield from in_order(part, device, batch)
        return
    if not data.x.is_floating_point():
        raise InputError("raw pixels are for looking at; a network takes images(...) without raw")
    for start in range(0, len(data), batch):
        some = slice(start, start + batch)
        yield data.x[some].to(device), data.y[some].to(device)


@torch.no_grad()
def _num_outputs(net: nn.Module, x: Tensor, task: Task) -> int:
    """How many outputs a network has, seen on an image [1, C, H, W]. Raises InputError where it
    does not take the image.
    """
    try:
        with in_eval_mode(net):
            return int(net(x).shape[1])
    except NOT_OF_SHAPE:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        shape, reason = "x".join(map(str, x.shape[1:])), (str(error).splitlines() or [""])[0]
        raise InputError(
            f"the network does not take images of {task.name}, {shape}, or does not make logits of "
            f"them: {reason}"
        ) from error


def _numbers(among: Sequence[int | str], outputs: Task, width: int) -> Tensor:
    """Outputs given by class name or by number, by number. Raises InputError for one that does not
    exist, and where there is none.
    """
    names = outputs.class_names
    # One class alone, too; a text would be taken letter by letter.
    is_one = isinstance(among, str) or not isinstance(among, Iterable)
    listed: Iterable[Any] = [among] if is_one else among
    numbers = [names.index(one) if one in names else one for one in listed]
    wrong = [n for n in numbers if not isinstance(n, int) or not 0 <= n < width]
    if wrong or not numbers:
        first, hint = (repr(wrong[0]), str(wrong[0])) if wrong else ("nothing", "")
        raise InputError(f"among: {first} is no output of {outputs.name}. {nearest(hint, names)}")
    return torch.tensor(numbers)
