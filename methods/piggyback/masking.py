"""Masks over the weights of a frozen network, learned through a straight-through threshold, and
packed to one bit a weight.

Mallya, Davis, Lazebnik: Piggyback: Adapting a Single Network to Multiple Tasks by Learning to Mask
Weights, ECCV 2018, arXiv:1801.06519, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from methods.pieces.residual import build_network
from methods.pieces.task_network import Norm, TaskNetwork
from orchestrator import Network

Kind = Literal["binary", "ternary"]
Start = Literal["constant", "uniform"]
Scaling = Literal["none", "layer", "weight"]
SMALLEST = 1e-12  # what a gradient is divided by at least


def maskable(
    network: Network, layers: Literal["all", "convolutions"], after: str | None
) -> list[str]:
    """Names of the weights that a mask covers: of convolutions and linear layers but the
    classifier, or of convolutions only; with `after`, only those behind this split point."""
    names = list(network.pieces())
    late = set(names[names.index(after) + 1 :] if after else names)
    kinds = (nn.Conv2d, nn.Linear) if layers == "all" else nn.Conv2d
    inside = {
        id(m)
        for name, piece in network.pieces().items()
        if name in late and name != names[-1]
        for m in piece.modules()
    }
    return [
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, kinds) and id(module) in inside
    ]


def hard(scores: Tensor, threshold: float, kind: Kind) -> Tensor:
    """The mask that scores stand for: 1 above the threshold and 0 else; ternary also -1 below
    zero.
    """
    kept = (scores > threshold).to(scores.dtype)
    return kept if kind == "binary" else kept - (scores < 0).to(scores.dtype)


def straight_through(
    scores: Tensor, threshold: float, kind: Kind, scale: Tensor | float = 1.0
) -> Tensor:
    """The hard mask, exactly, whose gradient passes to the scores unchanged (divided by
    `scale`).
    """
    return hard(scores.detach(), threshold, kind) + (scores - scores.detach()) / scale


class Masks(TaskNetwork):
    """Real-valued scores, one a masked weight, while they are trained."""

    def __init__(
        self,
        *,
        network: Mapping[str, Any],
        classes: int,
        masked: Sequence[str],
        norm: Norm = "frozen",
        dropout: bool = True,
        kind: Kind = "binary",
        threshold: float = 5e-3,
        scaling: Scaling = "none",
    ) -> None:
        super().__init__(network=network, classes=classes, norm=norm, dropout=dropout)
        self.kind, self.threshold, self.scaling, self.masked = (
            kind,
            threshold,
            scaling,
            list(masked),
        )
        shapes = build_network(network).state_dict()
        self.scores = nn.ParameterDict(
            {n.replace(".", "-"): nn.Parameter(torch.zeros_like(shapes[n])) for n in masked}
        )
        # The masks of the epoch before; part of the state, so that counting goes on after a
        # restart.
        for n in masked:
            self.register_buffer(
                f"before-{n}".replace(".", "-"), torch.zeros_like(shapes[n], dtype=torch.int8)
            )

    def begin(self, base: Network, start: Start, size: float) -> None:
        """First scores, and the base's batch norms."""
        self.take(base)
        for score in self.scores.values():
            nn.init.constant_(score, size) if start == "constant" else nn.init.uniform_(
                score, -size, size
            )
        self.flipped()

    @torch.no_grad()
    def flipped(self) -> dict[str, float]:
        """Shares of all masked weights: whose mask is another than when this was last asked, and
        whose mask is zero.
        """
        flips, zeros, total = 0, 0, 0
        for name, mask in self.hard_masks().items():
            before = self.get_buffer(f"before-{name}".replace(".", "-"))
            flips, zeros, total = (
                flips + int((before != mask).sum()),
                zeros + int((mask == 0).sum()),
                total + mask.numel(),
            )
            before.copy_(mask)
        return {"flipped": flips / total, "zeroed": zeros / total}

    def score(self, name: str) -> nn.Parameter:
        return cast(nn.Parameter, self.scores[name.replace(".", "-")])

    def effective(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = super().effective(weights)
        for n in self.masked:
            size = weights[n].abs().clamp_min(SMALLEST)
            scale = (
                1.0 if self.scaling == "none" else size.mean() if self.scaling == "layer" else size
            )
            found[n] = weights[n] * straight_through(
                self.score(n), self.threshold, self.kind, scale
            )
        return found

    @torch.no_grad()
    def hard_masks(self) -> dict[str, Tensor]:
        """By weight its mask."""
        return {n: hard(self.score(n), self.threshold, self.kind) for n in self.masked}

    @torch.no_grad()
    def packed(self) -> PackedMasks:
        """The masks at one bit a weight (ternary: two), with classifier and batch norms."""
        keep = ("network", "classes", "masked", "norm", "dropout", "kind")
        found = PackedMasks(**{k: self.config[k] for k in keep})
        for name, mask in self.hard_masks().items():
            found.put(name, mask)
        state = {k: v for k, v in self.state_dict().items() if k.startswith(("head.", "norm."))}
        found.load_state_dict(state, strict=False)
        return found


class PackedMasks(TaskNetwork):
    """Masks as they are kept: ceil(weights / 8) bytes a layer, in the order of the weights, most
    significant bit first; ternary ones have a second plane of signs."""

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
        self.kind, self.masked = kind, list(masked)
        self.shapes = {
            n: v.shape for n, v in build_network(network).state_dict().items() if n in self.masked
        }
        for name in self.masked:
            for plane in ("kept", "sign")[: 2 if kind == "ternary" else 1]:
                self.register_buffer(
                    self._place(name, plane),
                    torch.zeros(-(-self.shapes[name].numel() // 8), dtype=torch.uint8),
                )

    @staticmethod
    def _place(name: str, plane: str) -> str:
        return f"{plane}-{name.replace('.', '-')}"

    def put(self, name: str, mask: Tensor) -> None:
        """Pack one layer's mask of 0 and 1, or of -1, 0 and 1."""
        planes = {"kept": mask != 0, "sign": mask < 0}
        for plane, bits in planes.items():
            if plane == "kept" or self.kind == "ternary":
                packed = np.packbits(bits.flatten().cpu().numpy())
                self.get_buffer(self._place(name, plane)).copy_(torch.from_numpy(packed))

    def mask(self, name: str) -> Tensor:
        """One layer's mask, float, in the shape of its weight."""
        shape = self.shapes[name]
        planes = [
            torch.from_numpy(
                np.unpackbits(
                    self.get_buffer(self._place(name, plane)).cpu().numpy(), count=shape.numel()
                )
            ).view(shape)
            for plane in ("kept", "sign")[: 2 if self.kind == "ternary" else 1]
        ]
        return (
            planes[0].float()
            if self.kind == "binary"
            else planes[0].float() * (1 - 2 * planes[1].float())
        )

    def effective(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return super().effective(weights) | {
            n: weights[n] * self.mask(n).to(weights[n].device) for n in self.masked
        }

    @property
    def zeroed(self) -> float:
        """Share of the masked weights that are masked out."""
        masks = [self.mask(name) for name in self.masked]
        return sum(int((m == 0).sum()) for m in masks) / sum(m.numel() for m in masks)

    @property
    def payload(self) -> int:
        """Bytes of all masks."""
        return sum(b.numel() for n, b in self.named_buffers() if n.startswith(("kept-", "sign-")))
