"""Where do two networks trained on digits fit together, and by which recipe?"""

import os

from pairs import Pair, Tiny
from science import RECIPES, SPLITS

from methods.recombine import Recombine
from orchestrator import Sweep, digits, network_spec, product

seeds = [int(seed) for seed in os.environ.get("PEERS_SEEDS", "0 1 2").split()]

sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(of=Pair.grid(recipe=RECIPES, split=SPLITS)),
        network=network_spec(Tiny),
        tasks=(digits.images(0, of=2).named("a"), digits.images(1, of=2).named("b")),
        seed=seeds,
    ),
    expect=12 * len(seeds),
)
