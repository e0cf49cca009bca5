"""A large sweep for `commands.py`, which makes up its results: nothing of it is trained."""

from __future__ import annotations

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, claims, digits, product

networks = CompatibleFeatures.grid(
    ingredients=[(), ("rotation",), ("common",), ("identical",)],
    split=["stem", "stage1", "stage2", "stage3", "pool"],
    epochs=30,
)

sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(of=networks),
        network=resnet8(width=8),
        tasks=(digits.classes(0, 1, 2, 3).named("a"), digits.classes(0, 1, 4, 5).named("b")),
        seed=range(15),
    ),
    expect=300,
    claims=[
        claims.Spread(
            metric="compatibility", axis="split", above=0.3, where={"ingredients": ingredients}
        )
        for ingredients in ("none", "rotation", "common", "identical")
    ],
)
