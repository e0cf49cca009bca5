"""A residual network as nodes and blocks, for methods that remove or bypass blocks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from methods.pieces.building import build_network, example_recipe
from methods.pieces.cost import Cost, output_and_cost
from orchestrator import InputError, Network, NetworkSpec

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Backbone:
    """A residual network taken apart. Node 0 is the stem's output, node l the output of block l
    (from 1); `nodes` are their shapes [C, H, W].

    `stem`, `blocks` and `pool` are names of pieces, `labels` what people call the blocks. Costs are
    for one image; `paper_stem` counts the stem at the resolution after its pooling. `bottleneck`
    says that the blocks have three layers.
    """

    stem: tuple[str, ...]
    blocks: tuple[str, ...]
    pool: tuple[str, ...]
    labels: tuple[str, ...]
    nodes: tuple[Shape, ...]
    features: int
    stem_cost: Cost
    paper_stem: Cost
    block_costs: tuple[Cost, ...]
    bottleneck: bool

    @property
    def num_blocks(self) -> int:
        return len(self.blocks)

    def stages(self) -> list[str]:
        """The stage of each block."""
        return [name.partition(".")[0] for name in self.blocks]


def is_residual(block: nn.Module) -> bool:
    """Whether a piece is a residual block: one that has `sum_before_relu`, or torchvision's."""
    torchvisions = ("conv1", "bn1", "conv2", "bn2", "relu", "downsample")
    return hasattr(block, "sum_before_relu") or all(hasattr(block, n) for n in torchvisions)


def sum_before_relu(block: Any, x: Tensor) -> Tensor:
    """A residual block's sum before its last ReLU."""
    if hasattr(block, "sum_before_relu"):
        return cast(Tensor, block.sum_before_relu(x))
    y = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    if hasattr(block, "conv3"):
        y = block.bn3(block.conv3(block.relu(y)))
    shortcut = x if block.downsample is None else block.downsample(x)
    return cast(Tensor, y + shortcut)


def apply_pieces(pieces: Mapping[str, nn.Module], names: Sequence[str], x: Tensor) -> Tensor:
    """`x` through these pieces of a network, one after another."""
    for name in names:
        x = pieces[name](x)
    return x


def backbone_of(network: Mapping[str, Any], image: Sequence[int]) -> Backbone:
    """The backbone of a network given by its recipe, for images [C, H, W].

    Raises InputError for one without residual blocks.
    """
    config = json.dumps(network["config"], sort_keys=True)  # a cache's key has to be hashable
    return _backbone_of(network["path"], config, tuple(image))


@lru_cache(maxsize=64)
def _backbone_of(path: str, config: str, image: tuple[int, ...]) -> Backbone:
    with torch.device("meta"):  # shapes and costs only: no weight is drawn, no memory taken
        network = build_network({"path": path, "config": json.loads(config)})
    return take_apart(network.eval(), image)


def count_blocks(network: NetworkSpec) -> int:
    """How many residual blocks a network has. Raises InputError for one without any."""
    return backbone_of(example_recipe(network), (3, 64, 64)).num_blocks


def take_apart(network: Network, image: Sequence[int]) -> Backbone:
    """The backbone of a network on the meta device, for images [C, H, W]. Raises InputError for one
    that is no stem, residual blocks one behind another, and a pooling.
    """
    pieces = network.pieces()
    stem, blocks, pool = _stem_blocks_pool(network)
    x = torch.zeros(1, *image, device="meta")  # one image, [1, C, H, W]
    stem_layers = nn.Sequential(*(pieces[name] for name in stem))
    out, stem_cost = output_and_cost(stem_layers, x)
    # Once more, as the paper counts it: every layer at the resolution behind the stem's pooling.
    _, paper_stem = output_and_cost(stem_layers, x, area=out.shape[2:].numel())
    nodes, block_costs = [_shape_of_one(out)], []
    for name in blocks:
        out, cost = output_and_cost(pieces[name], out)
        nodes.append(_shape_of_one(out))
        block_costs.append(cost)
    features, _ = output_and_cost(nn.Sequential(*(pieces[name] for name in pool)), out)
    return Backbone(
        stem=stem,
        blocks=blocks,
        pool=pool,
        labels=_labels(blocks),
        nodes=tuple(nodes),
        features=features.shape[1],
        stem_cost=stem_cost,
        paper_stem=paper_stem,
        block_costs=tuple(block_costs),
        bottleneck=hasattr(pieces[blocks[0]], "conv3"),
    )


def _stem_blocks_pool(
    network: Network,
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names of the pieces before the blocks, of the blocks, and of the pieces between the blocks
    and the classifier.
    """
    pieces = network.pieces()
    names = tuple(pieces)
    places = [i for i, name in enumerate(names) if is_residual(pieces[name])]
    # A gap would be a layer between blocks, which no node stands for.
    if not places or places != list(range(places[0], places[-1] + 1)):
        raise InputError(
            f"{type(network).__name__} is no stem, residual blocks one behind another, "
            f"and a pooling; its pieces are {', '.join(names)}"
        )
    first, behind = places[0], places[-1] + 1
    return names[:first], names[first:behind], names[behind:-1]


def _shape_of_one(batch: Tensor) -> Shape:
    """[1, C, H, W] to (C, H, W)."""
    return cast(Shape, tuple(batch.shape[1:]))


def _labels(blocks: Sequence[str]) -> tuple[str, ...]:
    """`2.1`: stage and number within it, short enough for a column's head."""
    labels: list[str] = []
    num_blocks: dict[str, int] = {}
    for name in blocks:
        stage = name.partition(".")[0]
        num_blocks[stage] = num_blocks.get(stage, 0) + 1
        labels.append(f"{stage.removeprefix('stage')}.{num_blocks[stage]}")
    return tuple(labels)
