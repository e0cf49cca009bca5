"""What is wrong with a network as a sweep writes it, found on two images while planning: a network
that cannot be loaded or built, that is not cut as it says, that goes round its split points.
"""

from __future__ import annotations

import contextlib
import json
import typing
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn

from orchestrator.errors import PlanError
from orchestrator.parts.network import Network, problems_of_form
from orchestrator.spec.canonical import canonical_json, coerce
from orchestrator.spec.classes import class_at, noted_loads
from orchestrator.spec.trial import NetworkSpec
from orchestrator.store.code import code_in_use

Shape = tuple[int, int, int]
_GOES_ROUND = (
    "extractor and head do not compose to the network{when}, because its forward does more than "
    "apply its stages one after another. Nothing may bypass a split point: put a skip connection "
    "inside one stage, and leave forward to Network"
)
_LEANS = (
    "the stage {piece!r} makes other things of the same features{when} once the network has seen "
    "other images: it uses what another stage left for it, which goes round the split points "
    "between the two. Put all that belongs together into one stage"
)
_FAILS = "fails on images of"
USUAL_SIZES = (8, 14, 16, 28, 32, 64, 96, 128, 224)  # of images, in pixels a side
FROM_A_CONSTANT = 0.1  # deviation of what is added to weights that all are equal
BATCH = 2  # images; batch norm cannot train on one


def problems_of_network(spec: NetworkSpec, image: Shape) -> tuple[str, ...]:
    """Why a network cannot be used on images [C, H, W], each reason with what to do.

    The network is built and applied to random images, as it is measured and as it is trained, once
    for each class, settings and shape.
    """
    declared = (spec.path, *spec.classes_in(spec.settings))
    return _problems(canonical_json(dict(spec.settings)), declared, spec.splits, image)


def features_shape(spec: NetworkSpec, split: str, image: Shape) -> tuple[int, ...]:
    """Shape of one image's features at a split point of a network without problems."""
    return _features_shape(canonical_json(dict(spec.settings)), spec.path, split, image)


