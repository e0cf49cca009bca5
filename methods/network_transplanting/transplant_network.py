"""Category modules, task modules and the adapters between them.

Zhang, Yang, Yu, Wu: Network Transplanting, 2018, arXiv:1804.10272. The text could not be read in
full; the adapter's layers are reconstructed (specification, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from orchestrator import InputError, Part, Piece, derive

Start = Literal["he", "dirac"]


class Adapter(Part):
    """`depth` 3x3 convolutions with ReLU between features [B, C, H, W] of the same shape; none is
    the identity. `offset` is what calibration adds to the last logit."""

    def __init__(self, *, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                layer
                for _ in range(depth)
                for layer in (nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())
            )
        )
        self.register_buffer("offset", torch.zeros(()))

    @torch.no_grad()
    def begin(self, start: Start, generator: torch.Generator) -> Adapter:
        """Draw the weights (He et al. 2015), or make them the identity on features that are not
        negative; biases are zero.
        """
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                if start == "he":
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                else:
                    nn.init.dirac_(layer.weight)
                nn.init.zeros_(cast(Tensor, layer.bias))
        return self

    @torch.no_grad()
    def move(self, offset: float) -> None:
        cast(Tensor, self.offset).fill_(offset)

    def shifted(self, logits: Tensor) -> Tensor:
        """Logits with the last one moved by the offset."""
        return torch.cat([logits[:, :-1], logits[:, -1:] + cast(Tensor, self.offset)], 1)

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.layers(features))


def adapter_for(features: Sequence[int], depth: int, start: Start, seed: int | None) -> Adapter:
    """A fresh adapter for one image's features [C, H, W]. Raises InputError for features that have
    no height and width.
    """
    if depth and len(features) != 3:
        raise InputError(
            f"features of shape {tuple(features)} have no height and width for a convolution; cut the network before its pooling"
        )
    return Adapter(channels=features[0], depth=depth).begin(
        start, torch.Generator().manual_seed(derive(seed, "adapter"))
    )


class Transplanted(Part):
    """A category module, an adapter and a task module, `pieces` being the configurations of the two
    modules: images to logits.
    """

    def __init__(
        self, *, category: dict[str, Any], adapter: dict[str, Any], task: dict[str, Any]
    ) -> None:
        super().__init__()
        self.category, self.adapter, self.task = (
            Piece(**category),
            Adapter(**adapter),
            Piece(**task),
        )

    @classmethod
    def of(cls, category: Piece, adapter: Adapter, task: Piece) -> Transplanted:
        """A copy of these three."""
        made = cls(category=category.config, adapter=adapter.config, task=task.config)
        for mine, theirs in ((made.category, category), (made.adapter, adapter), (made.task, task)):
            mine.load_state_dict(theirs.state_dict())
        return made.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.adapter.shifted(self.task(self.adapter(self.category(x))))


class TransplantNetwork(Part):
    """A task module and the category modules that are joined to it, each by an adapter of its
    own.
    """

    def __init__(
        self, *, task: dict[str, Any], categories: Mapping[str, Mapping[str, Any]]
    ) -> None:
        super().__init__()
        self.task = Piece(**task)
        self.categories = nn.ModuleDict(
            {name: Piece(**c["category"]) for name, c in categories.items()}
        )
        self.adapters = nn.ModuleDict(
            {name: Adapter(**c["adapter"]) for name, c in categories.items()}
        )

    def with_category(self, name: str, category: Part, adapter: Part) -> TransplantNetwork:
        """The same network with one more category."""
        more = {name: {"category": category.config, "adapter": adapter.config}}
        grown = TransplantNetwork(
            task=self.config["task"], categories={**self.config["categories"], **more}
        )
        grown.load_state_dict(self.state_dict(), strict=False)
        grown.categories[name].load_state_dict(category.state_dict())
        grown.adapters[name].load_state_dict(adapter.state_dict())
        return grown.eval()

    def forward(self, x: Tensor, category: str) -> Tensor:
        """Images [B, C, H, W] of a category's task to logits."""
        adapter = cast(Adapter, self.adapters[category])
        return adapter.shifted(self.task(adapter(self.categories[category](x))))
