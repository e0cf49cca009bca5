"""Any network with features of one agreed shape, so that networks of different architectures can be
cut at one place and joined.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from methods.networks.pooling import AveragedTo
from orchestrator import ClassPath, InputError, Network, NetworkSpec, class_at, nearest

COMMON = "common"
REVISION = 2  # of the projection itself; 2: pooling with gradients that repeat on a GPU


class Projected(Network):
    """The stages of the network `of` up to the split point `behind`; then `common`: adaptive
    average pooling to `size` x `size`, a 1x1 convolution to `features` channels, batch norm, ReLU;
    then pooling and a linear classifier.

    The projection belongs to the extractor (Gygli et al. 2020, second application, as we
    reconstruct it). `of` is `module:Class` of the network, `inner` its settings. Features
    of an image at `common` are [features, size, size], at pool [features]; at split points before
    them as in `of`, where a dot in the name is an underscore here.
    """

    def __init__(
        self,
        *,
        of: ClassPath,
        inner: dict[str, Any],
        behind: str,
        features: int = 64,
        size: int = 4,
        channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        # Its classifier is thrown away.
        network = class_at(of, Network)(**inner, channels=channels, classes=2)
        if type(network).forward is not Network.forward:
            raise InputError(
                f"{type(network).__name__} has a forward of its own, which a projection, made of "
                "its stages alone, would leave out"
            )
        # [C, H, W] at the cut; of any image, C is wanted
        shape = network.shape(behind, (channels, 64, 64))
        if len(shape) != 3:
            raise InputError(
                f"{type(network).__name__} has features of shape {shape} behind {behind!r}; "
                "a projection needs height and width"
            )
        convolution = nn.Conv2d(shape[0], features, 1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        projection = nn.Sequential(
            AveragedTo(size), convolution, nn.BatchNorm2d(features), nn.ReLU()
        )
        stages = _stages_before(network, behind)
        stages[COMMON] = projection
        stages["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        stages["classifier"] = nn.Linear(features, classes)
        self.set_stages(stages)

    def pretrained(self) -> Mapping[str, Tensor] | None:
        """Trained weights of the network that is projected, where it starts from any; the
        projection itself always starts from random weights.
        """
        network = class_at(self.config["of"], Network)(
            **self.config["inner"], channels=self.config["channels"], classes=2
        )
        trained = network.pretrained()
        if trained is None:
            return None
        network.take(trained)
        stages = nn.ModuleDict(_stages_before(network, self.config["behind"]))
        # Stages have the same names here and there, so trained values replace those drawn.
        state = {**self.state_dict(), **stages.state_dict()}
        return {name: v for name, v in state.items() if not name.startswith("classifier.")}


def _stages_before(network: Network, behind: str) -> dict[str, nn.Module]:
    """The pieces up to a split point. Names of modules have no dot, so a block is `stage1_block1`
    here.
    """
    pieces = network.pieces()
    names = list(pieces)
    return {name.replace(".", "_"): pieces[name] for name in names[: names.index(behind) + 1]}


def projected(
    network: NetworkSpec, *, behind: str, features: int = 64, size: int = 4
) -> NetworkSpec:
    """A network cut after one of its split points, with features of `features` x `size` x `size`
    at a new one, `common`, and a linear classifier.

    Raises InputError for a split point that the network lacks.
    """
    if behind not in network.splits:
        raise InputError(
            f"projected({network.name}): there is no split point {behind!r}. "
            f"{nearest(behind, network.splits)}"
        )
    if features < 1 or size < 1:
        raise InputError(
            f"projected({network.name}): features={features} and size={size} leave nothing"
        )
    kept = [name.replace(".", "_") for name in network.splits[: network.splits.index(behind) + 1]]
    # Settings at their defaults stay out of the key, as they do in the network's own; its class is
    # always at its default, since the name says which it is.
    defaults: tuple[tuple[str, Any], ...] = (
        ("of", network.path),
        ("inner", dict(network.defaults)),
        ("features", 64),
        ("size", 4),
    )
    settings = (
        ("of", network.path),
        ("inner", dict(network.settings)),
        ("behind", behind),
        ("features", features),
        ("size", size),
    )
    return NetworkSpec(
        name=f"projected_{network.name}",
        path="methods.networks.projected:Projected",
        settings=settings,
        defaults=defaults,
        splits=(*kept, COMMON, "pool"),
        revision=network.revision + REVISION - 1,
        moved_from=network.moved_from,
        trained_with=network.trained_with,
        class_places=("of", *(f"inner.{place}" for place in network.class_places)),
    )
