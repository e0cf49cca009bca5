"""The data sets that a sweep can name. Nothing is read and nothing heavy is imported here."""

from __future__ import annotations

from orchestrator.errors import DataError, nearest
from orchestrator.task import Task

TORCHVISION_SETS = ("MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "SVHN", "STL10", "USPS")

digits = Task(data="digits")
"""scikit-learn's digits: 1,797 real 8x8 grey images of 10 classes that ship with the package; 1,200 to train and 597 to test, our own fixed split."""


def torchvision_set(name: str) -> Task:
    """One of torchvision's sets by its class name, read from the data root (`--data`, `SPOLIA_DATA`); never downloaded."""
    if name not in TORCHVISION_SETS:
        raise DataError(f"no torchvision set {name!r} is known here. {nearest(name, TORCHVISION_SETS)}")
    return Task(data=f"torchvision/{name}")
