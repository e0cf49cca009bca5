"""How strong must the auxiliary losses be, and what should their heads look like? (C1, C2)

Compatible Features (Gygli et al. 2020) on CIFAR-10 (a JPEG re-encoding), the tasks of
compatible_splits: weights of the losses over two orders of magnitude, and heads like the network's
own, of one linear layer, and of two. With them a reference that nothing is to beat: later features
that are pulled to the first network's by their squared distance.
"""

from typing import Any

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, claims, parquet, product, union

cifar = parquet("cifar10").resized(16)
tasks = (
    cifar.classes(0, 1, 2, 3, 4, 5, 6, 7).images(0, of=2, limit=1800).drawn().named("a"),
    cifar.classes(0, 1, 2, 3, 4, 5, 8, 9).images(1, of=2, limit=1800).drawn().named("b"),
)
FIT = {"epochs": 10, "batch": 32, "lr": 0.05}
KINDS = ["same_as_head", "linear", "mlp"]
networks = union(
    CompatibleFeatures.grid(
        ingredients=("common",), split="stage2", common_weight=[0.1, 1.0, 10.0], **FIT
    ),
    CompatibleFeatures.grid(
        ingredients=("rotation",), split="stage2", rotation_weight=[0.1, 1.0, 10.0], **FIT
    ),
    CompatibleFeatures.grid(
        ingredients=[("common",), ("rotation", "common")], split="stage2", auxiliary=KINDS, **FIT
    ),
    CompatibleFeatures.grid(
        ingredients=[("common",), ("regression",)], split="stage2", incremental=[True], **FIT
    ),
)
PLAIN = {"auxiliary": "-", "common_weight": "-", "rotation_weight": "-", "incremental": "-"}


def weighed(ingredient: str) -> dict[str, Any]:
    axis = f"{ingredient}_weight"
    return {key: value for key, value in PLAIN.items() if key != axis} | {"ingredients": ingredient}


def headed(ingredients: str, kind: str) -> dict[str, Any]:
    return PLAIN | {"ingredients": ingredients, "auxiliary": kind}


sweep = Sweep(
    question=__doc__,
    cells=product(Recombine.grid(of=networks), network=resnet8(), tasks=tasks, seed=range(5)),
    expect=70,
    claims=[
        # The stronger the loss, the better networks fit together; and what it costs.
        *(
            claims.Ranked(
                axis=f"{one}_weight",
                metric="compatibility_by_head",
                how="rises",
                where=weighed(one),
                paper="C2, weight",
            )
            for one in ("common", "rotation")
        ),
        *(
            claims.NoWorse(
                metric="own_accuracy",
                where=weighed(one) | {f"{one}_weight": 10.0},
                than=weighed(one) | {f"{one}_weight": 0.1},
                by=0.01,
                never=0.02,
                paper="C1, weight",
            )
            for one in ("common", "rotation")
        ),
        # A head of one linear layer pins as many directions as it has outputs; whether a deeper one
        # pins more is asked.
        *(
            claims.Higher(
                metric="compatibility_by_head",
                where=headed(one, "same_as_head"),
                than=headed(one, "linear"),
                paper="heads",
            )
            for one in ("common", "common+rotation")
        ),
        claims.Higher(
            metric="compatibility_by_head",
            where=PLAIN | {"ingredients": "regression", "incremental": True},
            than=PLAIN | {"ingredients": "common", "incremental": True},
            paper="reference",
        ),
    ],
)
