"""What is wrong with a network as a sweep writes it, found on one image while planning: a network
that cannot be loaded or built, that is not cut as it says, that goes round its split points.
"""

from __future__ import annotations

import json
from functools import lru_cache

import torch
from torch import Tensor, nn

from orchestrator.errors import PlanError
from orchestrator.parts.network import Network, problems_of_form
from orchestrator.spec.canonical import canonical_json
from orchestrator.spec.classes import class_at
from orchestrator.spec.trial import NetworkSpec

Shape = tuple[int, int, int]
_GOES_ROUND = (
    "extractor and head do not compose to the network, because its forward does more than apply "
    "its stages one after another. Nothing may bypass a split point: put a skip connection inside "
    "one stage, and leave forward to Network"
)
_FAILS = "fails on an image of"
USUAL_SIZES = (8, 14, 16, 28, 32, 64, 96, 128, 224)  # of images, in pixels a side
FROM_A_CONSTANT = 0.1  # deviation of what is added to weights that all are equal


def problems_of_network(spec: NetworkSpec, image: Shape) -> tuple[str, ...]:
    """Why a network cannot be used on images [C, H, W], each reason with what to do.

    The network is built and applied to one random image, once for each class, settings and shape.
    """
    return _problems(spec.path, canonical_json(dict(spec.settings)), spec.splits, image)


def takes(spec: NetworkSpec, image: Shape) -> bool:
    """Whether a network without other problems computes anything on images of this shape."""
    return not problems_of_network(spec, image)


def size_that_fits(spec: NetworkSpec, image: Shape) -> int | None:
    """A usual size, the nearest to that of `image` [C, H, W], of square images that the network
    takes though it does not take this one; None where no usual size mends it, or where the size is
    not what is wrong.
    """
    if not any(_FAILS in problem for problem in problems_of_network(spec, image)):
        return None
    sizes = sorted(USUAL_SIZES, key=lambda size: abs(size - image[1]))
    fitting = (size for size in sizes if takes(spec, (image[0], size, size)))
    return next(fitting, None)


@lru_cache(maxsize=256)
def _problems(path: str, settings: str, splits: tuple[str, ...], image: Shape) -> tuple[str, ...]:
    try:
        cls = class_at(path, Network)
    except PlanError as error:
        return (str(error),)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        try:
            # Through JSON, as the settings reach a worker.
            network = cls(**json.loads(settings), channels=image[0], classes=2).eval()
        except Exception as error:  # the author's own code: whatever it raises
            return (f"{path} cannot be built: {type(error).__name__}: {error}",)
        if problems := problems_of_form(network):
            return tuple(problems)
        if missing := [split for split in splits if split not in network.splits]:
            cuts = ", ".join(network.splits)
            return (f"{path} has no split point {missing[0]!r}; it can be cut at {cuts}",)
        _leave_no_constant(network)
        x = torch.randn(1, *image)
        try:
            logits = network(x)
        except Exception as error:
            size = "x".join(map(str, image))
            return (f"{path} {_FAILS} {size}: {type(error).__name__}: {error}",)
        return () if _composes(network, x, logits) else (f"{path}: {_GOES_ROUND}",)


def _leave_no_constant(network: nn.Module) -> None:
    """Move weights that all are equal off their value: a branch that is multiplied by zeros at the
    start would not show.
    """
    for weight in network.parameters():
        if weight.numel() and bool((weight == weight.flatten()[0]).all()):
            weight.add_(FROM_A_CONSTANT * torch.randn_like(weight))


def _composes(network: Network, x: Tensor, logits: Tensor) -> bool:
    """Whether head(extractor(x)) is what the network made of x, one image [1, C, H, W]."""
    # Both sides are made of the same layers at every split point, so one tells for all.
    extractor, head = network.cut(network.splits[0])
    try:
        composed = head(extractor(x))
    except RuntimeError:  # shapes that do not fit: something was to come in from elsewhere
        return False
    return composed.shape == logits.shape and torch.allclose(composed, logits, equal_nan=True)
