"""How images are prepared for a network: the statistics that they are normalised by, and how they
are augmented. Values only; a task and a method name them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from orchestrator.spec.settings import axis

Normalisation = Literal["own", "base", "imagenet"]
Augmentation = Literal["none", "flip", "crop and flip", "random resized crop"]

NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel of images scaled to [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def over(self, channels: int) -> Statistics | None:
        """The same for images of so many channels: those of one grey channel hold for each of
        several equal ones. None where the numbers do not fit.
        """
        if len(self.mean) == channels:
            return self
        if len(self.mean) != 1:
            return None
        return Statistics(self.mean * channels, self.std * channels)

    def to_json(self) -> dict[str, list[float]]:
        """The statistics as plain JSON."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @staticmethod
    def from_json(value: Any) -> Statistics:
        """Statistics from their `to_json()`."""
        return Statistics(tuple(value["mean"]), tuple(value["std"]))


IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Those that torchvision's published weights were trained with (`transforms` of every
`torchvision.models.*_Weights`, and its training script, `references/classification/presets.py`)."""


def augmentation_axis() -> Any:
    """The setting with which a method says how it augments the images that it trains on. Every
    method that augments has it under this one name, and hands it to `task.train.augmented(...)`::

        augmentation: Augmentation = augmentation_axis()

    A method whose images have to stay as they are has none.
    """
    return axis(
        "none",
        over=AUGMENTATIONS,
        help="random changes of each training image, drawn anew in each epoch: mirrored or not; "
        "also moved by up to an eighth of its side; or a part of it, scaled up, mirrored or not",
    )
