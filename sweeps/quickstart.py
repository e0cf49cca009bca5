"""Does the place of the split decide how compatible two networks become?

Two small residual networks learn to read overlapping sets of handwritten digits, from disjoint
images. Then each is cut in two, and the front of one is joined to the back of the other. Compatible
Features (Gygli et al. 2020) on scikit-learn's digits: a few minutes on a laptop without a GPU.
"""

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, claims, digits, product

SPLITS = ["stem", "stage2", "pool"]
networks = CompatibleFeatures.grid(
    ingredients=[(), ("rotation",), ("common",), ("identical",)],
    split=SPLITS,
    transforms="dihedral",
    epochs=30,
)


def at(ingredients: str, split: str) -> dict[str, str]:
    return {"ingredients": ingredients, "split": split}


# Compatibility is 0 at chance, and 1 where a head does as well behind the other network's extractor
# as behind its own.
sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(of=networks),
        network=resnet8(width=8),
        tasks=(
            digits.classes(0, 1, 2, 3, 4, 5, 6, 7).images(0, of=2).named("a"),
            digits.classes(0, 1, 2, 3, 4, 5, 8, 9).images(1, of=2).named("b"),
        ),
        seed=range(3),
    ),
    expect=36,
    claims=[
        *(
            claims.Spread(
                metric="compatibility",
                axis="split",
                above=0.3,
                where={"ingredients": ingredient},
                paper="C3",
            )
            for ingredient in ("rotation", "common", "identical")
        ),
        *(
            claims.Within(
                metric="compatibility", where=at("none", split), above=-0.15, below=0.15, paper="C2"
            )
            for split in SPLITS
        ),
        *(
            claims.Higher(
                metric="compatibility",
                where=at("identical", split),
                than=at("none", split),
                paper="C4",
            )
            for split in SPLITS
        ),
    ],
)
