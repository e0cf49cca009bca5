"""How alike the features of two networks are, with no head involved."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from orchestrator import Data, Run, in_order


@torch.no_grad()
def features_of(run: Run, extractor: nn.Module, data: Data, count: int) -> Tensor:
    """Features of the first `count` images of a part, [N, D], on the CPU."""
    extractor.to(run.device).eval()
    found: list[Tensor] = []
    for x, _ in in_order(data, run.device):
        found.append(extractor(x[: count - sum(map(len, found))]).flatten(1).cpu())
        if sum(map(len, found)) >= count:
            break
    return torch.cat(found)


def linear_cka(features: Sequence[Tensor]) -> Tensor:
    """Linear centred kernel alignment of every two of these features of the same images, each [N,
    D], D may differ: [n, n] from 0 to 1.

    Kornblith, Norouzi, Lee, Hinton: Similarity of Neural Network Representations Revisited, ICML
    2019, section 3; the biased estimator. Computed from N x N Gram matrices, so that wide features
    cost no more than narrow ones. NaN for features that are the same for all images.
    """
    grams = []
    for one in features:
        centred = one.double() - one.double().mean(0)
        gram = centred @ centred.T
        grams.append((gram / gram.norm()).flatten())
    stacked = torch.stack(grams)
    return stacked @ stacked.T
