"""The accuracy of a network on images: one computation for methods and for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from orchestrator.data.batches import in_order, relabelled
from orchestrator.data.labelled_images import LabelledImages, known, part_of
from orchestrator.errors import InputError, nearest
from orchestrator.parts.as_it_was import in_eval_mode, on_device
from orchestrator.parts.joining import Joined
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
    hits = total = 0
    with in_eval_mode(net):
        for x, y in batches:
            logits = net(x)  # [B, outputs], with masks [B, outputs, H, W]
            label = y if table is None else relabelled(table, y)
            guess = logits.argmax(1) if among is None else among[logits[:, among].argmax(1)]
            hits += int((guess == label).sum())
            total += int((label >= 0).sum())  # below 0: a class that is none of the outputs
    return hits / total if total else float("nan")


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
    a joined network was trained on, for any other module those of `data`. Images of other classes
    do not count; NaN where there are no others. `among` restricts the choice to these outputs, by
    class name or by number: `among=common_classes([a, b])`.

    Computed in fp32 and eval mode, on a GPU if there is one; afterwards the network is where and in
    the mode that it was. Nothing is trained. Raises InputError where images do not fit the network,
    or its outputs the classes.
    """
    module = _module_of(net)
    part = data.data if isinstance(data, LabelledImages) else part_of(data)
    own = outputs_of or _trained_for(net)
    outputs = part.task if own is None else known(own)
    where = torch.device(device or default_device())
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


def _trained_for(net: nn.Module | Component) -> Task | None:
    """The task whose classes are a network's outputs, where it is known."""
    if isinstance(net, Joined):
        return net.task
    if isinstance(net, Component) and "task" in net.record.labels:
        return net.task
    return None


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
    numbers = [names.index(one) if one in names else one for one in among]
    wrong = [n for n in numbers if not isinstance(n, int) or not 0 <= n < width]
    if wrong or not numbers:
        first, hint = (repr(wrong[0]), str(wrong[0])) if wrong else ("nothing", "")
        raise InputError(f"among: {first} is no output of {outputs.name}. {nearest(hint, names)}")
    return torch.tensor(numbers)
