"""A residual network as nodes and blocks: what a method has to know that takes blocks out or puts
something beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from methods.pieces.cost import Cost, output_and_cost
from orchestrator import InputError, Network, NetworkSpec
from orchestrator.spec.canonical import canonical_json
from orchestrator.spec.trial import locate

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Backbone:
    """A residual network taken apart. Node 0 is the stem's output, node l the output of block l
    (from 1); `nodes` are their shapes [C, H, W].

    `stem`, `blocks` and `pool` are names of pieces, `labels` what people call the blocks. Costs are
    for one image; `paper_stem` counts the stem at the resolution behind its pooling. `bottleneck`
    says that blocks are of the three-layer kind.
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
    """Whether a piece is a residual block: it has `sum_before_relu`, or it is one of torchvision's."""
    return hasattr(block, "sum_before_relu") or all(
        hasattr(block, name) for name in ("conv1", "bn1", "conv2", "bn2", "relu", "downsample")
    )


def sum_before_relu(block: Any, x: Tensor) -> Tensor:
    """A residual block's sum before its last ReLU."""
    if hasattr(block, "sum_before_relu"):
        return cast(Tensor, block.sum_before_relu(x))
    y = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    if hasattr(block, "conv3"):
        y = block.bn3(block.conv3(block.relu(y)))
    return cast(Tensor, y + (x if block.downsample is None else block.downsample(x)))


def apply_pieces(pieces: Mapping[str, nn.Module], names: Sequence[str], x: Tensor) -> Tensor:
    """`x` through these pieces of a network, one after another."""
    for name in names:
        x = pieces[name](x)
    return x


def backbone_of(network: Mapping[str, Any], image: Sequence[int]) -> Backbone:
    """The backbone of a network given as `{"path": ..., "config": ...}`, for images [C, H, W].
    Raises InputError for one without residual blocks.
    """
    return _backbone(network["path"], canonical_json(network["config"]), tuple(image))


@lru_cache(maxsize=64)
def _backbone(path: str, config: str, image: tuple[int, ...]) -> Backbone:
    with torch.device("meta"):
        network = build_network({"path": path, "config": json.loads(config)})
    return take_apart(network.eval(), image)


def build_network(network: Mapping[str, Any]) -> Network:
    """A network from `{"path": ..., "config": ...}`, without a trace in torch's random numbers."""
    with torch.random.fork_rng(devices=[]):
        return cast(Network, locate(network["path"])(**network["config"]))


def count_blocks(network: NetworkSpec) -> int:
    """Residual blocks of a network as a sweep writes it. Raises InputError for one that has
    none.
    """
    return backbone_of(
        {"path": network.path, "config": {**dict(network.settings), "channels": 3, "classes": 2}},
        (3, 64, 64),
    ).num_blocks


def take_apart(network: Network, image: Sequence[int]) -> Backbone:
    """The backbone of a network on the meta device."""
    pieces = network.pieces()
    names = list(pieces)
    found = [i for i, name in enumerate(names) if is_residual(pieces[name])]
    if not found or found != list(range(found[0], found[-1] + 1)):
        raise InputError(
            f"{type(network).__name__} is no stem, residual blocks one behind another, and a pooling; its pieces are {', '.join(names)}"
        )
    stem, blocks, pool = (
        names[: found[0]],
        names[found[0] : found[-1] + 1],
        names[found[-1] + 1 : -1],
    )
    x = torch.zeros(1, *image, device="meta")
    start, stem_cost = output_and_cost(nn.Sequential(*(pieces[n] for n in stem)), x)
    _, paper_stem = output_and_cost(
        nn.Sequential(*(pieces[n] for n in stem)), x, area=start.shape[2:].numel()
    )
    nodes, costs, out = [start], [], start
    for name in blocks:
        out, cost = output_and_cost(pieces[name], out)
        nodes.append(out)
        costs.append(cost)
    features = output_and_cost(nn.Sequential(*(pieces[n] for n in pool)), out)[0].shape[1]
    shapes = tuple(cast(Shape, tuple(n.shape[1:])) for n in nodes)
    return Backbone(
        tuple(stem),
        tuple(blocks),
        tuple(pool),
        _labels(blocks),
        shapes,
        features,
        stem_cost,
        paper_stem,
        tuple(costs),
        hasattr(pieces[blocks[0]], "conv3"),
    )


def _labels(blocks: Sequence[str]) -> tuple[str, ...]:
    """`2.1`: stage and number within it, short enough for a column's head."""
    stages = [name.partition(".")[0] for name in blocks]
    return tuple(
        f"{stage.removeprefix('stage')}.{stages[: i + 1].count(stage)}"
        for i, stage in enumerate(stages)
    )
