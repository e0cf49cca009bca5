"""Does rotation alone make networks compatible that have no class in common, once it is trained
long and weighs enough? (C7)

Compatible Features (Gygli et al. 2020) on CIFAR-10 (a JPEG re-encoding), the two tasks of
compatible_splits without a common class: 30 epochs, weights of the rotation loss 1 and 3, networks
drawn as torch draws them.
"""

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, claims, parquet, product, union

cifar = parquet("cifar10").resized(16)
tasks = (
    cifar.classes(0, 1, 2, 3, 4).images(0, of=2, limit=1800).drawn().named("low"),
    cifar.classes(5, 6, 7, 8, 9).images(1, of=2, limit=1800).drawn().named("high"),
)
FIT = {"split": ["stage1", "stage2"], "epochs": 30, "batch": 32, "lr": 0.05}
SPLITS, WEIGHTS = ("stage1", "stage2"), (1.0, 3.0)

sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(
            of=union(
                CompatibleFeatures.grid(ingredients=[()], **FIT),
                CompatibleFeatures.grid(
                    ingredients=[("rotation",)], rotation_weight=list(WEIGHTS), **FIT
                ),
            )
        ),
        network=resnet8(init="torch"),
        tasks=tasks,
        seed=range(5),
    ),
    expect=30,
    claims=[
        claims.Higher(
            metric="recombined_accuracy_by_head",
            where={"ingredients": "rotation", "rotation_weight": weight, "split": split},
            than={"ingredients": "none", "split": split},
            paper="C7",
        )
        for weight in WEIGHTS
        for split in SPLITS
    ],
)
