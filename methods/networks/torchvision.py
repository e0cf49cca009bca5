"""torchvision's classifiers by name, cut at split points that nothing bypasses; with pretrained
weights where the user has the file.

Residual networks (He et al. 2016, arXiv:1512.03385), VGG (Simonyan and Zisserman 2015,
arXiv:1409.1556), MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), DenseNet (Huang et al. 2017,
arXiv:1608.06993), as torchvision builds them. Nothing is ever downloaded.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from methods.networks.pooling import AveragedTo
from orchestrator import Blocks, DataError, InputError, Network, NetworkSpec, data_root, nearest

# How many blocks each of the four stages has: what planning has to know without importing
# torchvision.
RESNETS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "wide_resnet50_2": (3, 4, 6, 3),
    "resnext50_32x4d": (3, 4, 6, 3),
}
VGGS = ("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn")
DENSENETS = ("densenet121", "densenet161", "densenet169", "densenet201")
NAMES = (*RESNETS, *VGGS, "mobilenet_v2", *DENSENETS)


def torchvision_network(name: str, *, weights: str | None = None) -> NetworkSpec:
    """A network of torchvision's, for images of any size that it can take; `channels` and classes
    follow from the task.

    `weights` starts it from trained weights: `"NAME-HASH.pth"` as torchvision publishes them
    (`resnet50-11ad3fa6.pth`), looked for in `weights/` of the data root and in torch's own cache.
    The hash is the beginning of the file's SHA-256; it is verified and enters the key. A file of
    your own is named the same way. Trained weights want images of three channels;
    `task.rgb()` makes them of grey ones. Tasks that say nothing are then normalised by ImageNet's
    statistics, as torchvision's files were trained; `task.normalised("own")` for a file that was
    not.
    """
    if name not in NAMES:
        raise InputError(f"no torchvision network {name!r} is known here. {nearest(name, NAMES)}")
    if weights is not None and not re.fullmatch(r"[\w.-]+-[0-9a-f]{8,64}\.pth", weights):
        raise InputError(
            f"weights={weights!r} must be called NAME-HASH.pth, HASH being at least "
            "8 hex digits of its SHA-256 (sha256sum FILE)"
        )
    settings = (("name", name), ("weights", weights))
    return NetworkSpec(
        name=name,
        path="methods.networks.torchvision:TorchvisionNetwork",
        settings=settings,
        defaults=(("name", name), ("weights", None)),
        splits=_splits(name),
        revision=2 if name in VGGS else 1,  # of VGG, 2: pooling of our own
        trained_with="imagenet" if weights else "",
    )


def _splits(name: str) -> tuple[str, ...]:
    if name in RESNETS:
        splits = ["stem"]
        for stage, num_blocks in enumerate(RESNETS[name], start=1):
            splits += [f"stage{stage}.block{block}" for block in range(1, num_blocks)]
            splits.append(f"stage{stage}")
        return (*splits, "pool")
    if name in VGGS:
        return (*(f"stage{s}" for s in range(1, 6)), "pool", "hidden")
    if name == "mobilenet_v2":
        return ("stem", *(f"stage{s}" for s in range(1, 18)), "last", "pool")
    return ("stem", "stage1", "stage2", "stage3", "stage4", "pool")


class TorchvisionNetwork(Network):
    """One of torchvision's networks with our stages. torchvision's own code builds the layers; this
    only cuts them.

    Split points, with the features of an image of 224 x 224 pixels there:

    - residual networks: stem and stage1 at 56 x 56, stage2 28 x 28, stage3 14 x 14, stage4 7 x 7,
      each block of a stage, pool (one number a channel);
    - VGG: stage1 112 x 112 to stage5 7 x 7, pool (all of them in a row), hidden [4096];
    - MobileNetV2: stem 112 x 112, stage1 to stage17 (a stage is one inverted residual) down to
      7 x 7, last [1280, 7, 7], pool [1280];
    - DenseNet: stem 56 x 56, stage1 28 x 28, stage2 14 x 14, stage3 and stage4 7 x 7, pool. The
      transition after a dense block belongs to its stage.
    """

    def __init__(
        self, *, name: str, weights: str | None = None, channels: int = 3, classes: int = 1000
    ) -> None:
        super().__init__()
        model = _model(name, classes)
        if channels != 3:
            _replace_first_convolution(model, channels)
        self.set_stages(_stages(name)(model))

    def pretrained(self) -> Mapping[str, Tensor] | None:
        """Trained weights under this network's names, the classifier's as the file has them; None
        where none were asked for.
        """
        name, weights, channels = (self.config[k] for k in ("name", "weights", "channels"))
        if weights is None:
            return None
        if channels != 3:
            raise DataError(
                f"{weights} was trained on three channels and the task has {channels}; "
                "use task.rgb()"
            )
        state = torch.load(find_weights(weights), map_location="cpu", weights_only=True)
        # The last matrix of all is the classifier's, [classes, features]: as
        # many classes as it was trained on, so that the file fits the model.
        classifier = [value for value in state.values() if value.ndim == 2][-1]
        donor = _model(name, classes=len(classifier))
        donor.load_state_dict({_todays_name(key): value for key, value in state.items()})
        return nn.ModuleDict(_stages(name)(donor)).state_dict()


def find_weights(file: str) -> Path:
    """The weights' file, its SHA-256 verified against its name. Raises DataError that lists where
    it was looked for.
    """
    root = data_root()
    torch_home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
    folders = [torch_home / "hub" / "checkpoints"]
    if root:
        # Ours first: what a project brings goes before what lies in a cache.
        folders = [root / "weights", root, *folders]
    for folder in folders:
        path = folder / file
        if path.is_file():
            _verify(path)
            return path
    listed = ", ".join(str(folder) for folder in folders)
    raise DataError(
        f"there is no {file} in {listed}; weights are never downloaded, put the file there"
    )


def _verify(path: Path) -> None:
    """Raises DataError where a file's SHA-256 does not begin as its name says."""
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    _name, _dash, expected = path.stem.rpartition("-")
    if not digest.startswith(expected):
        raise DataError(
            f"{path} is damaged or another file: its SHA-256 begins {digest[:8]}, "
            "its name says otherwise"
        )


