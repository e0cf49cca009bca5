"""How many classes must two tasks have in common for their networks to become compatible? (C2, C7)

Compatible Features (Gygli et al. 2020) on CIFAR-100: two tasks of eight classes each, none, two,
four or six of them in common, and the seed draws which of the hundred classes these are.
"""

from typing import Any

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, Task, claims, parquet, product

cifar = parquet("cifar100").resized(16)
NUMBERS = (0, 2, 4, 6)


def tasks(number: int) -> tuple[Task, ...]:
    """Two tasks with so many classes in common, of disjoint images."""
    first = cifar.classes(*range(8)).images(0, of=2)
    second = cifar.classes(*range(8 - number, 16 - number)).images(1, of=2)
    return (
        first.drawn(classes=True).named(f"a{number}"),
        second.drawn(classes=True).named(f"b{number}"),
    )


PAIRS = {number: tasks(number) for number in NUMBERS}
FIT = {"split": "stage3", "epochs": 10, "batch": 32, "lr": 0.05}


def at(ingredients: str, number: int) -> dict[str, Any]:
    return {"ingredients": ingredients, "tasks": PAIRS[number]}


METRIC = "recombined_accuracy_by_head"  # there are images of it, whatever tasks have in common

sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(
            of=CompatibleFeatures.grid(
                ingredients=[
                    (),
                    ("rotation",),
                    ("common",),
                    ("identical",),
                    ("rotation", "identical"),
                ],
                **FIT,
            )
        ),
        network=resnet8(),
        tasks=list(PAIRS.values()),
        seed=range(5),
    ).where(
        lambda cell: "common" not in cell.of.ingredients or cell.tasks is not PAIRS[0],
        reason="without a class in common there is nothing for their head to tell apart",
    ),
    expect=95,
    claims=[
        # More classes in common, more of the head is of use.
        *(
            claims.Higher(
                metric=METRIC,
                where=at("common", more),
                than=at("common", fewer),
                paper="C2, number",
            )
            for more, fewer in ((6, 2), (4, 2), (6, 4))
        ),
        *(
            claims.Higher(metric=METRIC, where=at("common", n), than=at("none", n), paper="C2")
            for n in NUMBERS[1:]
        ),
        # Rotation and identical weights need none.
        *(
            claims.Higher(metric=METRIC, where=at(one, 0), than=at("none", 0), paper="C7")
            for one in ("rotation", "identical", "identical+rotation")
        ),
        claims.Higher(
            metric=METRIC,
            where=at("identical+rotation", 0),
            than=at("identical", 0),
            paper="C7, rotation adds",
        ),
    ],
)
