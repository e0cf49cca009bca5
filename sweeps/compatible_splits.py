"""Which ingredient makes two networks compatible, where are they best cut, and does compatibility
cost accuracy? (C1, C2, C3, C4, C6, C7)

Compatible Features (Gygli et al. 2020) on CIFAR-10 (a JPEG re-encoding) at 16 x 16 pixels, resnet8,
1,620 training images a task that no other task has. Two tasks with six common classes of eight, and
two that have no class in common.
"""

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, claims, parquet, product, union

cifar = parquet("cifar10").resized(16)
overlapping = (
    cifar.classes(0, 1, 2, 3, 4, 5, 6, 7).images(0, of=2, limit=1800).drawn().named("a"),
    cifar.classes(0, 1, 2, 3, 4, 5, 8, 9).images(1, of=2, limit=1800).drawn().named("b"),
)
disjoint = (
    cifar.classes(0, 1, 2, 3, 4).images(0, of=2, limit=1800).drawn().named("low"),
    cifar.classes(5, 6, 7, 8, 9).images(1, of=2, limit=1800).drawn().named("high"),
)
FIT = {"epochs": 10, "batch": 32, "lr": 0.05}
SPLITS = ["stage1", "stage2", "stage3"]
AUXILIARY = [("rotation",), ("common",), ("rotation", "common")]

networks = union(
    CompatibleFeatures.grid(
        ingredients=[(), ("identical",), *AUXILIARY, ("shared",)], split=SPLITS, **FIT
    ),
    CompatibleFeatures.grid(
        ingredients=("identical",), identical_part="extractor", split=SPLITS, **FIT
    ),
    CompatibleFeatures.grid(
        ingredients=[(*some, "identical") for some in AUXILIARY], split=SPLITS[1:], **FIT
    ),
)
without_common = CompatibleFeatures.grid(
    ingredients=[(), ("identical",), ("rotation",), ("rotation", "identical")],
    split="stage2",
    **FIT,
)


PROTOCOLS = ("compatibility", "compatibility_by_head")


# An axis that cells of one method lack is "-" there.
def at(
    ingredients: str, split: str = "stage3", part: str = "-", tasks: str = "a + b"
) -> dict[str, str]:
    return {"ingredients": ingredients, "split": split, "identical_part": part, "tasks": tasks}


NONE, ALONE = "none", {"rotation": "identical+rotation", "common": "common+identical"}
BOTH, EVERY = "common+rotation", "common+identical+rotation"
APART = {"tasks": "low + high", "split": "stage2"}

sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            product(Recombine.grid(of=networks), tasks=overlapping),
            product(Recombine.grid(of=without_common), tasks=disjoint),
        ),
        network=resnet8(),
        seed=range(5),
    ),
    expect=155,
    claims=[
        # What makes networks compatible costs their own tasks nothing.
        *(
            claims.NoWorse(
                metric="own_accuracy",
                where=at(one, split),
                than=at(NONE, split),
                by=0.01,
                never=0.02,
                paper="C1",
            )
            for one in ("rotation", "common", BOTH, "identical", EVERY)
            for split in (SPLITS[1:] if one == EVERY else SPLITS)
        ),
        # Independent networks do not fit together, the best way does.
        *(
            claims.Within(metric=protocol, where=at(NONE, split), below=0.15, paper="C2")
            for protocol in PROTOCOLS
            for split in SPLITS
        ),
        *(
            claims.Within(metric=protocol, where=at(EVERY, split), above=0.5, paper="C2")
            for protocol in PROTOCOLS
            for split in SPLITS[1:]
        ),
        # Where networks are cut matters, for each ingredient alone.
        *(
            claims.Spread(
                metric="compatibility",
                axis="split",
                above=0.3,
                where={"ingredients": one, "identical_part": part, "tasks": "a + b"},
                paper="C3",
            )
            for one, part in (
                ("rotation", "-"),
                ("common", "-"),
                ("identical", "-"),
                ("identical", "extractor"),
            )
        ),
        # Identical initial weights add much, whatever else is there.
        *(
            claims.Higher(
                metric=protocol,
                where=at(more, split),
                than=at(less, split),
                by=0.2,
                paper="C4",
            )
            for protocol in PROTOCOLS
            for less, more in (
                (NONE, "identical"),
                ("rotation", ALONE["rotation"]),
                ("common", ALONE["common"]),
                (BOTH, EVERY),
            )
            for split in SPLITS[1:]
        ),
        # With another ingredient they do better than either alone.
        *(
            claims.AboveAll(
                metric=protocol,
                where=at(more, split),
                than=(at(less, split), at("identical", split)),
                paper="C6",
            )
            for protocol in PROTOCOLS
            for less, more in ALONE.items()
            for split in SPLITS[1:]
        ),
        # Rotation needs no class in common. By head, since no image of the
        # extractor's task has a class that the head knows.
        *(
            claims.Higher(
                metric="recombined_accuracy_by_head",
                where=APART | {"ingredients": one},
                than=APART | {"ingredients": less},
                paper="C7",
            )
            for one, less in (
                ("rotation", NONE),
                (ALONE["rotation"], NONE),
                (ALONE["rotation"], "identical"),
            )
        ),
        # One extractor for both tasks: what compatibility would be at best.
        *(
            claims.Within(
                metric="compatibility", where=at("shared", split), above=0.9, paper="reference"
            )
            for split in SPLITS
        ),
    ],
)
