"""Which weights of a network a method masks or shares out among tasks."""

from __future__ import annotations

from typing import Literal

from torch import nn

from orchestrator import Network

Layers = Literal["all", "convolutions"]


def maskable_weights(
    network: Network, layers: Layers = "all", after: str | None = None
) -> list[str]:
    """Names of the weights of convolutions and linear layers, except the classifier, or of
    convolutions only; with `after`, only of layers after this split point. Biases and batch norms
    are never among them (Piggyback and PackNet, both by Mallya et al. 2018).
    """
    kinds: tuple[type[nn.Module], ...] = (nn.Conv2d,)
    if layers == "all":
        kinds = (nn.Conv2d, nn.Linear)
    pieces = network.pieces()
    *names, _classifier = pieces
    if after is not None:
        names = names[names.index(after) + 1 :]
    # By identity: a piece knows its layers by other names than the network does.
    inside = {id(module) for name in names for module in pieces[name].modules()}
    return [
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, kinds) and id(module) in inside
    ]