def _model(name: str, classes: int) -> nn.Module:
    """torchvision's own network with random weights."""
    from torchvision import models

    model: nn.Module = getattr(models, name)(weights=None, num_classes=classes)
    return model


def _replace_first_convolution(model: nn.Module, channels: int) -> None:
    """One like it for images of `channels` channels."""
    # The first in the order of registration is the first of the stem in all of these networks.
    for owner in model.modules():
        for name, child in owner.named_children():
            if isinstance(child, nn.Conv2d):
                replacement = nn.Conv2d(
                    channels,
                    child.out_channels,
                    child.kernel_size,  # type: ignore[arg-type]  # torch's stubs
                    child.stride,  # type: ignore[arg-type]  # torch's stubs
                    child.padding,  # type: ignore[arg-type]  # torch's stubs
                    bias=child.bias is not None,
                )
                setattr(owner, name, replacement)
                return


def _todays_name(key: str) -> str:
    """DenseNet's published weights have names of 2017: `norm.1.weight` is `norm1.weight` today."""
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])", r"\1\2", key)


def _stages(name: str) -> Callable[[Any], dict[str, nn.Module]]:
    """What takes a model of torchvision's apart into our stages."""
    if name in RESNETS:
        return _stages_of_resnet
    if name in VGGS:
        return _stages_of_vgg
    return _stages_of_mobilenet if name == "mobilenet_v2" else _stages_of_densenet


def _stages_of_resnet(m: Any) -> dict[str, nn.Module]:
    stages: dict[str, nn.Module] = {"stem": nn.Sequential(m.conv1, m.bn1, m.relu, m.maxpool)}
    for number, layer in enumerate((m.layer1, m.layer2, m.layer3, m.layer4), start=1):
        stages[f"stage{number}"] = Blocks(*layer.children())
    stages["pool"] = nn.Sequential(m.avgpool, nn.Flatten())
    stages["classifier"] = m.fc
    return stages


def _stages_of_vgg(m: Any) -> dict[str, nn.Module]:
    stages: dict[str, nn.Module] = {}
    layers: list[nn.Module] = []
    for layer in m.features:
        layers.append(layer)
        if isinstance(layer, nn.MaxPool2d):  # a stage ends with its pooling
            stages[f"stage{len(stages) + 1}"] = nn.Sequential(*layers)
            layers = []
    *hidden, classifier = m.classifier
    # As torchvision's to 7 x 7, with gradients that repeat on a GPU.
    stages["pool"] = nn.Sequential(AveragedTo((7, 7)), nn.Flatten())
    stages["hidden"] = nn.Sequential(*hidden)
    stages["classifier"] = classifier
    return stages


def _stages_of_mobilenet(m: Any) -> dict[str, nn.Module]:
    stem, *blocks, last = m.features
    stages: dict[str, nn.Module] = {"stem": stem}
    for number, block in enumerate(blocks, start=1):
        stages[f"stage{number}"] = block
    dropout, classifier = m.classifier
    stages["last"] = last
    # Dropout stands before the classifier, which has to be one linear layer.
    stages["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), dropout)
    stages["classifier"] = classifier
    return stages


def _stages_of_densenet(m: Any) -> dict[str, nn.Module]:
    f = m.features
    stages: dict[str, nn.Module] = {"stem": nn.Sequential(f.conv0, f.norm0, f.relu0, f.pool0)}
    stages["stage1"] = nn.Sequential(f.denseblock1, f.transition1)
    stages["stage2"] = nn.Sequential(f.denseblock2, f.transition2)
    stages["stage3"] = nn.Sequential(f.denseblock3, f.transition3)
    # torchvision applies this ReLU in `forward`, where it would be no layer of any stage.
    stages["stage4"] = nn.Sequential(f.denseblock4, f.norm5, nn.ReLU())
    stages["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    stages["classifier"] = m.classifier
    return stages
