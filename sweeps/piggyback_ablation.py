"""What makes masks over a frozen network good: the first scores, the threshold, the optimiser,
batch norm, a third value, the base?

Piggyback (Mallya, Davis, Lazebnik 2018), on tasks of piggyback_tasks: one that is near to the base,
inverted Fashion-MNIST, and one that is far, KMNIST. Bases: the same network trained on
Fashion-MNIST, trained on MNIST, and as it was drawn.
"""

from typing import Any

from methods.fine_tune import FineTune
from methods.networks import resnet8, small_vgg
from methods.piggyback import Piggyback
from orchestrator import Grid, Sweep, Task, claims, parquet, product, torchvision_set, union

fashion, mnist = torchvision_set("FashionMNIST"), torchvision_set("MNIST")
base, other = (
    data.resized(14).images(limit=10_000).drawn().validation(0.1).named(n)
    for n, data in (("fashion", fashion), ("mnist_base", mnist))
)
# Each by its own statistics, not the base's: so the tables of docs/reproduction were measured.
targets = {
    name: data.resized(14).images(limit=2500).drawn().validation(0.2).normalised("own").named(name)
    for name, data in (
        ("inverted", fashion.shifted("inverted")),
        ("kmnist", parquet("kmnist")),
        ("mnist", mnist),
        ("permuted", fashion.shifted("permuted")),
        ("omniglot", parquet("omniglot")),
    )
}
two = [targets["inverted"], targets["kmnist"]]
trained, drawn = FineTune(epochs=15, lr=0.03), FineTune(epochs=0)

# Cells that stand for a choice have its axis; those that stand for a base have none of them.
PLAIN = dict.fromkeys(("optimizer", "threshold", "kind", "start", "norm"), "-")
FROM_TRAINED, FROM_DRAWN = ({"base": training, **PLAIN} for training in (trained, drawn))


def at(name: str, source: Task = base) -> dict[str, Any]:
    return {"tasks": (source, targets[name])}


def masks(**settings: Any) -> Grid:
    return Piggyback.grid(epochs=15, base=[trained], **settings)


sweep = Sweep(
    question=__doc__,
    cells=union(
        product(
            union(
                masks(optimizer=["adam"], lr=[3e-5, 1e-4, 3e-4]),
                masks(optimizer=["sgd"], lr=[1e-2, 1e-1]),
                masks(threshold=[2.5e-3, 5e-3, 7.5e-3]),
                masks(kind=["binary", "ternary"]),
            ),
            network=small_vgg(),
            tasks=[(base, target) for target in two],
            seed=range(5),
        ),
        product(
            masks(start=["constant", "uniform"]),
            network=small_vgg(),
            tasks=[(base, target) for target in targets.values()],
            seed=range(5),
        ),
        product(
            masks(norm=["frozen", "affine", "full"]),
            network=resnet8(),
            tasks=[(base, target) for target in two],
            seed=range(5),
        ),
        product(
            union(
                product(
                    Piggyback.grid(epochs=15, base=[trained]),
                    tasks=[(source, target) for source in (base, other) for target in two],
                ),
                product(
                    Piggyback.grid(epochs=15, base=[drawn]),
                    tasks=[(base, target) for target in two],
                ),
            ),
            network=small_vgg(),
            seed=range(5),
        ),
    ),
    expect=210,
    claims=[
        # All weights kept at first, against the quarter whose drawn score is above tau.
        *(
            claims.Higher(
                metric="accuracy",
                where=at(t) | {"start": "constant"},
                than=at(t) | {"start": "uniform"},
                by=0.05,
                paper="P6",
            )
            for t in targets
        ),
        # Each optimiser at the learning rate that is best on validation images.
        *(
            claims.Higher(
                metric="accuracy",
                where=at(t) | {"optimizer": "adam"},
                than=at(t) | {"optimizer": "sgd"},
                choose="val_accuracy",
                over=("lr",),
                paper="P7",
            )
            for t in ("inverted", "kmnist")
        ),
        # A third value is worth nothing.
        *(
            claims.Equal(
                metric="accuracy",
                where=at(t) | {"kind": "ternary"},
                than=at(t) | {"kind": "binary"},
                within=0.02,
                paper="P10",
            )
            for t in ("inverted", "kmnist")
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=at(t) | {"norm": better},
                than=at(t) | {"norm": worse},
                paper="P5",
            )
            for t in ("inverted", "kmnist")
            for better, worse in (("affine", "frozen"), ("full", "affine"))
        ),
        claims.Higher(
            metric="accuracy",
            where=FROM_TRAINED | at("inverted"),
            than=FROM_TRAINED | at("inverted", source=other),
            paper="P9",
        ),
        claims.Higher(
            metric="accuracy",
            where=FROM_TRAINED | at("kmnist", source=other),
            than=FROM_TRAINED | at("kmnist"),
            paper="P9",
        ),
        claims.Higher(
            metric="accuracy",
            where=FROM_TRAINED | at("inverted", source=other),
            than=FROM_DRAWN | at("inverted"),
            paper="P9",
        ),
        claims.Higher(
            metric="accuracy",
            where=FROM_TRAINED | at("kmnist"),
            than=FROM_DRAWN | at("kmnist"),
            paper="P9",
        ),
        # Chance and three standard deviations of it on 10,000 test images.
        *(
            claims.Within(metric="accuracy", where=FROM_DRAWN | at(t), above=0.109, paper="P9")
            for t in ("inverted", "kmnist")
        ),
    ],
)
