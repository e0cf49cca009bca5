"""Many heads on one set of features: those of one build are applied in one go, all outputs at
once.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from orchestrator.parts.component import Part
from orchestrator.spec.canonical import canonical_json

# Heads whose activations are in memory together, where they are not mere products with a matrix.
AT_ONCE = 16


@dataclass
class _Alike:
    """Heads of one build, at their `places` in the bank."""

    places: list[int]
    heads: list[nn.Module]
    batched: bool
    stacks: dict[tuple[int, ...], tuple[dict[str, Tensor], dict[str, Tensor]]] = field(
        default_factory=dict
    )
    refusals: dict[tuple[int, ...], str] = field(default_factory=dict)

    def refuses(self, shape: tuple[int, ...]) -> str:
        """Why features of this shape [B, ...] cannot enter, or nothing. Tried without data, so that
        any other error stays one.
        """
        if shape[1:] not in self.refusals:
            self.refusals[shape[1:]] = ""
            try:
                copy.deepcopy(self.heads[0]).to("meta").eval()(
                    torch.zeros(2, *shape[1:], device="meta")
                )
            except (RuntimeError, ValueError, IndexError) as error:
                self.refusals[shape[1:]] = (
                    f"features of {'x'.join(map(str, shape[1:]))} do not enter the head: {str(error).splitlines()[0]}"
                )
        return self.refusals[shape[1:]]

    def logits(self, features: Tensor, wanted: Sequence[int]) -> Tensor:
        """[wanted heads, B, outputs]; `wanted` counts within these heads."""
        if not self.batched:
            return torch.stack([self.heads[i](features) for i in wanted])
        if (chosen := tuple(wanted)) not in self.stacks:
            self.stacks[chosen] = stack_module_state([self.heads[i] for i in chosen])
        head, (parameters, buffers) = self.heads[0], self.stacks[chosen]

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
            return cast(Tensor, functional_call(head, (parameters, buffers), (x,)))

        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="There is a performance drop"
            )  # pooling has no batching rule; it is a small part
            return torch.vmap(one, in_dims=(0, 0, None), chunk_size=AT_ONCE)(
                parameters, buffers, features
            )


class HeadBank:
    """Heads in eval mode on a device. Parts of one class and configuration are of one build; a
    module that is no Part is a build of its own.
    """

    def __init__(self, heads: Sequence[nn.Module], device: torch.device) -> None:
        builds: dict[str, list[int]] = {}
        for place, head in enumerate(heads):
            head.to(device).eval()
            name = (
                canonical_json([head.path, head.config])
                if isinstance(head, Part)
                else f"module {place}"
            )
            builds.setdefault(name, []).append(place)
        self.alike = [
            _Alike(places, [heads[p] for p in places], _pays(heads[places[0]], len(places), device))
            for places in builds.values()
        ]

    def __len__(self) -> int:
        return sum(len(group.places) for group in self.alike)

    def refusals(self, shape: tuple[int, ...]) -> dict[int, str]:
        """By place, why a head cannot take features of this shape [B, ...]; heads that can are not
        in it.
        """
        return {
            place: why
            for group in self.alike
            if (why := group.refuses(shape))
            for place in group.places
        }

    def logits(self, features: Tensor, wanted: Sequence[int]) -> Iterator[tuple[list[int], Tensor]]:
        """Places of heads and their logits [heads, B, outputs], for those of the wanted ones that
        can take the features [B, ...].
        """
        asked = set(wanted)
        for group in self.alike:
            mine = [i for i, place in enumerate(group.places) if place in asked]
            if mine and not group.refuses(tuple(features.shape)):
                yield [group.places[i] for i in mine], group.logits(features, mine)


def _pays(head: nn.Module, count: int, device: torch.device) -> bool:
    """Whether these heads are faster in one go than one after another. On a CPU convolutions are
    not: in groups they are slower than one by one (measured: 1.1 to 1.5 times,
    docs/performance.md); on a GPU it is the launches that cost."""
    return count > 1 and (
        device.type != "cpu"
        or not any(isinstance(m, nn.modules.conv._ConvNd) for m in head.modules())
    )
