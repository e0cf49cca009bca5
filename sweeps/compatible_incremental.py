"""Can a network be made compatible with one that is frozen already, as well as two that are trained
together? (C5)

Compatible Features (Gygli et al. 2020) on CIFAR-10 (a JPEG re-encoding): the tasks, networks and
trainings of `compatible_splits`, which this sweep shares, against incremental training in both
orders.
"""

from typing import Any

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, claims, parquet, product, union

cifar = parquet("cifar10").resized(16)
a = cifar.classes(0, 1, 2, 3, 4, 5, 6, 7).images(0, of=2, limit=1800).drawn().named("a")
b = cifar.classes(0, 1, 2, 3, 4, 5, 8, 9).images(1, of=2, limit=1800).drawn().named("b")
FIT = {"epochs": 10, "batch": 32, "lr": 0.05}
SPLITS = ["stage2", "stage3"]
WAYS = [("common",), ("rotation", "common"), ("rotation", "common", "identical")]
# Networks trained together tell their common classes apart; a first network tells all of its own.
SHARED = ("airplane", "automobile", "bird", "cat", "deer", "dog")


def at(
    ingredients: str, split: str, incremental: bool = True, classes: Any = "-"
) -> dict[str, Any]:
    return {
        "ingredients": ingredients,
        "split": split,
        "incremental": incremental,
        "tasks": (a, b),
        "classes": classes,
    }


PROTOCOLS = ("compatibility", "compatibility_by_head")
NAMES = ("common", "common+rotation", "common+identical+rotation")

sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(
            of=union(
                CompatibleFeatures.grid(
                    ingredients=WAYS, split=SPLITS, incremental=[False, True], **FIT
                ),
                CompatibleFeatures.grid(
                    ingredients=("common",), split=SPLITS, incremental=True, classes=SHARED, **FIT
                ),
                CompatibleFeatures.grid(
                    ingredients=("common", "trained"), split="stage3", incremental=True, **FIT
                ),
            )
        ),
        network=resnet8(),
        tasks=[(a, b), (b, a)],
        seed=range(5),
    ).where(
        lambda cell: (
            cell.tasks[0] is a
            or (cell.of.incremental and cell.of.split == "stage3" and not cell.get("of.classes"))
        ),
        reason="networks that are trained together have no order; "
        "the other order is tried at one split",
    ),
    expect=95,
    claims=[
        *(
            claims.Keeps(
                metric=protocol,
                where=at(way, split),
                of=at(way, split, incremental=False),
                share=0.8,
                paper="C5",
            )
            for protocol in PROTOCOLS
            for way in NAMES
            for split in SPLITS
        ),
        *(
            claims.Keeps(
                metric=protocol,
                where=at("common", split, classes=SHARED),
                of=at("common", split, False),
                share=0.8,
                paper="C5",
            )
            for protocol in PROTOCOLS
            for split in SPLITS
        ),
        *(
            claims.Within(metric=protocol, where=at("common", "stage3"), above=0.5, paper="C5")
            for protocol in PROTOCOLS
        ),
        claims.Higher(
            metric="compatibility",
            where=at("common+trained", "stage3"),
            than=at("common", "stage3"),
            paper="stronger start",
        ),
    ],
)
