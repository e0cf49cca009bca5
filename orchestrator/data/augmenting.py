"""Random changes of training images: drawn by name for a whole epoch, applied to batches on the
device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from orchestrator.spec.preparation import Augmentation

# Of a random resized crop, as in torchvision's transform of that name (Szegedy et al. 2015).
SMALLEST_AREA = 0.08  # as a share of the image's
NARROWEST, WIDEST = 3 / 4, 4 / 3  # width over height
TRIES = 10  # boxes drawn for an image before it is taken from the middle


def margin_of(how: Augmentation, height: int, width: int) -> int:
    """By how many pixels an image is moved at most, in each direction."""
    if how != "crop and flip":
        return 0
    return max(1, round(min(height, width) / 8))


@dataclass(frozen=True)
class Changes:
    """What is drawn for images in the order in which they are read, on the device; None where
    nothing is.

    `shifts` [N, 2] are down and right, from 0 to 2 `margin`; `boxes` [N, 4] the parts that are
    scaled up: top, left, height, width in pixels; `flips` [N] whether an image is mirrored.
    """

    margin: int = 0
    shifts: Tensor | None = None
    boxes: Tensor | None = None
    flips: Tensor | None = None

    def of(self, some: slice) -> Changes:
        """Those of some of the images."""

        def part(drawn: Tensor | None) -> Tensor | None:
            return None if drawn is None else drawn[some]

        shifts, boxes, flips = part(self.shifts), part(self.boxes), part(self.flips)
        return replace(self, shifts=shifts, boxes=boxes, flips=flips)

    def applied(self, x: Tensor) -> Tensor:
        """Pixels [B, C, H, W] of 0..255 changed; floats where boxes were scaled."""
        if self.shifts is not None:
            x = _shifted(x, self.shifts, self.margin)
        if self.boxes is not None:
            x = _resized_crops(x.float(), self.boxes)
        if self.flips is not None:
            x = torch.where(self.flips.view(-1, 1, 1, 1), x.flip(-1), x)
        return x


def draw_changes(
    how: Augmentation,
    total: int,
    size: tuple[int, int],
    generator: Callable[[str], torch.Generator],
    device: torch.device,
) -> Changes:
    """Changes of `total` images of height and width `size`. `generator` gives a stream of random
    numbers by name; each kind of change has its own.
    """
    if how == "none":
        return Changes()
    # On the CPU, whatever the device: its streams are the same everywhere.
    flips = (torch.rand(total, generator=generator("flip")) < 0.5).to(device)
    if how == "random resized crop":
        boxes = _drawn_boxes(total, size, generator("box")).to(device)
        return Changes(boxes=boxes, flips=flips)
    margin = margin_of(how, *size)
    if not margin:
        return Changes(flips=flips)
    shifts = torch.randint(2 * margin + 1, (total, 2), generator=generator("crop"))
    return Changes(margin=margin, shifts=shifts.to(device), flips=flips)


def _drawn_boxes(total: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """[total, 4]: for each image the first of several drawn boxes that lies inside it, else the
    largest in its middle whose sides are not too unlike.
    """
    height, width = size
    drawn = torch.rand(total, TRIES, 4, generator=generator)  # area, ratio, down, right
    area = height * width * (SMALLEST_AREA + (1 - SMALLEST_AREA) * drawn[..., 0])
    least, most = math.log(NARROWEST), math.log(WIDEST)
    ratio = (least + (most - least) * drawn[..., 1]).exp()
    wide, tall = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()  # [total, TRIES]
    fits = (wide >= 1) & (wide <= width) & (tall >= 1) & (tall <= height)
    down = (drawn[..., 2] * (height - tall + 1)).floor()
    right = (drawn[..., 3] * (width - wide + 1)).floor()
    boxes = torch.stack([down, right, tall, wide], -1)  # [total, TRIES, 4]
    first = fits.float().argmax(1)  # argmax takes the first of several
    chosen = boxes[torch.arange(total), first]
    middle_high = min(height, round(width / NARROWEST))
    middle_wide = min(width, round(height * WIDEST))
    middle = torch.tensor(
        [(height - middle_high) // 2, (width - middle_wide) // 2, middle_high, middle_wide],
        dtype=chosen.dtype,
    )
    return torch.where(fits.any(1, keepdim=True), chosen, middle)


def _resized_crops(x: Tensor, boxes: Tensor) -> Tensor:
    """Of each image [B, C, H, W] its box [B, 4], scaled bilinearly to the image's own size."""
    height, width = x.shape[-2:]
    down, right, high, wide = boxes.unbind(1)
    # grid_sample's coordinates run from -1 to 1 over an image's outer edges.
    theta = torch.zeros(len(x), 2, 3, device=x.device)
    theta[:, 0, 0], theta[:, 0, 2] = wide / width, (2 * right + wide) / width - 1
    theta[:, 1, 1], theta[:, 1, 2] = high / height, (2 * down + high) / height - 1
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def padded(x: Tensor, margin: int) -> Tensor:
    """[B, C, H, W] with `margin` pixels of zeros on all sides."""
    return F.pad(x, (margin, margin, margin, margin))


def _shifted(x: Tensor, shifts: Tensor, margin: int) -> Tensor:
    """Each image moved by its own offsets, zeros coming in: x [B, C, H, W], shifts [B, 2] in
    0..2*margin.
    """
    height, width = x.shape[-2:]
    wider = padded(x, margin)
    down = shifts[:, :1] + torch.arange(height, device=x.device)
    right = shifts[:, 1:] + torch.arange(width, device=x.device)
    image = torch.arange(len(x), device=x.device)
    # Indexing [B, H, W] positions with the channels in between puts them last; they go back to
    # second place.
    return wider[image[:, None, None], :, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)


def cut(ready: Tensor, index: Tensor, changes: Changes) -> Tensor:
    """A batch [B, C, H, W], channels last in memory, of images that are normalised and padded
    already: rows of the set, each at its own offset and perhaps mirrored. No boxes.
    """
    if changes.shifts is None and changes.flips is None:
        return ready[index].permute(0, 3, 1, 2)
    height, width = ready.shape[1] - 2 * changes.margin, ready.shape[2] - 2 * changes.margin
    down = torch.arange(height).expand(len(index), -1)  # [B, H]
    right = torch.arange(width).expand(len(index), -1)  # [B, W]
    if changes.flips is not None:
        right = torch.where(changes.flips[:, None], right.flip(1), right)
    if changes.shifts is not None:
        down, right = down + changes.shifts[:, :1], right + changes.shifts[:, 1:]
    return ready[index[:, None, None], down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)
