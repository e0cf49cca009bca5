"""A task's own running statistics of the batch norms of a frozen block, or of the frozen stem.

The authors' code leaves the universal batch norms in training mode: weights, scales and shifts stay
as they are, running means and variances become the task's. Here they are kept with the task, so
that the universal network does not change.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.func import functional_call

from methods.pieces.residual import sum_before_relu

STEM = "0"  # as node 0 is its output; blocks go by their numbers, from 1


class OwnStatistics(nn.Module):
    """Running statistics of the batch norms of one residual block, or of the stem; the block itself
    stays as it is.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        for name, value in block.named_buffers():
            self.register_buffer(name.replace(".", "-"), value)  # a buffer's name has no dots

    def by_name(self) -> dict[str, Tensor]:
        """The statistics under the names that they have in the block."""
        return {name.replace("-", "."): value for name, value in self.named_buffers()}

    def copy_from(self, block: nn.Module) -> None:
        """Begin with a block's own statistics."""
        statistics = {name.replace(".", "-"): value for name, value in block.named_buffers()}
        self.load_state_dict(statistics)

    def through(self, stem: nn.Module, x: Tensor) -> Tensor:
        """The stem's output, normalised by these statistics, which a stem in training mode
        updates.
        """
        return cast(Tensor, functional_call(stem, self.by_name(), (x,)))

    def sum_before_relu(self, block: nn.Module, x: Tensor) -> Tensor:
        """The block's sum before its last ReLU, normalised by these statistics, which a block in
        training mode updates.
        """
        # The very buffers, not copies: batch norm updates them in place.
        own = {f"block.{name}": value for name, value in self.by_name().items()}
        return cast(Tensor, functional_call(BeforeLastReLU(block), own, (x,)))


class BeforeLastReLU(nn.Module):
    """A residual block's sum before its last ReLU, as a module."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return sum_before_relu(self.block, x)
