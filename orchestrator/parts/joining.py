"""Two networks joined by hand: the extractor of the one with the head of the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from orchestrator.errors import InputError, PlanError
from orchestrator.parts.as_it_was import device_of, in_eval_mode
from orchestrator.parts.component import Part
from orchestrator.parts.network import Network, Piece, Side
from orchestrator.parts.network_checks import USUAL_SIZES
from orchestrator.parts.outputs import remember, remembered
from orchestrator.parts.result import Component, Result
from orchestrator.parts.stacked_heads import NOT_OF_SHAPE
from orchestrator.spec.classes import class_at
from orchestrator.spec.task import Task
from orchestrator.store.opening import AnyStore

Image = tuple[int, ...]  # channels, height, width
Joinable = nn.Module | Component | str


class Joined(nn.Module):
    """Images to logits: `head(extractor(images))`. `task` is the one whose classes the outputs are,
    where that is known. Made by `join`; the layers are those of the networks it was made of.
    """

    def __init__(
        self, extractor: nn.Module, head: nn.Module, *, task: Task | None = None, title: str = ""
    ) -> None:
        super().__init__()
        self.extractor, self.head = extractor, head
        self.task, self.title = task, title
        self.training = extractor.training or head.training

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.extractor(x)))

    def __repr__(self) -> str:
        outputs = f"; outputs are the classes of {self.task.name}" if self.task else ""
        return f"Joined({self.title}{outputs})"


def join(
    front: Joinable,
    back: Joinable,
    split: str | None = None,
    *,
    task: Task | None = None,
    store: AnyStore | None = None,
) -> Joined:
    """The extractor of `front`, cut at `split`, with the head of `back`: what a matrix has in the
    row of `front` and the column of `back`. Nothing is trained.

    Each side is a network, a piece of one that is cut already, a component (a mask stands for the
    network that it makes with its base), or a component's reference in `store`, as a matrix names
    it: `join(*matrix.pair("a", "b"), split="pool", store=session)`. Networks given as modules lend
    their layers, components are loaded anew.

    `accuracy(joined, task)` normalises images as their task says and reads the outputs as the
    classes of the head's task, as matrices do. A component knows its task; for a module, `task`
    says it, or `accuracy` has to be told.

    Raises InputError where there is no such split point, and where the features of the one do not
    enter the head of the other.
    """
    _check_arguments(split, task)
    ends = _End.of(front, "extractor", store), _End.of(back, "head", store)
    extractor, head = (end.piece(split) for end in ends)
    if refusal := _refusal(extractor, head, *ends):
        raise InputError(refusal)
    title = f"{ends[0].described(extractor)}, {ends[1].described(head)}"
    joined = Joined(extractor, head, task=task or ends[1].task, title=title)
    remember(joined, remembered(ends[1].module))
    return joined


def _check_arguments(split: object, task: object) -> None:
    """Raise InputError for what is no name of a split point or no task."""
    if isinstance(split, nn.Module | Component):
        raise InputError("join takes two networks, and a split point by its name: join(a, b, 'x')")
    if split is not None and not isinstance(split, str):
        raise InputError(f"join: a split point is given by its name, got {split!r}")
    if task is not None and not isinstance(task, Task):
        raise InputError(
            f"join: task= takes a task, such as result.tasks['b'] or component.task, got {task!r}"
        )


@dataclass(frozen=True)
class _End:
    """One of the two that are joined: how messages call it, which side of it is wanted, the network
    or piece, the task it was trained on, and the shape of that task's images, where known.
    """

    name: str
    side: Side
    module: Network | Piece
    task: Task | None
    image: Image | None

    @staticmethod
    def of(given: Joinable, side: Side, store: AnyStore | None) -> _End:
        """What was given as this side, loaded."""
        if isinstance(given, str):
            given = Component.open(given, store)
        if not isinstance(given, Component):
            module = _cuttable(given, type(given).__name__)
            return _End(_recipe(module)["path"].rpartition(":")[2], side, module, None, None)
        part: nn.Module = given.module()
        if not isinstance(part, Piece):
            part = given.ready()
        known = given.output_tasks
        task = known[0] if len(known) == 1 else None
        image = None
        if task is not None and (record := given.result.store.data(task.data)) is not None:
            image = task.image(record)
        name = f"{given.record.title} of {given.result.key[:12]}"
        return _End(name, side, _cuttable(part, name), task, image)

    def piece(self, split: str | None) -> Piece:
        """The wanted side of it. Raises InputError where it cannot be had."""
        if isinstance(self.module, Network):
            if split is None:
                splits = ", ".join(map(repr, self.module.splits))
                raise InputError(
                    f"join: say where {self.name} is to be cut, join(a, b, split=...); "
                    f"it can be cut at {splits}"
                )
            return Piece.of(self.module, split, self.side)
        cut, side = self.module.config["split"], self.module.config["side"]
        if side != self.side or split not in (None, cut):
            wanted = self.side if split is None else f"{self.side} at {split!r}"
            raise InputError(
                f"join: what is given of {self.name} is the {side} at {cut!r}, not the {wanted}"
            )
        return self.module

    def described(self, piece: Piece) -> str:
        cut = piece.config["split"]
        where = f"up to {cut!r}" if self.side == "extractor" else f"behind {cut!r}"
        return f"{self.side} of {self.name} {where}"

    def whole(self) -> Network:
        """The network that it is, or that the piece was cut out of, there with other weights.
        Raises PlanError where that network's class cannot be loaded.
        """
        if isinstance(self.module, Network):
            return self.module
        recipe = _recipe(self.module)
        with torch.random.fork_rng(devices=[]):  # weights are drawn that nobody uses
            return class_at(recipe["path"], Network)(**recipe["config"])

    @property
    def channels(self) -> int:
        """Of the images that it takes."""
        return int(_recipe(self.module)["config"].get("channels", 3))


def _recipe(module: Network | Piece) -> Mapping[str, Any]:
    """Path and arguments of a network, or of the one that a piece was cut out of."""
    if isinstance(module, Piece):
        return cast(Mapping[str, Any], module.config["network"])
    return {"path": module.path, "config": module.config}


def _cuttable(module: object, name: str) -> Network | Piece:
    """The module, if it has split points or is a piece. Raises InputError otherwise."""
    if isinstance(module, Network | Piece):
        return module
    hint = "give a Network, a piece of one, a component, or the reference of one"
    if isinstance(module, Joined):
        hint = "it is cut and joined already; give the networks that it was made of"
    elif isinstance(module, Result):
        hint = "give one of its components: result.component('network', task=...)"
    elif isinstance(module, Part):
        hint = "a part that needs a base is given as its component, which knows that base"
    raise InputError(f"join: {name} has no split points and cannot be cut; {hint}")


def _refusal(extractor: Piece, head: Piece, front: _End, back: _End) -> str:
    """Why features do not enter the head, with both shapes, or "" where they do. Where the size of
    images is not known, the first usual one decides that both networks take.
    """
    try:
        own_extractor = back.whole().extractor(head.config["split"])
    except PlanError:  # a class of this notebook, say; torch will tell, without the second shape
        return ""
    for front_image, back_image in _sizes_to_try(front, back):
        features, own = _tried(extractor, front_image), _tried(own_extractor, back_image)
        if features.reason or own.reason or _tried(head, own.shape).reason:
            continue  # no images for these networks
        if not (reason := _tried(head, features.shape).reason):
            return ""
        return (
            f"join: the {front.described(extractor)} gives features of {_shown(features.shape)}, "
            f"the {back.described(head)} takes {_shown(own.shape)}: {reason}"
        )
    return ""


def _sizes_to_try(front: _End, back: _End) -> list[tuple[Image, Image]]:
    """Shapes of images for the one and for the other network."""
    if (known := front.image or back.image) is not None:
        sizes = [known[1:]]
    else:
        sizes = [(size, size) for size in USUAL_SIZES]
    return [
        (front.image or (front.channels, *size), back.image or (back.channels, *size))
        for size in sizes
    ]


@dataclass(frozen=True)
class _Tried:
    """The shape of what a module makes of one image, or the reason why it makes nothing."""

    shape: Image = ()
    reason: str = ""


@torch.no_grad()
def _tried(module: nn.Module, shape: Image) -> _Tried:
    x = torch.zeros(2, *shape, device=device_of(module))  # [2, C, H, W], or features
    try:
        with in_eval_mode(module):
            return _Tried(tuple(module(x).shape[1:]))
    except NOT_OF_SHAPE:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        return _Tried(reason=str(error).splitlines()[0] if str(error) else type(error).__name__)


def _shown(shape: Image) -> str:
    return "x".join(map(str, shape))
