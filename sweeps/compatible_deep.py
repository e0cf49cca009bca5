"""Do the ingredients make networks of the usual size compatible? (C1 to C4)

Compatible Features (Gygli et al. 2020) on CIFAR-10 (a JPEG re-encoding) at its 32 x 32 pixels, all
images, ResNet-20, crops and flips; two tasks of eight classes, six of them common. For a GPU.
"""

from typing import Any

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet20
from methods.recombine import Recombine
from orchestrator import Sweep, claims, parquet, product

cifar = parquet("cifar10")
tasks = (
    cifar.classes(0, 1, 2, 3, 4, 5, 6, 7).images(0, of=2).drawn().named("a"),
    cifar.classes(0, 1, 2, 3, 4, 5, 8, 9).images(1, of=2).drawn().named("b"),
)
SPLITS = ["stage1", "stage2", "stage3"]
ALL = ("rotation", "common", "identical")


def at(ingredients: str, split: str) -> dict[str, Any]:
    return {"ingredients": ingredients, "split": split}


sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(
            of=CompatibleFeatures.grid(
                ingredients=[(), ("rotation",), ("common",), ("identical",), ALL],
                split=SPLITS,
                epochs=30,
                batch=128,
                lr=0.1,
                augmentation="crop and flip",
            )
        ),
        network=resnet20(),
        tasks=tasks,
        seed=range(5),
    ),
    expect=75,
    claims=[
        *(
            claims.NoWorse(
                metric="own_accuracy",
                where=at(one, split),
                than=at("none", split),
                by=0.01,
                never=0.02,
                paper="C1",
            )
            for one in ("rotation", "common", "identical", "common+identical+rotation")
            for split in SPLITS
        ),
        *(
            claims.Within(
                metric="compatibility_by_head", where=at("none", split), below=0.15, paper="C2"
            )
            for split in SPLITS
        ),
        *(
            claims.Within(
                metric="compatibility_by_head",
                where=at("common+identical+rotation", split),
                above=0.5,
                paper="C2",
            )
            for split in SPLITS
        ),
        *(
            claims.Spread(
                metric="compatibility_by_head",
                axis="split",
                above=0.3,
                where={"ingredients": one},
                paper="C3",
            )
            for one in ("rotation", "common", "identical")
        ),
        *(
            claims.Higher(
                metric="compatibility_by_head",
                where=at("identical", split),
                than=at("none", split),
                by=0.2,
                paper="C4",
            )
            for split in SPLITS
        ),
    ],
)
