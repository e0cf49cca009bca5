"""Masks as they are stored: one bit per weight.

Mallya, Davis, Lazebnik: Piggyback, ECCV 2018, arXiv:1801.06519, section 3: after training the
scores are thrown away and only the masks are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from methods.pieces.building import build_network
from methods.pieces.task_network import Norm, TaskNetwork

Kind = Literal["binary", "ternary"]
Plane = Literal["kept", "sign"]


class PackedMasks(TaskNetwork):
    """One task's masks at ceil(weights / 8) bytes per layer, in the order of the weights, most
    significant bit first; ternary masks have a second bit plane for the signs.

    `network` is the recipe of the base, `masked` the names of its masked weights. The other
    arguments are those of `TaskNetwork`.
    """

    def __init__(
        self,
        *,
        network: Mapping[str, Any],
        classes: int,
        masked: Sequence[str],
        norm: Norm = "frozen",
        dropout: bool = True,
        kind: Kind = "binary",
    ) -> None:
        super().__init__(network=network, classes=classes, norm=norm, dropout=dropout)
        self.masked = list(masked)
        self.planes: tuple[Plane, ...] = ("kept", "sign") if kind == "ternary" else ("kept",)
        weights = build_network(network).state_dict()
        self.shapes = {name: weights[name].shape for name in self.masked}
        for name, shape in self.shapes.items():
            # Rounded up: a layer's last byte may be partly empty.
            num_bytes = -(-shape.numel() // 8)
            for plane in self.planes:
                empty = torch.zeros(num_bytes, dtype=torch.uint8)
                self.register_buffer(_buffer_name(name, plane), empty)

    def put(self, name: str, mask: Tensor) -> None:
        """Pack one layer's mask of 0 and 1, or of -1, 0 and 1."""
        for plane in self.planes:
            bits = mask != 0 if plane == "kept" else mask < 0
            packed = np.packbits(bits.flatten().cpu().numpy())
            self.get_buffer(_buffer_name(name, plane)).copy_(torch.from_numpy(packed))

    def mask(self, name: str) -> Tensor:
        """One layer's mask, float, on the CPU, in the shape of its weight."""
        mask = self._unpacked(name, "kept")
        if "sign" in self.planes:
            mask = mask * (1 - 2 * self._unpacked(name, "sign"))  # 1 - 2 * sign is 1 or -1
        return mask

    def _unpacked(self, name: str, plane: Plane) -> Tensor:
        shape = self.shapes[name]
        packed = self.get_buffer(_buffer_name(name, plane)).cpu().numpy()
        bits = np.unpackbits(packed, count=shape.numel())  # without the padding of the last byte
        return torch.from_numpy(bits).view(shape).float()

    def effective(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that replace the base's own: the masked weights, and the classifier and batch
        norms of `TaskNetwork`.
        """
        replaced = super().effective(weights)
        for name in self.masked:
            replaced[name] = weights[name] * self.mask(name).to(weights[name].device)
        return replaced

    @property
    def zeroed(self) -> float:
        """Share of the masked weights that are masked out."""
        masks = [self.mask(name) for name in self.masked]
        num_zeros = sum(int((mask == 0).sum()) for mask in masks)
        return num_zeros / sum(mask.numel() for mask in masks)

    @property
    def payload(self) -> int:
        """Size of all masks in bytes."""
        return sum(
            self.get_buffer(_buffer_name(name, plane)).numel()
            for name in self.masked
            for plane in self.planes
        )


def _buffer_name(name: str, plane: Plane) -> str:
    """Names of buffers have no dot."""
    return f"{plane}-{name.replace('.', '-')}"
