"""Many heads on one set of features: those of one build are applied in one go, all outputs at
once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from orchestrator.parts.component import Part
from orchestrator.spec.canonical import canonical_json

# Heads whose activations are in memory together, where they are not mere products with a matrix.
AT_ONCE = 16

State = dict[str, Tensor]  # parameters and buffers by name; of several heads each [heads, ...]

# Errors of torch that are RuntimeErrors and never say that a shape is wrong: memory, a broken
# device, and a module or kernel that is not there (torch raises NotImplementedError for both).
NOT_OF_SHAPE = (torch.OutOfMemoryError, torch.AcceleratorError, NotImplementedError)

ShapeFor = Callable[[int], tuple[int, ...]]
"""The shape of one image's features that a head was made for, by the head's position."""


class StackedHeads:
    """Heads in eval mode on a device, known by their positions. Parts of one class and
    configuration are of one build; a module that is no Part is a build of its own. Heads that go
    together are copied to the device once, others are moved there. `shape_for` is only asked where
    features do not enter a head.
    """

    def __init__(
        self, heads: Sequence[nn.Module], device: torch.device, shape_for: ShapeFor
    ) -> None:
        builds: dict[str, list[int]] = {}
        for position, head in enumerate(heads):
            head.eval()
            build = f"module {position}"
            if isinstance(head, Part):
                # Equal class and arguments: equal shapes of all weights.
                build = canonical_json([head.path, head.config])
            builds.setdefault(build, []).append(position)
        self.groups = [
            HeadsOfOneBuild(positions, [heads[p] for p in positions], device, shape_for)
            for positions in builds.values()
        ]

    def __len__(self) -> int:
        return sum(len(group.positions) for group in self.groups)

    def refusals(self, shape: tuple[int, ...]) -> dict[int, str]:
        """By position, why a head cannot take features of this shape [B, ...]; heads that can are
        left out. What is no matter of shape is raised.
        """
        refusals: dict[int, str] = {}
        for group in self.groups:
            if why := group.refusal(shape):
                refusals |= dict.fromkeys(group.positions, why)
        return refusals

    def logits(self, features: Tensor, wanted: Sequence[int]) -> Iterator[tuple[list[int], Tensor]]:
        """Positions of heads and their logits [heads, B, outputs], for those of the wanted ones
        that can take the features [B, ...].
        """
        for group in self.groups:
            chosen = [i for i, position in enumerate(group.positions) if position in set(wanted)]
            if chosen and not group.refusal(tuple(features.shape)):
                yield [group.positions[i] for i in chosen], group.logits(features, chosen)


class HeadsOfOneBuild:
    """Heads that differ in their weights only, at their positions among all heads."""

    def __init__(
        self,
        positions: list[int],
        heads: list[nn.Module],
        device: torch.device,
        shape_for: ShapeFor,
    ) -> None:
        self.positions, self.heads = positions, heads
        self._device, self._shape_for = device, shape_for
        self.is_batched = _batching_pays(heads, device)
        self._stack: State | None = None  # of all heads
        if not self.is_batched:
            for head in heads:
                head.to(device)
        self._refusals: dict[tuple[int, ...], str] = {}  # by the shape of one image's features

    def refusal(self, shape: tuple[int, ...]) -> str:
        """Why features of this shape [B, ...] cannot enter, or "" where they can. A head refuses a
        shape if it fails on zeros of that shape and not on zeros of the shape it was made for: a
        head that fails on both has another fault, which is raised.
        """
        image = shape[1:]
        if image not in self._refusals:
            self._refusals[image] = self._try(image)
        return self._refusals[image]

    def _try(self, image: tuple[int, ...]) -> str:
        try:
            self._apply_to_zeros(image)
        except NOT_OF_SHAPE:
            raise
        except (RuntimeError, ValueError, IndexError) as error:
            self._apply_to_zeros(self._shape_for(self.positions[0]))
            shown, reason = "x".join(map(str, image)), (str(error).splitlines() or [""])[0]
            return f"features of {shown} do not enter the head: {reason}"
        return ""

    @torch.no_grad()
    def _apply_to_zeros(self, image: tuple[int, ...]) -> None:
        x = torch.zeros(2, *image, device=self._device)
        if not self.is_batched:
            self.heads[0](x)
            return
        first = {name: values[0] for name, values in self._stacked().items()}
        functional_call(self.heads[0], first, (x,))

    def logits(self, features: Tensor, chosen: Sequence[int]) -> Tensor:
        """[chosen heads, B, outputs]; `chosen` counts within these heads."""
        if not self.is_batched:
            return torch.stack([self.heads[i](features) for i in chosen])
        stack = self._stacked()

        def one_head(state: State) -> Tensor:
            # The first head lends its structure, the stack gives the weights of each.
            return cast(Tensor, functional_call(self.heads[0], state, (features,)))

        logits = []
        for start in range(0, len(chosen), AT_ONCE):
            some = _index(chosen[start : start + AT_ONCE])
            with warnings.catch_warnings():
                # Pooling has no batching rule; it is a small part.
                warnings.filterwarnings("ignore", message="There is a performance drop")
                state = {name: values[some] for name, values in stack.items()}
                logits.append(torch.vmap(one_head)(state))
        return torch.cat(logits)

    @torch.no_grad()
    def _stacked(self) -> State:
        """All heads' weights on the device, each tensor [heads, ...]: copied once, whichever heads
        are wanted of them.
        """
        if self._stack is None:
            states = [_state(head) for head in self.heads]
            self._stack = {
                name: torch.stack([state[name].to(self._device) for state in states])
                for name in states[0]
            }
        return self._stack


def _state(head: nn.Module) -> State:
    return {**dict(head.named_parameters()), **dict(head.named_buffers())}


def _index(chosen: Sequence[int]) -> slice | list[int]:
    """Positions as a slice where they follow each other, which copies nothing."""
    if list(chosen) == list(range(chosen[0], chosen[0] + len(chosen))):
        return slice(chosen[0], chosen[0] + len(chosen))
    return list(chosen)


def _batching_pays(heads: Sequence[nn.Module], device: torch.device) -> bool:
    """Whether these heads are faster in one go than one after another. On a CPU convolutions are
    not: in groups they are slower than one by one (measured: 1.1 to 1.5 times,
    docs/performance.md); on a GPU it is the launches that cost.
    """
    if len(heads) == 1:
        return False
    has_convolution = any(isinstance(m, nn.modules.conv._ConvNd) for m in heads[0].modules())
    return device.type != "cpu" or not has_convolution
