"""Which ingredient makes two networks compatible, and at which split, on scikit-learn's digits?

The setting of the digits table in our specification of Compatible Features (Gygli et al. 2020): two
tasks of nine digits, eight of them common, 600 disjoint training images each, about 300 steps.
Rotated images enter batch norm's statistics as in the table; two ingredients also without.
"""

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, digits, product, union

SPLITS = ["stem", "stage1", "stage2", "stage3"]
COMMON = {"split": SPLITS, "transforms": "dihedral", "epochs": 33}

networks = union(
    CompatibleFeatures.grid(
        ingredients=[
            *[(), ("rotation",), ("common",), ("rotation", "common"), ("identical",)],
            *[
                ("rotation", "identical"),
                ("common", "identical"),
                ("rotation", "common", "identical"),
            ],
        ],
        identical_part="full",
        rotated_statistics=True,
        **COMMON,
    ),
    CompatibleFeatures.grid(
        ingredients=("identical",), identical_part="extractor", rotated_statistics=True, **COMMON
    ),
    CompatibleFeatures.grid(
        ingredients=[("rotation",), ("rotation", "common")],
        identical_part="full",
        rotated_statistics=False,
        **COMMON,
    ),
)

sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(of=networks),
        network=resnet8(),
        tasks=(
            digits.classes(*range(9)).images(0, of=2).drawn().validation(0).named("a"),
            digits.classes(*range(8), 9).images(1, of=2).drawn().validation(0).named("b"),
        ),
        seed=range(5),
    ),
    expect=220,
)
