"""What a frozen extractor makes of images, computed once where no epoch would differ."""

from __future__ import annotations

import math

import torch
from torch import nn

from orchestrator import Data, Features, Run

LARGEST = 2**30  # bytes of features


def features_or_images(run: Run, extractor: nn.Module, images: Data) -> Data | Features:
    """The features of a net that stays in eval mode, or the images themselves where these are
    augmented, or where the features would take too much memory.
    """
    if images.augmentation != "none":
        return images
    extractor.to(run.device).eval()
    with torch.no_grad():
        one = extractor(torch.zeros(1, *run.image(images.task), device=run.device))
    if 4 * run.count(images) * math.prod(one.shape[1:]) > LARGEST:
        return images
    return run.features(extractor, images)
