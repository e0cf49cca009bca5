"""Gradients of a task module's outputs with respect to the features it is given, with features and
without any.

Zhang, Yang, Yu, Wu: Network Transplanting, 2018, arXiv:1804.10272. The text could not be read in
full; formulas are those of our specification's section 3, where they are marked as reconstructed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.networks.fcn import PerPixel
from methods.pieces.building import build_network
from orchestrator import Data, NetworkSpec, Noise, noise, normal

Gradients = Literal["none", "lin", "dummy", "noise", "real"]
# Outputs are compared with nothing, with labels, with the category's own network on the samples,
# with both, or with it at synthetic features.
Labels = Literal["none", "direct", "distill", "both", "synthetic"]
SYNTHETIC = 2000  # synthetic features an epoch
Gates = Mapping[str, Tensor]
PASSED = (nn.Dropout, nn.Identity)
KNOWN = (
    nn.Conv2d,
    nn.Linear,
    nn.ReLU,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Upsample,
    nn.Flatten,
    *PASSED,
)


def outputs(module: nn.Module, features: Sequence[int]) -> tuple[int, ...]:
    """Shape of what a module makes of one image's features."""
    with torch.no_grad():
        return tuple(
            module(torch.zeros(1, *features, device=next(module.parameters()).device)).shape[1:]
        )


def directions(drawn: Tensor) -> Tensor:
    """Normal numbers [B, outputs, ...] to directions in the space of outputs that the softmax can
    see: of sum zero over the outputs and of length sqrt(2). For two outputs that is their
    difference, with either sign."""
    centred = drawn - drawn.mean(1, keepdim=True)
    length = centred.flatten(1).norm(dim=1).clamp_min(1e-6)
    return cast(Tensor, centred / length.view(-1, *[1] * (drawn.ndim - 1)) * 2**0.5)


def input_gradient(module: nn.Module, x: Tensor, direction: Tensor) -> Tensor:
    """Gradient of the outputs along a direction with respect to the input [B, ...]; it can itself
    be differentiated.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        along = (module(x) * direction).sum()
        return torch.autograd.grad(along, x, create_graph=True)[0]


def flat(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Layers in order, by name. Raises ValueError for one through which `surrogate` cannot go."""
    found = [(name, layer) for name, layer in module.named_modules() if not list(layer.children())]
    for name, layer in found:
        if not isinstance(layer, KNOWN):
            raise ValueError(
                f"{name} is a {type(layer).__name__}; gradients without images pass convolutions, linear layers, ReLU and pooling only"
            )
    return found


def impassable(spec: NetworkSpec, split: str) -> Iterator[str]:
    """Why gradients without images cannot pass this network's layers behind the split point, if
    so.
    """
    with torch.device("meta"):
        net = build_network(
            {"path": spec.path, "config": {**dict(spec.settings), "channels": 3, "classes": 2}}
        )
    try:
        if split in net.splits:
            flat(net.head(split))
    except ValueError as error:
        yield f"{spec.name}: {error}"


def gate_shapes(module: nn.Module, features: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """By ReLU, the shape of one image's features there."""
    return {
        name: shape
        for (name, layer), shape in zip(flat(module), _shapes(module, features), strict=True)
        if isinstance(layer, nn.ReLU)
    }


def surrogate(
    module: nn.Module, features: Sequence[int], direction: Tensor, gates: Gates
) -> Tensor:
    """Gradient of the outputs along `direction` [B, outputs] with respect to features [B,
    *features], without any features: ReLUs pass what their gates say ([B, ...]; everything where
    there is none), pooling spreads evenly, dropout passes (specification, section 3.3)."""
    d = direction
    for (name, layer), shape in reversed(
        list(zip(flat(module), _shapes(module, features), strict=True))
    ):
        if isinstance(layer, PerPixel):
            d = (d.movedim(1, -1) @ layer.weight).movedim(-1, 1)
        elif isinstance(layer, nn.Linear):
            d = d @ layer.weight
        elif isinstance(layer, nn.Conv2d):
            d = _through_convolution(d, layer, shape)
        elif isinstance(layer, nn.ReLU):
            d = d * gates[name] if name in gates else d
        elif isinstance(layer, nn.Flatten):
            d = d.reshape(len(d), *shape)
        elif isinstance(layer, nn.Upsample):
            d = F.adaptive_avg_pool2d(d, (shape[1], shape[2])) * (
                d.shape[2] * d.shape[3] / (shape[1] * shape[2])
            )
        elif not isinstance(layer, PASSED):
            d = F.interpolate(d, size=tuple(shape[1:]), mode="nearest") * (
                d.shape[2] * d.shape[3] / (shape[1] * shape[2])
            )
    return d


def _through_convolution(d: Tensor, layer: nn.Conv2d, shape: tuple[int, ...]) -> Tensor:
    stride, padding, kernel = layer.stride, cast(tuple[int, int], layer.padding), layer.kernel_size
    more = [
        shape[i + 1] - ((d.shape[i + 2] - 1) * stride[i] - 2 * padding[i] + kernel[i])
        for i in (0, 1)
    ]
    return F.conv_transpose2d(d, layer.weight, None, stride, padding, output_padding=more)


def _shapes(module: nn.Module, features: Sequence[int]) -> list[tuple[int, ...]]:
    """The shape of one image's input to each layer."""
    found: list[tuple[int, ...]] = []
    x = next(module.parameters()).new_zeros(1, *features)
    with torch.no_grad():
        for _, layer in flat(module):
            found.append(tuple(x.shape[1:]))
            x = layer(x)
    return found


def sources(
    mode: Gradients, labels: Labels, few: Data | None, task: nn.Module, shape: Sequence[int]
) -> dict[str, Data | Noise]:
    """What a fit reads: synthetic features, images, or both, with a direction in the space of
    outputs for each.
    """
    along = {"direction": normal(*outputs(task, shape))}
    gates = (
        {f"gate {name}": normal(*s) for name, s in gate_shapes(task, shape).items()}
        if mode == "dummy"
        else {}
    )
    found: dict[str, Data | Noise] = {}
    if mode in ("lin", "dummy", "noise") or labels == "synthetic":
        found["noise"] = noise(*shape, images=SYNTHETIC).drawing(**along, **gates)
    if few is not None and (mode == "real" or labels in ("direct", "distill", "both")):
        found["few"] = few.drawing(**along)
    return found


def both_gradients(
    mode: Gradients,
    nets: Any,
    student: nn.Module,
    batch: Any,
    features: Tensor | None,
    share: float,
) -> tuple[Tensor, Tensor]:
    """With respect to the features: of the own task module (`nets["teacher"]`), and of the adapted
    one. Without features, the share of ReLUs that pass is `share`, the same ones in both task
    modules (`dummy`), or all pass (`lin`)."""
    if mode in ("noise", "real"):
        assert features is not None
        along = directions(batch["noise" if mode == "noise" else "few"].direction)
        return input_gradient(nets["teacher"], features, along).detach(), input_gradient(
            student, features, along
        )
    drawn, shape = batch["noise"], batch["noise"].x.shape[1:]
    bar = NormalDist().inv_cdf(1 - share)
    gates = (
        {
            name: (getattr(drawn, f"gate {name}") > bar).float()
            for name in gate_shapes(nets["teacher"], shape)
        }
        if mode == "dummy"
        else {}
    )
    own, theirs = (
        surrogate(nets[n], shape, directions(drawn.direction), gates) for n in ("teacher", "task")
    )
    return own, surrogate(nets["adapter"].layers, shape, theirs, {})
