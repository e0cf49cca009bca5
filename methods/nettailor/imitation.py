"""How far a student's activations are from its teacher's.

Morgado and Vasconcelos, NetTailor, CVPR 2019, arXiv:1907.00274, section 3.2 of its specification.
The paper sums squared distances over all block outputs and the logits; the authors' code takes
means and divides by the number of blocks, and so does this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.pieces.residual import Backbone
from orchestrator import Network

Imitated = Literal["local", "end_to_end", "logits"]
Normalised = Literal["none", "variance"]


@torch.no_grad()
def teacher_outputs(
    teacher: Network, backbone: Backbone, x: Tensor
) -> tuple[dict[int, Tensor], Tensor]:
    """Outputs of the teacher's blocks by node (after their ReLU), and its logits."""
    pieces, nodes = teacher.pieces(), {}
    place = {name: number for number, name in enumerate(backbone.blocks, start=1)}
    for name, piece in pieces.items():
        x = piece(x)
        if name in place:
            nodes[place[name]] = x
    return nodes, x


def distance(
    nodes: Mapping[int, Tensor],
    logits: Tensor,
    teacher: tuple[Mapping[int, Tensor], Tensor],
    num_blocks: int,
    by: Normalised,
) -> Tensor:
    """Mean squared distances over these nodes and the logits, summed and divided by the number of
    blocks. `by` "variance" divides each by the variance of the teacher's activations in the batch,
    which makes it free of their scale (ours, not the paper's)."""
    wanted, wanted_logits = teacher
    pairs = [
        (logits, wanted_logits),
        *((x, wanted[node]) for node, x in nodes.items() if node in wanted),
    ]
    terms = [
        F.mse_loss(x, t) / (t.var(correction=0) + 1e-6 if by == "variance" else 1.0)
        for x, t in pairs
    ]
    return torch.stack(terms).sum() / num_blocks