@lru_cache(maxsize=256)
def _features_shape(settings: str, path: str, split: str, image: Shape) -> tuple[int, ...]:
    with _aside(), torch.no_grad():
        cls = class_at(path, Network)
        network = cls(**json.loads(settings), channels=image[0], classes=2).eval()
        # Not `network.shape`: on the meta device some classes make torch import its compiler, which
        # takes longer than to compute one image.
        return tuple(network.extractor(split)(torch.zeros(1, *image)).shape[1:])


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """Leaves the random numbers of the process alone, and computes on one thread: an image or two
    are no work for several, which would spin while they wait for each other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


def _draw_from(seed: int) -> None:
    """Begin the random numbers of the CPU anew, which `_aside` puts back. `torch.manual_seed` would
    begin those of every device, and notes for each where it was called, which takes longer than a
    small network.
    """
    torch.default_generator.manual_seed(seed)


def fails_on_size(problems: Collection[str]) -> bool:
    """Whether these problems of a network may be those of the size of images."""
    return any(_FAILS in problem for problem in problems)


def size_that_fits(spec: NetworkSpec, image: Shape) -> int | None:
    """A usual size, the nearest to that of `image` [C, H, W], of square images that the network
    takes though it does not take this one; None where no usual size mends it.
    """
    sizes = sorted(USUAL_SIZES, key=lambda size: abs(size - image[1]))
    fitting = (s for s in sizes if not problems_of_network(spec, (image[0], s, s)))
    return next(fitting, None)


@lru_cache(maxsize=256)
def _problems(
    settings: str, declared: tuple[str, ...], splits: tuple[str, ...], image: Shape
) -> tuple[str, ...]:
    """`declared` are the paths of the class and of those that its settings name."""
    with _aside():
        _draw_from(0)
        return _problems_when_built(settings, declared, splits, image)


def _problems_when_built(
    settings: str, declared: tuple[str, ...], splits: tuple[str, ...], image: Shape
) -> tuple[str, ...]:
    path = declared[0]
    try:
        with noted_loads() as loaded:
            cls = class_at(path, Network)
            # Through JSON, as the settings reach a worker.
            network = cls(**json.loads(settings), channels=image[0], classes=2)
    except PlanError as error:
        return (str(error),)
    except Exception as error:  # the author's own code: whatever it raises
        # Where a value is of a wrong type, what some line in it stumbled over says less.
        wrong = _wrong_settings(path, json.loads(settings))
        return (f"{path} cannot be built: {wrong or f'{type(error).__name__}: {error}'}",)
    if unseen := _unseen(loaded, declared):
        return tuple(f"{path} is made of {other}, {_UNSEEN}" for other in unseen)
    if problems := problems_of_form(network):
        return tuple(problems)
    if missing := [split for split in splits if split not in network.splits]:
        cuts = ", ".join(network.splits)
        return (f"{path} has no split point {missing[0]!r}; it can be cut at {cuts}",)
    _leave_no_constant(network)
    return _problems_of_images(network, image)


def _wrong_settings(path: str, settings: dict[str, object]) -> str:
    """Which settings of a class are not of the simple types that its constructor declares; empty
    where all are, or nobody can tell.
    """
    wrong = []
    with contextlib.suppress(Exception):  # the author's own annotations
        hints = typing.get_type_hints(class_at(path, Network).__init__)
        for name, value in settings.items():
            if hints.get(name) not in (bool, int, float, str):
                continue
            try:
                coerce(value, hints[name])
            except ValueError as error:
                wrong.append(f"{name}: {error}")
    return "; ".join(wrong)


_UNSEEN = (
    "which is loaded by its path while nobody is told: edits of it would go unseen, and another "
    "class of the name, too. Annotate the argument that names it as orchestrator.ClassPath, list "
    "it in class_places where you make the NetworkSpec yourself, or import the class"
)


def _unseen(loaded: Collection[str], declared: tuple[str, ...]) -> list[str]:
    """Classes that were loaded while a network was built and that neither its settings name nor the
    imports of its code lead to.
    """
    others = sorted(path for path in loaded if path not in declared)
    if not others:
        return []
    seen = code_in_use(declared).modules
    return [path for path in others if path.partition(":")[0] not in seen]


@torch.no_grad()
def _leave_no_constant(network: nn.Module) -> None:
    """Move weights and buffers that all are equal off their value: a branch that is multiplied by
    zeros at the start would not show.
    """
    for weight in (*network.parameters(), *network.buffers()):
        if not weight.is_floating_point():  # a count
            continue
        if weight.numel() and bool((weight == weight.flatten()[0]).all()):
            weight.add_(FROM_A_CONSTANT * torch.randn_like(weight))


def _problems_of_images(network: Network, image: Shape) -> tuple[str, ...]:
    """What is wrong with what a network makes of random images: as it is measured, and as it is
    trained, with gradients, where a forward may do other things.
    """
    path = network.path
    x = torch.randn(BATCH, *image)
    for trains, when in ((False, ""), (True, " in training")):
        network.train(trains)
        with torch.set_grad_enabled(trains):
            try:
                logits = _with_equal_draws(network, x)
            except Exception as error:
                size = "x".join(map(str, image))
                what = f"{type(error).__name__}: {error}"
                return (f"{path} {_FAILS} {size}{when}: {what}",)
            if not isinstance(logits, Tensor):
                kind = type(logits).__name__
                return (f"{path} gives {kind}{when} where logits [B, classes] are expected",)
            if not _composes(network, x, logits):
                return (f"{path}: {_GOES_ROUND.format(when=when)}",)
            if piece := _piece_that_leans(network, x):
                return (f"{path}: {_LEANS.format(piece=piece, when=when)}",)
    return ()


def _with_equal_draws(network: nn.Module, x: Tensor) -> object:
    """What a network makes of images, with the same random numbers each time, since dropout would
    differ otherwise, and without a trace in its buffers.
    """
    _draw_from(1)
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    made = cast(object, network(x.detach().clone()))  # a stage may write into what it is given
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name in buffers:
                buffer.copy_(buffers[name])
    return made


def _composes(network: Network, x: Tensor, logits: Tensor) -> bool:
    """Whether head(extractor(x)) is what the network made of images x, [B, C, H, W]."""
    # Both sides are made of the same layers at every split point, so one tells for all.
    composed_network = nn.Sequential(*network.cut(network.splits[0]))
    try:
        composed = _with_equal_draws(composed_network, x)
    except Exception:  # what does not fit was to get something else: another shape, a second input
        return False
    return _are_equal(composed, logits)


def _piece_that_leans(network: Network, x: Tensor) -> str | None:
    """The name of a piece that makes something else of the features of images x, [B, C, H, W], once
    the network has seen others: another piece leaves it something, as skip connections kept in an
    attribute or taken by a hook do. Then a head behind the extractor of another network would use
    what its own extractor saw last.
    """
    pieces = network.pieces()
    features: list[object] = [x]  # before each piece, and behind the last
    for piece in pieces.values():
        features.append(_with_equal_draws(piece, cast(Tensor, features[-1])))
    if not all(isinstance(one, Tensor) for one in features):
        return None
    _with_equal_draws(network, torch.randn_like(x))
    # Backwards, so that no piece is given anew what those before it leave.
    for i, (name, piece) in reversed(list(enumerate(pieces.items()))):
        try:
            again = _with_equal_draws(piece, cast(Tensor, features[i]))
        except Exception:  # what was left for it is used up
            return name
        if not _are_equal(again, cast(Tensor, features[i + 1])):
            return name
    return None


def _are_equal(made: object, expected: Tensor) -> bool:
    """Whether something is a tensor of these values, but for rounding."""
    if not isinstance(made, Tensor) or made.shape != expected.shape:
        return False
    return torch.allclose(made, expected, equal_nan=True)
