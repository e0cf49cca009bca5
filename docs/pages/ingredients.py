"""Which split is best for which ingredient, and is it significant?

Two small residual networks learn to read overlapping sets of handwritten digits, from disjoint
images, and are joined at the split.
"""

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, claims, digits, product

INGREDIENTS = ["none", "rotation", "common", "identical"]
SPLITS = ["stem", "stage1", "stage2", "stage3", "pool"]
networks = CompatibleFeatures.grid(
    ingredients=[(), ("rotation",), ("common",), ("identical",)],
    split=SPLITS,
    epochs=[4, 8, 16],
)
sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(of=networks),
        network=resnet8(width=4),
        tasks=(
            digits.classes(0, 1, 2, 3).images(0, of=2).named("a"),
            digits.classes(0, 1, 4, 5).images(1, of=2).named("b"),
        ),
        seed=range(5),
    ),
    expect=300,
    claims=[
        claims.Spread(
            metric="compatibility",
            axis="split",
            above=0.3,
            where={"ingredients": one, "epochs": 16},
        )
        for one in INGREDIENTS
    ]
    + [
        claims.Higher(
            metric="compatibility",
            where={"ingredients": one, "split": "pool", "epochs": 16},
            than={"ingredients": one, "split": "stem", "epochs": 16},
        )
        for one in INGREDIENTS
    ],
)
