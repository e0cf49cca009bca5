"""Four-way image transforms for self-supervised prediction."""

from __future__ import annotations

import torch
from torch import Tensor


def rotate(x: Tensor, which: Tensor) -> Tensor:
    """Each square image of x [B, C, H, W] turned by `which` [B] times 90 degrees (Gidaris et al.
    2018, arXiv:1803.07728).
    """
    return choose([x, x.rot90(1, (2, 3)), x.rot90(2, (2, 3)), x.rot90(3, (2, 3))], which)


def dihedral(x: Tensor, which: Tensor) -> Tensor:
    """Each square image of x [B, C, H, W] as it is, transposed, flipped vertically or turned by 270
    degrees, for `which` [B] = 0, 1, 2, 3. For digits, where 0, 1 and 8 look the same upside down
    and 6 becomes 9.
    """
    return choose([x, x.transpose(2, 3), x.flip(2), x.rot90(3, (2, 3))], which)


def choose(variants: list[Tensor], which: Tensor) -> Tensor:
    """For each image its variant number `which` [B]."""
    # A gather of fixed shape: no branch depends on the data, so many seeds can be one fit.
    return torch.stack(variants)[which, torch.arange(len(which), device=which.device)]
