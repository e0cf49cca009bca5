"""Networks from their recipes, `{"path": "module:Class", "config": {...}}`.

A component is stored with its recipe, and a part that belongs to a network has the recipe of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from orchestrator import Network, NetworkSpec, Part, class_at


def recipe_of(network: Part) -> dict[str, Any]:
    """What `build_network` needs to build a network of the same shape."""
    return {"path": network.path, "config": network.config}


def build_network(recipe: Mapping[str, Any]) -> Network:
    """A network as its recipe says; torch's random numbers stay where they were."""
    # Its weights are thrown away or overwritten: nobody's
    # draws may depend on how often one was built.
    with torch.random.fork_rng(devices=[]):
        return class_at(recipe["path"], Network)(**recipe["config"])


def example_recipe(spec: NetworkSpec) -> dict[str, Any]:
    """The recipe of a network as a sweep writes it, for colour images of two classes: enough to
    look at its layers while planning.
    """
    return {"path": spec.path, "config": {**dict(spec.settings), "channels": 3, "classes": 2}}


_EXAMPLES: dict[tuple[type[Network], str], Network] = {}  # by class and settings


def example_network(spec: NetworkSpec) -> Network:
    """The network of that recipe, without weights (on torch's device `meta`), to be looked at and
    not to be changed: whoever asks for the same one gets the same one, since a plan asks for it in
    every trial.
    """
    recipe = example_recipe(spec)
    # A class that a notebook has defined anew is another one.
    key = class_at(recipe["path"], Network), json.dumps(recipe["config"], sort_keys=True)
    if key not in _EXAMPLES:
        with torch.device("meta"):
            _EXAMPLES[key] = build_network(recipe)
    return _EXAMPLES[key]
