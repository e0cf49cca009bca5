"""Backbones by name. Each function gives what a sweep writes (a `NetworkSpec`); the module is built
in the worker.
"""

from methods.networks.fcn import small_fcn
from methods.networks.mobilenet import small_mobilenet
from methods.networks.projected import projected
from methods.networks.resnet import cifar_resnet, resnet8, resnet20, resnet56
from methods.networks.torchvision import torchvision_network
from methods.networks.vgg import small_vgg

__all__ = [
    "cifar_resnet",
    "projected",
    "resnet8",
    "resnet20",
    "resnet56",
    "small_fcn",
    "small_mobilenet",
    "small_vgg",
    "torchvision_network",
]
