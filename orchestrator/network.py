"""Networks: a backbone cut into named stages, so that it can be split into an extractor and a head at every split point."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from orchestrator.component import Part
from orchestrator.errors import InputError, nearest

Side = Literal["extractor", "head"]


class Blocks(nn.Sequential):
    """A stage made of blocks: it offers a split point behind each of them."""


class Network(Part):
    """A network as an ordered list of named stages; the last is the classifier, and behind every other one lies a split point.

    A subclass builds its stages in `__init__` and hands them to `set_stages`. A stage of type `Blocks` also offers a split point behind each block:
    `stage2.block1`. Nothing may bypass a split point.
    """

    def set_stages(self, stages: Mapping[str, nn.Module]) -> None:
        """Register the stages in order. Split point names come from the stages' names."""
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.stage_names = tuple(stages)

    def pieces(self) -> dict[str, nn.Module]:
        """Every stage, those of blocks taken apart, by the name of the split point behind it (the classifier comes last)."""
        found: dict[str, nn.Module] = {}
        for name in self.stage_names:
            stage = getattr(self, name)
            blocks = list(stage.children()) if isinstance(stage, Blocks) else []
            found.update({f"{name}.block{i}": block for i, block in enumerate(blocks[:-1], start=1)})
            found[name] = blocks[-1] if blocks else stage
        return found

    @property
    def splits(self) -> tuple[str, ...]:
        """Split points, first to last."""
        return tuple(self.pieces())[:-1]

    @property
    def last_layer(self) -> nn.Linear:
        """The last layer: one row a class."""
        return cast(nn.Linear, getattr(self, self.stage_names[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] to logits [B, classes]."""
        for name in self.stage_names:
            x = getattr(self, name)(x)
        return x

    def cut(self, split: str) -> tuple[Piece, Piece]:
        """Extractor and head at a split point. They share this network's layers: training one trains it."""
        return self.extractor(split), self.head(split)

    def extractor(self, split: str) -> Piece:
        """Images to features at the split point."""
        return Piece.of(self, split, "extractor")

    def head(self, split: str) -> Piece:
        """Features at the split point to logits."""
        return Piece.of(self, split, "head")

    @torch.no_grad()
    def shape(self, split: str, image: tuple[int, int, int]) -> tuple[int, ...]:
        """Shape of one image's features at a split point, for images [C, H, W]."""
        probe = copy.deepcopy(self.extractor(split)).to("meta").eval()
        return tuple(probe(torch.zeros(1, *image, device="meta")).shape[1:])


class Piece(Part):
    """One side of a network at a split point; it can be kept and rebuilt by itself. `network` is `{"path": ..., "config": ...}`."""

    def __init__(self, *, network: dict[str, Any], split: str, side: Side) -> None:
        from orchestrator.trial import locate

        super().__init__()
        self._take(locate(network["path"])(**network["config"]), split, side)

    @classmethod
    def of(cls, network: Network, split: str, side: Side) -> Piece:
        """A view of a network's own layers."""
        piece = cls.__new__(cls)
        nn.Module.__init__(piece)
        piece.__dict__["config"] = {"network": {"path": network.path, "config": network.config}, "split": split, "side": side}
        piece._take(network, split, side)
        return piece

    def _take(self, network: Network, split: str, side: Side) -> None:
        pieces = network.pieces()
        names = list(pieces)
        if split not in names[:-1]:
            raise InputError(f"{type(network).__name__} has no split point {split!r}. {nearest(split, names[:-1])}")
        cut = names.index(split) + 1
        chosen = names[:cut] if side == "extractor" else names[cut:]
        self.layers = nn.Sequential(OrderedDict((n.replace(".", "_"), pieces[n]) for n in chosen))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layers(x))
