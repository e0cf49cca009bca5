"""A part of a network that cannot compute without the frozen network it is about."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from orchestrator import Network


class Attached(nn.Module):
    """A part together with its base, as a module of images only; `part(x, base)` computes."""

    def __init__(self, part: nn.Module, base: Network) -> None:
        super().__init__()
        self.part, self.base = part, base

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.part(x, self.base))
