"""Four-way image transforms for self-supervised prediction."""

from __future__ import annotations

import torch
from torch import Tensor


def rotate(x: Tensor, which: Tensor) -> Tensor:
    """Each square image [B, C, H, W] turned by `which` [B] times 90 degrees (Gidaris et al. 2018,
    arXiv:1803.07728).
    """
    return _chosen([x, x.rot90(1, (2, 3)), x.rot90(2, (2, 3)), x.rot90(3, (2, 3))], which)


def dihedral(x: Tensor, which: Tensor) -> Tensor:
    """Identity, transpose, vertical flip or rotation by 270 degrees. For digits, where 0, 1 and 8
    look the same upside down and 6 becomes 9.
    """
    return _chosen([x, x.transpose(2, 3), x.flip(2), x.rot90(3, (2, 3))], which)


def _chosen(variants: list[Tensor], which: Tensor) -> Tensor:
    # A gather of fixed shape: no branch depends on the data.
    return torch.stack(variants)[which, torch.arange(len(which), device=which.device)]
