"""How similar the features of two networks are, with no head involved."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from orchestrator import Data, Run, in_order


@torch.no_grad()
def features_of(run: Run, extractor: nn.Module, data: Data, count: int) -> Tensor:
    """Features of the first `count` images of a part, [N, D], on the CPU."""
    extractor.to(run.device).eval()
    features: list[Tensor] = []
    num_left = count
    for x, _ in in_order(data, run.device):
        features.append(extractor(x[:num_left]).flatten(1).cpu())
        num_left -= len(features[-1])
        if num_left <= 0:
            break
    return torch.cat(features)


def linear_cka(features: Sequence[Tensor]) -> Tensor:
    """Linear centred kernel alignment of every two of n extractors [n, n], from 0 to 1. `features`
    are those of the same images, [N, D] each; D may differ.

    Kornblith, Norouzi, Lee, Hinton: Similarity of Neural Network Representations Revisited, ICML
    2019, section 3; the biased estimator. Computed from N x N Gram matrices, so that wide features
    cost no more than narrow ones. NaN for features that are the same for all images.
    """
    grams = []
    for matrix in features:
        centred = matrix.double() - matrix.double().mean(0)
        gram = centred @ centred.T  # [N, N]
        grams.append((gram / gram.norm()).flatten())
    stacked = torch.stack(grams)  # [n, N * N]
    return stacked @ stacked.T
